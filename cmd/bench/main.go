// Command bench measures the performance of ReelMill on this machine, beside plain ffmpeg in the same run.
// `make bench` and `make sim` call it.
//
//	bench        measure, print tables, and write everything as JSON
//	bench api    the same for the API (api.go)
//	bench sim    simulate larger installations with the measured costs (sim.go)
//
// The measurements, each a median of several runs:
//
//	ready     time from the start of an upload to video.ready, with the default pipeline and all outputs, on
//	          a fresh idle server. The top rung of standard input is a copy. The runs alternate with peers: A
//	          is one ffmpeg that decodes once and writes the same renditions, audio and pictures; B is one
//	          ffmpeg for each of these, one after the other (peers.go). A ratio compares runs of one turn, so
//	          that a machine that becomes slower affects both.
//	memory    peaks in the same runs, from /proc: the largest ffmpeg, the server and the scratch folder, for
//	          a clip and one five times as long.
//	playable  time from the last byte of an upload to video.playable.
//	scaling   one single-threaded worker against two, on the same source.
//	kill      one of two workers is killed midway; counts the chunks that begin again.
//	costs     for the simulation: seconds of each kind of job for its work, latencies, writes.
//
// The clips are computed, the same in every run, with cuts, motion and grain, so that x264 works about as
// hard as on film (clips.go); -clip FILE takes the pictures of a film. Times are those of a client: this
// program's clock when an event arrives. The processor time of the server comes from /proc, that of peers
// from their rusage.
//
// No measurement fails: each row has its aim, and whether it is met. The program also measures the load of
// other programs, and warns of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// options are the flags of a run.
type options struct {
	repeat, long int
	clip         string
	only         string
	json         string
	keep         bool
	program      string
	scale        float64
	height       int
}

// measurements are the names for -only, in the order of a run.
var measurements = []string{"ready", "memory", "playable", "scaling", "kill", "costs"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "sim":
			return runSim(args[1:], os.Stdout)
		case "api":
			return runAPI(ctx, args[1:])
		case "peer": // a process of `bench api`
			return runPeer(ctx, args[1:], os.Stdout)
		case "subscribers": // a process of `bench api`
			return runSubscribers(ctx, args[1:], os.Stdout)
		}
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	return newBench(o).run(ctx)
}

func parseOptions(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.repeat, "repeat", 5, "runs of each measurement")
	flags.IntVar(&o.long, "long", 3, "runs with clips of 5 minutes and more")
	flags.StringVar(&o.clip, "clip", "", "a film whose pictures are taken; made ones when empty")
	flags.StringVar(&o.only, "only", "", "measurements, separated by commas: "+strings.Join(measurements, ","))
	flags.StringVar(&o.json, "json", "bin/bench.json", "file for the result")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder with clips, outputs and logs")
	flags.StringVar(&o.program, "program", "", "reelmill; built when empty")
	flags.Float64Var(&o.scale, "scale", 1, "for trying this program out: part of the clips' lengths to use")
	flags.IntVar(&o.height, "height", 720, "for trying this program out: of the clips, in pixels")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, name := range o.wanted() {
		if !slices.Contains(measurements, name) {
			return o, fmt.Errorf("-only: unknown measurement %q; there are %v", name, measurements)
		}
	}
	switch {
	case o.repeat < 1 || o.long < 1:
		return o, fmt.Errorf("-repeat %d -long %d: each must be at least 1", o.repeat, o.long)
	case o.scale <= 0 || o.height < 16 || o.height%2 != 0:
		return o, fmt.Errorf("-scale %g -height %d: out of range", o.scale, o.height)
	}
	return o, nil
}

// wanted returns the names in -only; none for all.
func (o options) wanted() []string {
	return strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' || r == ' ' })
}

// wants reports whether to run a measurement. Memory needs the runs of ready.
func (o options) wants(name string) bool {
	wanted := o.wanted()
	return len(wanted) == 0 || slices.Contains(wanted, name)
}
