package ffmpeg

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// RunOptions says how to run a Command. The zero value is usable.
type RunOptions struct {
	// Dir is the working directory, normally the job's scratch directory. Default: ours.
	Dir string
	// Duration of the output, for Progress.Fraction. 0: unknown.
	Duration time.Duration
	// Progress is called for each report, one at a time, and never after Run has returned. It must return
	// soon: ffmpeg waits when the pipe is full. The caller throttles.
	Progress func(Progress)
	// Stall kills ffmpeg after this long without a report and without using CPU time (stopped, or blocked
	// on a file). After ten times as long without a report it is killed even when busy. Default 60 s; < 0:
	// never.
	Stall time.Duration
	// Wall kills ffmpeg after this time by the clock, whatever it does: one that a file has taken over can
	// report for ever and use no CPU time. Default: an hour and five times the limit of CPU time, or without
	// that a day; < 0: never.
	Wall time.Duration
	// Hang kills ffmpeg after it used this much CPU time without a report: it is busy with a single frame. The
	// error is the one of Limits.CPU. Only Linux counts the time, and ffmpeg 7 and later report even then.
	// Default: no limit.
	Hang time.Duration
	// StderrTail is how many bytes at the end of stderr errors keep. Default 8 KiB.
	StderrTail int
	// Stderr and Stdout get a raw, untrusted copy of what ffmpeg writes there, for filters that report
	// through the log. Default: none; stdout is discarded.
	Stderr, Stdout io.Writer
	// Stdin is the reading end of a pipe, for Input.Pipe. Run always closes it. Default: none.
	Stdin *os.File
	// Pulse is shared by runs that wait for each other, such as the two ends of a pipe: a sign of life from
	// one counts for all. Default: one of its own.
	Pulse *Pulse
	// Nice is added to ffmpeg's niceness (0..19), Linux only. Default 0.
	Nice int
	// Limits are resource limits. Default: none but, in a cage, that of memory, by Input.Pixels and threads, and
	// that of files where the command writes none.
	Limits sandbox.Limits
}

const (
	defaultStall = 60 * time.Second
	busyFactor   = 10 // how much longer a busy process may go without a report
)

// Run runs c to its end. nil means that ffmpeg exited with 0 and did not complain about an output's disk.
// It does not mean that the output is whole: verify it. Every failure of the process is an *Error; a
// malformed command and a missing program are other errors. When ctx ends, Run kills ffmpeg and everything
// it started, waits, and returns KindCanceled.
func (t Tools) Run(ctx context.Context, c Command, o RunOptions) error {
	if o.Stdin != nil {
		defer o.Stdin.Close() // usually closed already; read only
	}
	args, err := c.Args()
	if err != nil {
		return err
	}
	path, err := lookup(t.FFmpeg, "ffmpeg")
	if err != nil {
		return err
	}
	if t.Cage != nil {
		o.Limits = c.limits(o.Limits)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open progress pipe: %w", err)
	}
	defer r.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if wall := o.wall(); wall >= 0 {
		alarm := time.AfterFunc(wall, func() { cancel(fmt.Errorf("%w: %v", ErrTimeout, wall)) })
		defer alarm.Stop()
	}
	watch := newWatchdog(o, cancel)
	reports := make(chan struct{})
	go func() {
		defer close(reports)
		readProgress(r, o, watch)
	}()

	stderr := c.tail(o)
	read, write := c.files(o.Dir)
	err = t.Cage.Run(ctx, sandbox.Spec{
		Program: path, Args: args, Env: c.Env, Dir: o.Dir, Read: read, Write: write, Extra: w,
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: tee(stderr, o.Stderr),
		Limits: o.Limits, Nice: o.Nice, Started: watch.start,
	})
	watch.stop()
	// The pipe ends with ffmpeg. If a stray child still holds it, stop reading.
	_ = r.SetReadDeadline(time.Now().Add(time.Second))
	<-reports
	return newError(ctx, "ffmpeg", args, o.Limits.CPU, err, stderr)
}

// wall returns Wall with its default.
func (o RunOptions) wall() time.Duration {
	switch {
	case o.Wall != 0:
		return o.Wall
	case o.Limits.CPU == 0:
		return 24 * time.Hour
	}
	return time.Hour + 5*o.Limits.CPU
}

