package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/reelmill/reelmill/pipeline/bytesize"
)

// `bench api` measures the API over loopback, beside peers in the same run. Servers, peers and subscribers
// are processes of their own; uploads and reads come from this one.
//
//	upload       a file by tus with one PATCH, by tus in pieces, and by one PUT (apiupload.go). The peers are
//	             the handler of tusd with its own file store; the same with fsync and SHA-256, which ours does;
//	             and cp, then fsync. The SHA-256 of what each keeps is checked. The runs of a turn follow each
//	             other, the next turn in another order.
//	get          reads of single videos from a large catalog by many clients, beside a handler that answers
//	             the same bytes from memory (apiget.go).
//	memory       of the server and of tusd while many uploads run at once, beside the server at rest
//	             (apimemory.go).
//	subscribers  memory of the server with many idle event streams; one event must reach all
//	             (apisubscribers.go).

// apiMeasurements are the names for -only of `bench api`, in the order of a run.
var apiMeasurements = []string{"upload", "get", "memory", "subscribers"}

// apiOptions are the flags of `bench api`.
type apiOptions struct {
	size, piece, each bytesize.Size
	videos, requests  int
	clients, uploads  int
	subscribers       int
}

// apiBench is one run of `bench api`.
type apiBench struct {
	*bench
	apiOptions
	self   string // this program
	source source // what is uploaded
}

func runAPI(ctx context.Context, args []string) error {
	b, err := parseAPI(args)
	if err != nil {
		return err
	}
	return b.run(ctx)
}

func parseAPI(args []string) (*apiBench, error) {
	o := options{scale: 1}
	a := apiOptions{size: 1 << 30, piece: 64 << 20, each: 200 << 20}
	flags := flag.NewFlagSet("bench api", flag.ContinueOnError)
	flags.IntVar(&o.repeat, "repeat", 5, "turns of each comparison")
	flags.StringVar(&o.only, "only", "", "measurements, with commas: "+strings.Join(apiMeasurements, ","))
	flags.StringVar(&o.json, "json", "bin/bench-api.json", "file for the result")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder with uploads and logs")
	flags.StringVar(&o.program, "program", "", "reelmill; built when empty")
	sizeFlag(flags, &a.size, "size", "of the file that is uploaded")
	sizeFlag(flags, &a.piece, "piece", "of an upload in pieces")
	flags.IntVar(&a.videos, "videos", 10_000, "in the catalog that is read")
	flags.IntVar(&a.requests, "requests", 20_000, "in each run of reads")
	flags.IntVar(&a.clients, "clients", 64, "that read at once")
	flags.IntVar(&a.uploads, "uploads", 50, "at once, for memory")
	sizeFlag(flags, &a.each, "each", "size of each of these uploads")
	flags.IntVar(&a.subscribers, "subscribers", 10_000, "to all events")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	b := &apiBench{bench: newBench(o), apiOptions: a}
	for _, name := range o.wanted() {
		if !slices.Contains(apiMeasurements, name) {
			return nil, fmt.Errorf("-only: unknown measurement %q; there are %v", name, apiMeasurements)
		}
	}
	if min(o.repeat, a.videos, a.requests, a.clients, a.uploads, a.subscribers) < 1 ||
		min(a.size, a.piece, a.each) < 1 {
		return nil, errors.New("every number must be at least 1")
	}
	return b, nil
}

// sizeFlag adds a flag for a size to those with numbers.
func sizeFlag(flags *flag.FlagSet, size *bytesize.Size, name, usage string) {
	usage += fmt.Sprintf(" (default %s)", *size)
	flags.Func(name, usage, func(text string) error { return size.UnmarshalText([]byte(text)) })
}

// run measures, prints the table, and writes the file, also after an error.
func (b *apiBench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "reelmill-bench-"); err != nil {
		return err
	}
	if b.keep {
		defer fmt.Println("kept:", b.dir)
	} else {
		defer os.RemoveAll(b.dir)
	}
	defer b.stopAll()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := openMany(uint64(b.subscribers + 8192)); err != nil {
		b.warn("%v", err)
	}
	b.machine = readMachine(ctx) // before the build, which is load too
	fmt.Println(b.machine)
	if b.machine.Others > quiet {
		b.warn("the machine is not idle: others keep %.2f cores busy", b.machine.Others)
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	b.versions = versions(ctx, b.program, "")
	delete(b.versions, "x264")
	delete(b.versions, "ffmpeg")
	return errors.Join(b.measure(ctx), b.report())
}

// measure runs the wanted measurements.
func (b *apiBench) measure(ctx context.Context) (err error) {
	b.source, err = makeSource(filepath.Join(b.dir, "source"), int64(max(b.size, b.each)))
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"upload", b.compareUploads}, {"get", b.compareReads}, {"memory", b.measureUploads},
		{"subscribers", b.measureSubscribers},
	} {
		if !b.wants(m.name) {
			continue
		}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// report prints the table and writes the file.
func (b *apiBench) report() error {
	fmt.Printf("\n%s\n", b.machine)
	for _, name := range sortedKeys(b.versions) {
		fmt.Printf("%s %s\n", name, b.versions[name])
	}
	fmt.Printf("%d turns; ratios are of runs of one turn\n\n%s", b.repeat, table(b.rows))
	for _, warning := range b.warnings {
		fmt.Println("WARNING:", warning)
	}
	if b.disturbed > 0 {
		fmt.Printf("WARNING: others kept more than %g cores busy during %d of %d runs, %.2f at most\n", quiet,
			b.disturbed, b.timed, b.others)
	}
	return b.writeJSON()
}

// serveAPI starts a server without workers, whose limits are not in the way.
func (b *apiBench) serveAPI(ctx context.Context) (*process, error) {
	return b.start(ctx, "serve", "--listen", "127.0.0.1:0", "--no-workers", "--min-free", "1GiB",
		"--max-client-rate", "10000000", "--max-client-uploads", "64", "--max-project-videos", "1000000",
		"--max-videos", "1000000", "--max-streams", fmt.Sprint(b.subscribers+100))
}

// peer starts a peer.
func (b *apiBench) peer(ctx context.Context, kind string, args ...string) (*process, error) {
	return b.startProgram(ctx, b.self, append([]string{"peer", "--kind", kind}, args...)...)
}

// openMany lets this process, and those that it starts, open so many files. Above the hard limit, only root
// may.
func openMany(files uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	want := syscall.Rlimit{Cur: max(now.Cur, files), Max: max(now.Max, files)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
		return fmt.Errorf("this process may open %d files, not %d: %w", now.Max, files, err)
	}
	return nil
}

// copyWithCp copies a file as people do, and makes it durable.
func copyWithCp(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "cp", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w\n%s", err, out)
	}
	return syncFile(to)
}
