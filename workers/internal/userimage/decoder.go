package userimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// Limits of the child.
const (
	// maxTime is processor time, so that a busy machine refuses no picture that it takes at night. The largest
	// pictures take 2 to 3 s on a machine of today.
	maxTime = 5 * time.Second
	// maxWait is the time until the child must have got that. Running out of it is no fault of the picture.
	maxWait = 2 * time.Minute
	// ownMemory is what the program itself needs: Go takes memory in pieces of 64 MiB.
	ownMemory = 192 << 20
)

// Decoder decodes pictures, each in a process of its own that can be killed. The zero Decoder works, without
// a cage.
type Decoder struct {
	Cage *sandbox.Cage // in which the processes run; nil: none

	task   string         // for tests; empty: that of Task
	limits sandbox.Limits // likewise; zero: the limits above
	wait   time.Duration  // likewise
	began  func(pid int)  // likewise
}

// Decode reads a picture, and scales it to fit into width by height pixels, at least 1 each, with its aspect
// kept. It closes file. Its error is a *Refusal if the picture is at fault: the same one fails again. Any
// other error is that of the file, of the machine or of ctx, and another try may succeed. When ctx ends, the
// process is killed.
func (d Decoder) Decode(ctx context.Context, file *os.File, width, height int) (*image.NRGBA, error) {
	defer file.Close() // usually closed already: the child has it
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxBytes {
		return nil, refuse("%d bytes; at most %d are accepted", info.Size(), MaxBytes)
	}
	p, err := Inspect(file)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	w, h := p.Fit(width, height)
	return d.decode(ctx, file, p.Format, w, h)
}

// Fit returns the size of the picture in a box. Its aspect is kept, but no side is 0.
func (p Picture) Fit(width, height int) (w, h int) {
	factor := math.Min(float64(width)/float64(p.Width), float64(height)/float64(p.Height))
	w = max(1, int(math.Round(factor*float64(p.Width))))
	h = max(1, int(math.Round(factor*float64(p.Height))))
	return min(w, width), min(h, height)
}

// decode runs the child.
func (d Decoder) decode(ctx context.Context, file *os.File, format string, w, h int) (*image.NRGBA, error) {
	if d.limits == (sandbox.Limits{}) {
		d.limits.CPU = maxTime - time.Second // SIGKILL comes a second later
		d.limits.Memory = MaxMemory + ownMemory
	}
	if d.wait == 0 {
		d.wait = maxWait
	}
	if d.task == "" {
		d.task = taskName
	}
	out := &capped{left: answerHead + 4*w*h + 1} // one byte too many is enough to know
	said := &capped{left: 4 << 10}
	waiting, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	err := d.Cage.Run(waiting, sandbox.Spec{
		Task: d.task, Args: []string{format, strconv.Itoa(w), strconv.Itoa(h)},
		Stdin: file, Stdout: out, Stderr: said, Limits: d.limits, Started: d.began,
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && waiting.Err() != nil:
		return nil, pipeline.Fail(pipeline.CodeJobTimeout,
			"decoding a picture got too little of the processor in %s", d.wait)
	case err != nil:
		return nil, d.judge(err, said.String())
	}
	img, err := readAnswer(out.Bytes(), w, h)
	if err == nil && img == nil {
		err = refuse("damaged: it cannot be decoded")
	}
	return img, err
}

// judge says why a child ended without an answer; said is the beginning of what it wrote to stderr. The
// picture is at fault if its decoder used up what it may, or crashed. Otherwise the machine is.
func (d Decoder) judge(err error, said string) error {
	var exit exited
	if !errors.As(err, &exit) {
		return fmt.Errorf("decode a picture: %w", err)
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	signal := status.Signal()
	switch {
	case exit.UserTime()+exit.SystemTime() >= d.limits.CPU && signal == syscall.SIGKILL:
		return refuse("decoding it takes more than %s of processor time", d.limits.CPU+time.Second)
	case exit.ExitCode() == goCrash && (strings.Contains(said, "out of memory") ||
		strings.Contains(said, "cannot allocate memory")):
		return refuse("decoding it needs more than %d MiB of memory", MaxMemory>>20)
	case exit.ExitCode() == goCrash:
		return refuse("damaged: its decoder crashed")
	case signal == syscall.SIGSEGV, signal == syscall.SIGBUS, signal == syscall.SIGFPE:
		return refuse("damaged: its decoder crashed (%s)", signal)
	}
	return fmt.Errorf("decode a picture: %w: %.200q", err, said)
}

// exited is the error of a process that ran and did not exit with 0 (exec.ExitError).
type exited interface {
	error
	ExitCode() int
	UserTime() time.Duration
	SystemTime() time.Duration
	Sys() any
}

// goCrash is the exit status of a Go program that panicked or had no memory.
const goCrash = 2

// capped keeps the first bytes of what a child writes.
type capped struct {
	bytes.Buffer
	left int
}

// Write implements io.Writer. It takes everything, so that the child is not the one that fails.
func (c *capped) Write(p []byte) (int, error) {
	kept := p[:min(len(p), c.left)]
	c.left -= len(kept)
	c.Buffer.Write(kept)
	return len(p), nil
}
