package ffmpeg

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// RunOptions says how to run a Command. The zero value is usable.
type RunOptions struct {
	// Dir is the working directory, normally the job's scratch directory. Default: ours.
	Dir string
	// Duration is how long the output will be, to turn time into Progress.Fraction. 0: unknown.
	Duration time.Duration
	// Progress is called for each report, one at a time, never after Run has returned. It must not block for
	// long: ffmpeg waits for it once the pipe is full. The caller throttles.
	Progress func(Progress)
	// Stall kills ffmpeg after that long without a report and without CPU time used (stopped, or blocked on a
	// file); after ten times as long without a report it is killed even when busy. Default 60 s; < 0: never.
	Stall time.Duration
	// StderrTail is how many bytes of stderr are kept for errors. Default 8 KiB.
	StderrTail int
	// Stderr and Stdout get a copy of what ffmpeg writes there, raw and untrusted: for filters that report
	// through the log. Default: none; stdout is thrown away.
	Stderr, Stdout io.Writer
	// Stdin is what Input.Pipe reads, the reading end of a pipe. It is closed once ffmpeg has it, and before
	// Run returns in any case. Default: none.
	Stdin *os.File
	// Pulse is shared by runs that wait for each other, such as the two ends of a pipe: what one shows of life
	// counts for all. Default: one of its own.
	Pulse *Pulse
	// Nice is added to ffmpeg's niceness (0..19), Linux only. Default 0.
	Nice int
	// Limits are resource limits. Default: none.
	Limits Limits
}

const (
	defaultStall = 60 * time.Second
	busyFactor   = 10 // how much longer a busy process may go without a report
)

// Run runs c to its end. nil means that ffmpeg exited with 0 and did not complain of an output's disk, which
// does not mean that the output is whole: verify it. Every failure of the process is an *Error; a malformed
// command and a missing program are other errors. When ctx ends, ffmpeg and all it started are killed and
// waited for, and the error is KindCanceled.
func (t Tools) Run(ctx context.Context, c Command, o RunOptions) error {
	if o.Stdin != nil {
		defer o.Stdin.Close() // closed twice as a rule; read only
	}
	args, err := c.Args()
	if err != nil {
		return err
	}
	path, err := lookup(t.FFmpeg, "ffmpeg")
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open progress pipe: %w", err)
	}
	defer r.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatchdog(o.Stall, o.Pulse, cancel)
	reports := make(chan struct{})
	go func() {
		defer close(reports)
		readProgress(r, o, watch)
	}()

	stderr := c.tail(o)
	res := execute(ctx, launch{
		path: path, args: args, dir: o.Dir, env: c.Env, extra: w, limits: o.Limits, nice: o.Nice,
		stdin: o.Stdin, stdout: o.Stdout, stderr: tee(stderr, o.Stderr), started: watch.start,
	})
	watch.stop()
	// The pipe ends with ffmpeg. Should a stray child still hold it, stop listening.
	_ = r.SetReadDeadline(time.Now().Add(time.Second))
	<-reports
	return newError(ctx, "ffmpeg", args, res, stderr)
}

// tail is a stderr tail that knows the command's paths.
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

// readProgress feeds reports to the caller until the pipe ends.
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
	_, _ = io.Copy(io.Discard, r) // after a line too long, keep ffmpeg from blocking on a full pipe
}

// Pulse is when runs that wait for each other last showed a sign of life. The zero value is ready.
type Pulse struct {
	reported atomic.Int64 // when the last report came, nanoseconds since epoch
	busy     atomic.Int64 // when CPU time was last seen to have been used, likewise
}

// epoch is a monotonic origin, so that a clock jump kills nothing.
var epoch = time.Now()

func (p *Pulse) report() { p.reported.Store(int64(time.Since(epoch))) }
func (p *Pulse) work()   { p.busy.Store(int64(time.Since(epoch))) }

// watchdog cancels a run that shows no sign of life.
type watchdog struct {
	limit  time.Duration
	cancel context.CancelCauseFunc
	pulse  *Pulse
	quit   chan struct{}
	done   chan struct{}
}

func newWatchdog(limit time.Duration, pulse *Pulse, cancel context.CancelCauseFunc) *watchdog {
	if limit == 0 {
		limit = defaultStall
	}
	if pulse == nil {
		pulse = &Pulse{}
	}
	return &watchdog{limit: limit, pulse: pulse, cancel: cancel}
}

func (w *watchdog) report() { w.pulse.report() }

// start begins to watch a process. It is called once, before stop.
func (w *watchdog) start(pid int) {
	w.pulse.report()
	w.pulse.work()
	if w.limit < 0 {
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

func (w *watchdog) watch(pid int) {
	defer close(w.done)
	tick := time.NewTicker(max(w.limit/8, 5*time.Millisecond))
	defer tick.Stop()
	ticks := cpuTicks(pid)
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
			if t := cpuTicks(pid); t != ticks {
				w.pulse.work()
				ticks = t
			}
			now := time.Since(epoch)
			idle := now - time.Duration(w.pulse.busy.Load())
			silent := now - time.Duration(w.pulse.reported.Load())
			if silent >= busyFactor*w.limit || silent >= w.limit && idle >= w.limit {
				w.cancel(fmt.Errorf("%w for %v", ErrStalled, silent.Round(time.Millisecond)))
				return
			}
		}
	}
}
