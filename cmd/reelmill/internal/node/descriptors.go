package node

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/workers"
)

// A process that runs out of file descriptors fails wherever it opens the next file: it refuses uploads,
// and its attempts fail. So a server refuses to start with too few, and takes no more connections than
// leave enough for the rest. Go raises the soft limit to the hard one at start.

const (
	// baseDescriptors are for the broker's files, the read model, and some to spare; a server at rest has 26.
	// With minConnections they are the 256 that the cage grants to ffmpeg, which it cannot grant above our own
	// limit.
	baseDescriptors = 192
	jobDescriptors  = 8 // of a running job: pipes, files and folders that it stores
	connDescriptors = 4 // of an upload: its connection, the file that it writes, and folders
	minConnections  = 16
	// maxConnections bounds the memory of connections, of which each takes some 20 kB, where descriptors do not.
	maxConnections = 16 << 10
	// scrapeConnections are for --metrics-listen; they come from what baseDescriptors spares.
	scrapeConnections = 16
)

// Descriptors says how many files a process may open, and what for.
type Descriptors struct {
	Limit       int // of this process
	Need        int // without which it does not start
	Jobs        int // that it runs at once; 0 for a server without workers
	Connections int // that a server may have at once
}

// String says it to people.
func (d Descriptors) String() string {
	return fmt.Sprintf("this process may open %d files, and needs %d %s; a server takes up to %d connections",
		d.Limit, d.Need, d.whatFor(), d.Connections)
}

func (d Descriptors) whatFor() string {
	switch d.Jobs {
	case 0:
		return "without any job"
	case 1:
		return "to run a job"
	}
	return fmt.Sprintf("to run %d jobs at once", d.Jobs)
}

// CheckDescriptors returns an error when this process may open too few descriptors for a node that runs jobs
// of the registry in so many slots; see Jobs.Slots. A nil registry is that of a node that runs none. Remedy
// says what to do.
func CheckDescriptors(r *workers.Registry, slots map[string]int) (Descriptors, error) {
	return checkDescriptors(jobsAtOnce(r, slots), openLimit())
}

func checkDescriptors(jobs, limit int) (Descriptors, error) {
	d := Descriptors{
		Limit: limit, Need: baseDescriptors + jobs*jobDescriptors + minConnections*connDescriptors, Jobs: jobs,
	}
	if limit >= d.Need {
		d.Connections = min(maxConnections, minConnections+(limit-d.Need)/connDescriptors)
		return d, nil
	}
	return d, fmt.Errorf("this process may open %d files, and needs %d %s", limit, d.Need, d.whatFor())
}

// Remedy says what to do about too few.
func (d Descriptors) Remedy() string {
	enough := max(d.Need, 1024)
	text := fmt.Sprintf("raise the limit (`ulimit -n %d`, or LimitNOFILE=%d in a systemd unit)", enough, enough)
	if d.Jobs > 0 {
		text += ", or lower --slots"
	}
	return text
}

// enoughDescriptors is CheckDescriptors with the remedy in the error.
func enoughDescriptors(r *workers.Registry, slots map[string]int) (Descriptors, error) {
	d, err := CheckDescriptors(r, slots)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, d.Remedy())
	}
	return d, err
}

// openLimit returns how many descriptors this process may have.
func openLimit() int {
	limit := 1 << 20
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil && r.Cur < uint64(limit) {
		limit = int(r.Cur)
	}
	return limit
}

// jobsAtOnce returns how many jobs a node runs at once.
func jobsAtOnce(r *workers.Registry, slots map[string]int) (n int) {
	if r == nil {
		return 0
	}
	c := workers.Config{Registry: r, Slots: slots, Interactive: interactive()}
	for _, t := range r.Types() {
		n += c.Capacity(t.Name)
	}
	return n
}

// interactive returns the slots for jobs of high priority alone, where they are not the default: all jobs of
// inspect have high priority.
func interactive() map[string]int { return map[string]int{"inspect": 0} }

// limitConnections returns l with at most so many connections, of which one client has its share at most.
func (g *ground) limitConnections(l net.Listener, connections int) net.Listener {
	return api.LimitConnections(l, connections, g.config.Access, func(client netip.Prefix) {
		g.recurring.Failed("refuse a connection of a client that has too many connections", "client", client,
			"may_have", api.Share(connections), "to_do", "if it is a proxy, name it with --trusted-proxies")
	})
}