// tail returns a stderr tail that hides the command's paths.
func (c Command) tail(o RunOptions) *tail {
	t := newTail(o.StderrTail)
	for i, in := range c.Inputs {
		t.hide(in.Path, "<in"+strconv.Itoa(i)+">")
	}
	for i, out := range c.Outputs {
		t.hide(out.Path, "<out"+strconv.Itoa(i)+">")
	}
	t.hide(o.Dir, "<dir>")
	return t
}

func tee(a, b io.Writer) io.Writer {
	if b == nil {
		return a
	}
	return io.MultiWriter(a, b)
}

// readProgress passes reports to the caller until the pipe ends.
func readProgress(r io.Reader, o RunOptions, watch *watchdog) {
	p := progressParser{total: o.Duration}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 4<<10), 64<<10)
	for lines.Scan() {
		report, ok := p.line(lines.Text())
		if !ok {
			continue
		}
		watch.report()
		if o.Progress != nil {
			o.Progress(report)
		}
	}
	_, _ = io.Copy(io.Discard, r) // after an overlong line, keep ffmpeg from blocking on a full pipe
}

// Pulse records the last sign of life of runs that wait for each other. The zero value is ready.
type Pulse struct {
	reported atomic.Int64 // time of the last report, in nanoseconds since epoch
	busy     atomic.Int64 // time of the last CPU use seen, likewise
}

// epoch is a monotonic origin, so that a clock jump kills nothing.
var epoch = time.Now()

func (p *Pulse) report() { p.reported.Store(int64(time.Since(epoch))) }
func (p *Pulse) work()   { p.busy.Store(int64(time.Since(epoch))) }

// watchdog cancels a run that shows no sign of life, or is busy for too long without one.
type watchdog struct {
	stall  time.Duration // < 0: never
	hang   time.Duration // of CPU time; 0: never
	cancel context.CancelCauseFunc
	pulse  *Pulse
	quit   chan struct{}
	done   chan struct{}
}

func newWatchdog(o RunOptions, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{stall: cmp.Or(o.Stall, defaultStall), hang: o.Hang, cancel: cancel, pulse: o.Pulse}
	if w.pulse == nil {
		w.pulse = &Pulse{}
	}
	return w
}

func (w *watchdog) report() { w.pulse.report() }

// start begins to watch a process. Call it once, before stop.
func (w *watchdog) start(pid int) {
	w.pulse.report()
	w.pulse.work()
	if w.stall < 0 && w.hang == 0 {
		return
	}
	w.quit, w.done = make(chan struct{}), make(chan struct{})
	go w.watch(pid)
}

func (w *watchdog) stop() {
	if w.quit != nil {
		close(w.quit)
		<-w.done
	}
}

// period returns how often to look at the process.
func (w *watchdog) period() time.Duration {
	p := w.stall
	if p < 0 || w.hang > 0 && w.hang < p {
		p = w.hang
	}
	return max(p/8, 5*time.Millisecond)
}

func (w *watchdog) watch(pid int) {
	defer close(w.done)
	tick := time.NewTicker(w.period())
	defer tick.Stop()
	used, reported := cpuTicks(pid), w.pulse.reported.Load()
	before := used // at the last report
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		if t := cpuTicks(pid); t != used {
			w.pulse.work()
			used = t
		}
		if r := w.pulse.reported.Load(); r != reported {
			reported, before = r, used
		}
		err := w.judge(time.Duration(used-before) * cpuTick)
		if err != nil {
			w.cancel(err)
			return
		}
	}
}

// judge returns why to cancel a run that used some CPU time since its last report.
func (w *watchdog) judge(spent time.Duration) error {
	if w.hang > 0 && spent >= w.hang {
		return fmt.Errorf("%w: %w, for %v", ErrTimeout, errHung, spent)
	}
	if w.stall < 0 {
		return nil
	}
	now := time.Since(epoch)
	idle := now - time.Duration(w.pulse.busy.Load())
	silent := now - time.Duration(w.pulse.reported.Load())
	if silent >= busyFactor*w.stall || silent >= w.stall && idle >= w.stall {
		return fmt.Errorf("%w for %v", ErrStalled, silent.Round(time.Millisecond))
	}
	return nil
}
