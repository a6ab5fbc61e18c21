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

// A process that comes down by itself (a panic in a goroutine that nobody recovers, a fatal error of the Go
// runtime) takes all its attempts with it, and one of them may be to blame. A process that is killed from
// outside is nobody's fault. The crash output tells them apart:
//
//  1. NewLoop reads it. When the process before this one crashed, the attempts that it left in scratch are
//     suspects. Then NewLoop empties both, and has the runtime write the next crash there.
//  2. Run, before it takes a task, writes each suspect down as failed with pipeline.CodeWorkerCrashed.
//  3. The next attempt at such a job runs alone in its process (Loop.enter). One that brings the process down
//     again is to blame, and the job is errored; what ran beside it the first time completes.
//
// Not given: blame when this process is killed between 1 and 2. The attempts then count as lost.

// maxCrashText is how many bytes of a crash output are kept. Its beginning names the reason.
const maxCrashText = 4 << 10

// readCrash returns the beginning of the crash output of the process before us; empty when it did not come
// down by itself.
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
	for _, signal := range []string{"SIGQUIT:", "SIGABRT:"} { // somebody asked it for its stacks
		if strings.HasPrefix(text, signal) {
			return "", nil
		}
	}
	return text, nil
}

// watchCrash has the Go runtime write what it says of a crash of this process to file, which is emptied.
func watchCrash(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open crash output: %w", err)
	}
	defer f.Close() // the runtime has a copy
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("set crash output: %w", err)
	}
	return nil
}

// orphan is the task of an attempt whose process is gone. Its message will come again, and find the job moved
// on, so there is nothing to do to it.
type orphan struct {
	task  pipeline.Task
	owner uint64
}

func (o orphan) Task() pipeline.Task                       { return o.task }
func (o orphan) Sequence() uint64                          { return o.owner }
func (orphan) Extend(context.Context) error                { return nil }
func (orphan) Ack(context.Context) error                   { return nil }
func (orphan) Return(context.Context, time.Duration) error { return nil }

// blame writes the suspects down. One that cannot be written, a second apart for a few times, counts as lost
// when its message comes again.
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

// blameOne ends the attempt of a note as failed, if it is still the job's last.
func (l *Loop) blameOne(ctx context.Context, n note) error {
	last, err := l.last(ctx, n.Task)
	if err != nil || last.Last.Sequence != n.Token || last.State != pipeline.StateJobProcessing {
		return err
	}
	cause := pipeline.Fail(pipeline.CodeWorkerCrashed, "process %s crashed: %s", last.Data.Process,
		strings.SplitN(l.crash, "\n", 2)[0])
	cause.Stderr = l.crash
	data := last.Data
	data.Token, data.Process = n.Token, l.Process
	l.Logger.Warn("attempt crashed, or ran beside one that did",
		"video", n.Task.Video, "job", n.Task.Job.Name, "attempt", data.Attempt)
	writes, cancel := lastWrites(ctx)
	defer cancel()
	return l.failed(writes, orphan{n.Task, data.Owner}, last.Last, data, cause)
}
