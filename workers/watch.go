package workers

import (
	"context"
	"errors"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// errTokenLost says that the job has a later event than this attempt's start: somebody else has it.
var errTokenLost = errors.New("the attempt lost its token")

// errUnwanted says that the job was canceled, or its video was canceled or deleted.
var errUnwanted = errors.New("nobody wants the job any more")

// bell begins to watch the fences of a task, until ctx ends. A nil channel means that heartbeats must do.
func (l *Loop) bell(ctx context.Context, task pipeline.Task) <-chan struct{} {
	bell, err := l.Tasks.Watch(ctx, task.Fences()...)
	if err != nil {
		if ctx.Err() == nil {
			l.recurring.Failed("watch for cancellation", "job", task.Job.Name, "error", err)
		}
		return nil
	}
	return bell
}

// watch renews the attempt's lease until ctx ends, and cancels the work when it must not go on. It looks at
// each heartbeat, and at once when the bell rings.
func (l *Loop) watch(ctx context.Context, cancel context.CancelCauseFunc, d Delivery, token uint64,
	bell <-chan struct{},
) {
	tick := time.NewTicker(l.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.extend(ctx, d)
		case _, ok := <-bell:
			if !ok {
				bell = nil
				continue
			}
		}
		if err := l.fenced(ctx, d.Task(), token); err != nil {
			cancel(err)
			return
		}
	}
}

// fenced returns why an attempt must not go on: errUnwanted or errTokenLost. A log that does not answer is no
// reason: the token is checked again before anything is written. It answers within a heartbeat, so that the
// next one is not missed.
func (l *Loop) fenced(ctx context.Context, task pipeline.Task, token uint64) error {
	ctx, stop := context.WithTimeout(ctx, max(l.Heartbeat, time.Second))
	defer stop()
	last, wanted, err := pipeline.FoldTask(ctx, l.Log, task)
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			l.recurring.Failed("check token", "job", task.Job.Name, "error", err)
		}
		return nil
	case !wanted, last.State == pipeline.StateJobCanceled:
		return errUnwanted
	case last.Last.Sequence != token:
		return errTokenLost
	}
	return nil
}
