package workers

import (
	"context"
	"errors"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// errTokenLost says that the job has a later event than this attempt's start: another attempt has it.
var errTokenLost = errors.New("the attempt lost its token")

// errUnwanted says that the job was canceled, or its video was canceled or deleted.
var errUnwanted = errors.New("nobody wants the job any more")

// changes returns a channel that signals events that may end the attempt, until ctx ends. It is nil if
// watching fails; then the attempt only checks at heartbeats.
func (a *attempt) changes(ctx context.Context) <-chan struct{} {
	changed, err := a.loop.Tasks.Watch(ctx, a.task.Fences()...)
	if err != nil {
		if ctx.Err() == nil {
			a.loop.recurring.Failed("watch for cancellation", "job", a.task.Job.Name, "error", err)
		}
		return nil
	}
	return changed
}

// watch renews the lease until ctx ends, and cancels the work if it must not continue. It checks at each
// heartbeat, and at once when changed signals.
func (a *attempt) watch(ctx context.Context, cancel context.CancelCauseFunc, changed <-chan struct{}) {
	tick := time.NewTicker(a.loop.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.extend(ctx)
		case _, ok := <-changed:
			if !ok {
				changed = nil
				continue
			}
		}
		if err := a.fenced(ctx); err != nil {
			cancel(err)
			return
		}
	}
}

// Unwanted reports whether the context of an attempt ended because nobody wants its job any more.
func Unwanted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errUnwanted) }

// fenced returns why the attempt must not continue: errUnwanted or errTokenLost. It returns nil if the log
// does not answer, since the token is checked again before anything is written. It returns within a
// heartbeat, so that the next one is in time.
func (a *attempt) fenced(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, max(a.loop.Heartbeat, time.Second))
	defer stop()
	job, wanted, err := pipeline.FoldTask(ctx, a.loop.Log, a.task)
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			a.loop.recurring.Failed("check token", "job", a.task.Job.Name, "error", err)
		}
		return nil
	case !wanted, job.State == pipeline.StateJobCanceled:
		return errUnwanted
	case job.Last.Sequence != a.data.Token:
		return errTokenLost
	}
	return nil
}
