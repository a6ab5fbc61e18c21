package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// A crash of the process (a panic that nobody recovers, a fatal error of the Go runtime) ends all its
// attempts, and one of them may have caused it. If the process is killed from outside, no attempt is at
// fault. The crash output distinguishes the two:
//
//  1. NewLoop reads it. When the previous process crashed, the attempts that it left in scratch are suspects.
//     NewLoop then empties scratch and the crash output, to which the runtime will write the next crash.
//  2. Run, before it takes a task, writes each suspect's attempt as failed with pipeline.CodeWorkerCrashed.
//  3. The next attempt at such a job runs alone in its process (attempt.enter). If it crashes the process
//     again, it is at fault, and its job becomes errored. Jobs that ran beside it the first time complete.
//
// Not guaranteed: if this process is killed between 1 and 2, the suspects are forgotten, and their attempts
// count as lost.

// maxCrashText is how many bytes of a crash output are kept. Its beginning names the reason.
const maxCrashText = 4 << 10

// readCrash returns the beginning of the previous process's crash output; empty if that process did not
// crash.
func readCrash(file string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read crash output: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxCrashText))
	if err != nil {
		return "", fmt.Errorf("read crash output: %w", err)
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return -1
	}, strings.ToValidUTF8(string(raw), ""))
	for _, signal := range []string{"SIGQUIT:", "SIGABRT:"} { // somebody asked for stack traces
		if strings.HasPrefix(text, signal) {
			return "", nil
		}
	}
	return text, nil
}

// watchCrash empties file, and makes the Go runtime write there if this process crashes.
func watchCrash(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open crash output: %w", err)
	}
	defer f.Close() // the runtime keeps a copy
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("set crash output: %w", err)
	}
	return nil
}

// orphan is the Delivery of an attempt whose process is gone. It does nothing: the message will be delivered
// again, and by then the job has moved on.
type orphan struct {
	task  pipeline.Task
	owner uint64
}

// Task returns the task of the attempt.
func (o orphan) Task() pipeline.Task { return o.task }

// Sequence returns the sequence of the message that the attempt belongs to.
func (o orphan) Sequence() uint64 { return o.owner }

// Extend does nothing.
func (orphan) Extend(context.Context) error { return nil }

// Ack does nothing.
func (orphan) Ack(context.Context) error { return nil }

// Return does nothing.
func (orphan) Return(context.Context, time.Duration) error { return nil }

// blame writes that the suspects failed. It tries each a few times, a second apart. A suspect that it cannot
// write counts as lost when its message is delivered again.
func (l *Loop) blame(ctx context.Context) {
	for _, n := range l.suspects {
		err := l.blameOne(ctx, n)
		for tries := 1; err != nil && !errors.Is(err, pipeline.ErrConflict) && tries < 5; tries++ {
			pause.For(ctx, time.Second)
			err = l.blameOne(ctx, n)
		}
		if err != nil {
			l.Logger.Warn("blame attempt for a crash", "video", n.Task.Video, "job", n.Task.Job.Name, "error", err)
		}
	}
	l.suspects = nil
}

// blameOne writes that the attempt of a note failed, if it is still the job's last attempt.
func (l *Loop) blameOne(ctx context.Context, n note) error {
	job, err := l.last(ctx, n.Task)
	if err != nil || job.Last.Sequence != n.Token || job.State != pipeline.StateJobProcessing {
		return err
	}
	code := pipeline.CodeWorkerCrashed
	if strings.Contains(l.crash, "out of memory") || strings.Contains(l.crash, "cannot allocate memory") {
		code = pipeline.CodeOutOfMemory // words of the Go runtime
	}
	cause := pipeline.Fail(code, "process %s crashed: %s", job.Data.Process,
		strings.SplitN(l.crash, "\n", 2)[0])
	cause.Stderr = l.crash
	a := newAttempt(l, orphan{n.Task, job.Data.Owner}, job)
	a.data.Token, a.data.Process = n.Token, l.Process
	a.log.Warn("attempt crashed, or ran beside one that did", "attempt", a.data.Attempt)
	writes, cancel := lastWrites(ctx)
	defer cancel()
	return a.failed(writes, cause)
}

// last returns the fold of the task's job.
func (l *Loop) last(ctx context.Context, task pipeline.Task) (pipeline.JobFold, error) {
	events, err := l.Log.Last(ctx, task.JobSubject())
	if err != nil {
		return pipeline.JobFold{}, err
	}
	return pipeline.FoldJob(events[0])
}
