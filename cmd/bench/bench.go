package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/reelmill/reelmill/workers"
)

// bench is one run: what its measurements share, and their results.
type bench struct {
	options
	began    time.Time
	dir      string
	clips    *clips
	registry *workers.Registry
	started  int // number of processes, which names their folders
	running  []*process

	machine  machine
	versions map[string]string
	rows     []row
	outcomes []outcome
	peaks    map[string]peaks
	costs    *costs
	threads  int                // of A's encoders
	tried    map[string]float64 // seconds of A at calibration, by its threads
	warnings []string

	timed, disturbed int     // runs
	others           float64 // cores, at most
}

func newBench(o options) *bench {
	return &bench{options: o, began: time.Now(), peaks: map[string]peaks{}}
}

func (b *bench) say(format string, args ...any) {
	fmt.Printf("%7.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.warnings, text) {
		b.warnings = append(b.warnings, text)
		b.say("WARNING: %s", text)
	}
}

// add records a row, if something was measured.
func (b *bench) add(name, unit string, values []float64, a aim, note string) {
	if r, ok := newRow(name, unit, values, a, note); ok {
		b.rows = append(b.rows, r)
	}
}

// run measures, prints the table, and writes the file. After an error or an interrupt, it still reports what
// it has measured.
func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "reelmill-bench-"); err != nil {
		return err
	}
	if b.keep {
		defer fmt.Println("kept:", b.dir)
	} else {
		defer os.RemoveAll(b.dir)
	}
	defer b.stopAll()
	b.clips = &clips{
		dir: filepath.Join(b.dir, "clips"), film: b.clip, scale: b.scale, height: b.height,
		made: map[string]clip{}, say: b.say,
	}
	if err := os.Mkdir(b.clips.dir, 0o700); err != nil {
		return err
	}
	if b.registry, err = newRegistry(); err != nil {
		return err
	}
	if b.clip != "" && !exists(b.clip) {
		return fmt.Errorf("-clip %s: there is no such file", b.clip)
	}
	b.machine = readMachine(ctx) // before the build, which is load too
	fmt.Println(b.machine)
	if b.machine.Others > quiet {
		b.warn("the machine is not idle: others keep %.2f cores busy", b.machine.Others)
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	err = b.measure(ctx)
	return errors.Join(err, b.report(os.Stdout))
}

// measure runs the wanted measurements.
func (b *bench) measure(ctx context.Context) error {
	shortest, err := b.clips.get(ctx, encodeForm, 20, "aac")
	if err != nil {
		return err
	}
	b.versions = versions(ctx, b.program, shortest.path)
	for _, m := range []struct {
		wanted bool
		run    func(context.Context) error
	}{
		{b.wants("ready") || b.wants("memory"), b.ready},
		{b.wants("playable"), b.playable},
		{b.wants("scaling"), b.scaling},
		{b.wants("kill"), b.killed},
		{b.wants("costs"), b.measureCosts},
	} {
		if !m.wanted {
			continue
		}
		if err := m.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runs returns how often to repeat a measurement with a clip of this many seconds, before scaling.
func (b *bench) runs(seconds float64) int {
	if seconds >= 300 {
		return b.long
	}
	return b.repeat
}

// stopAll stops all processes.
func (b *bench) stopAll() {
	for _, p := range b.running {
		select {
		case <-p.done:
		default:
			p.kill()
		}
	}
}

// busyOthers counts a run, and whether other programs disturbed it.
func (b *bench) busyOthers(what string, cores float64) {
	b.timed++
	b.others = max(b.others, cores)
	if cores > quiet {
		b.disturbed++
		b.say("others kept %.2f cores busy during %s", cores, what)
	}
}
