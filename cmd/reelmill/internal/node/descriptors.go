package node

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
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
)

// descriptors returns how many descriptors a server that runs so many jobs at once needs, and how many it may
// open.
func descriptors(jobs int) (need, limit int) {
	need, limit = baseDescriptors+jobs*jobDescriptors+minConnections*connDescriptors, 1<<20
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil && r.Cur < uint64(limit) {
		limit = int(r.Cur)
	}
	return need, limit
}

// CheckDescriptors returns an error when this process may open too few descriptors for a server that runs so
// many jobs at once. Otherwise it returns how many connections the server may have.
func CheckDescriptors(jobs int) (connections int, err error) {
	need, limit := descriptors(jobs)
	if limit < need {
		return 0, fmt.Errorf("this process may open %d files, and needs %d to run %d jobs at once: raise the limit "+
			"(`ulimit -n %d`, or LimitNOFILE=%d in a systemd unit), or lower --slots",
			limit, need, jobs, max(need, 1024), max(need, 1024))
	}
	return minConnections + (limit-need)/connDescriptors, nil
}

// jobsAtOnce returns how many jobs the worker runs at once.
func (w *Worker) jobsAtOnce() (n int) {
	for _, t := range w.registry.Types() {
		n += w.loop.Capacity(t.Name)
	}
	return n
}

// limited is a listener with at most so many open connections. Further clients wait in the system's queue
// until one is closed.
type limited struct {
	net.Listener
	free *semaphore.Weighted
	ends context.Context
	end  context.CancelFunc
}

// limitConnections returns l with at most so many open connections.
func limitConnections(l net.Listener, connections int) net.Listener {
	ends, end := context.WithCancel(context.Background())
	return &limited{l, semaphore.NewWeighted(int64(connections)), ends, end}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	if err := l.free.Acquire(l.ends, 1); err != nil {
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		l.free.Release(1)
		return nil, err
	}
	return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.free.Release(1) })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.end()
	return l.Listener.Close()
}

// counted is a connection of a limited listener.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
