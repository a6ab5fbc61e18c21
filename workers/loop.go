package workers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Tasks is the queue as the loop sees it.
type Tasks interface {
	// NextAtLeast blocks until there is a task of priority least or above for the worker type, and returns
	// exactly one. Callers with different priorities do not delay each other.
	NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (Delivery, error)
	// Schedule delivers t at the given time. Scheduling it again does nothing.
	Schedule(ctx context.Context, t pipeline.Task, at time.Time) error
	// DeadLetter stores d. Storing it again does nothing.
	DeadLetter(ctx context.Context, d pipeline.DeadLetter) error
	// Watch returns a channel that signals when an event is stored on one of the subjects, until ctx ends. It
	// may signal without one.
	Watch(ctx context.Context, subjects ...string) (<-chan struct{}, error)
	// Progress publishes how far an attempt is.
	Progress(ctx context.Context, project string, p pipeline.Progress) error
}

// Delivery is one delivery of a task message, leased to this process.
type Delivery interface {
	Task() pipeline.Task              // what to do; the same in every delivery
	Sequence() uint64                 // of the message; the same in every delivery of it
	Extend(ctx context.Context) error // renews the lease
	Ack(ctx context.Context) error    // removes the message, and returns when it is removed
	// Return makes the message be delivered again after the delay; 0: at once.
	Return(ctx context.Context, delay time.Duration) error
}

// Loop runs the workers of a registry: it takes tasks, one for each free slot, and does with each what the
// attempt rule says (rule.go). Workers neither acknowledge nor retry nor renew a lease.
type Loop struct {
	Config
	suspects []note // attempts that ended when the previous process crashed
	crash    string // that process's crash output
	scratch  *scratch
	crew     *semaphore.Weighted // an attempt holds one unit, or all if it must run alone

	mu      sync.Mutex
	counts  Stats
	refused bool // Admit's last answer

	recurring *pipeline.Recurring // limits log lines while the queue or the log is unavailable
}

// NewLoop returns a loop with an empty scratch directory. A process may have only one loop with CrashOutput.
func NewLoop(c Config) (*Loop, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	l := &Loop{
		Config: c, crew: semaphore.NewWeighted(everyone), scratch: newScratch(c),
		recurring: &pipeline.Recurring{Logger: c.Logger},
	}
	if c.CrashOutput != "" {
		var err error
		if l.crash, err = readCrash(c.CrashOutput); err != nil {
			return nil, err
		}
		if l.crash != "" {
			l.suspects = readNotes(c.Scratch)
			l.Logger.Error("the previous process crashed", "attempts", len(l.suspects), "output", l.crash)
		}
	}
	if err := os.RemoveAll(c.Scratch); err != nil {
		return nil, fmt.Errorf("empty scratch: %w", err)
	}
	if err := os.MkdirAll(c.Scratch, 0o700); err != nil {
		return nil, fmt.Errorf("make scratch: %w", err)
	}
	if c.CrashOutput != "" {
		if err := watchCrash(c.CrashOutput); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Run takes tasks and works on them until ctx ends. Then it stops the running attempts and returns their
// tasks; these attempts do not count. It leaves no goroutine and no process behind.
func (l *Loop) Run(ctx context.Context) error {
	l.blame(ctx)
	var slots errgroup.Group
	for _, t := range l.Registry.Types() {
		for range l.SlotsOf(t.Name) {
			slots.Go(func() error { l.slot(ctx, t.Name, pipeline.Bulk); return nil })
		}
		for range l.interactive(t.Name) {
			slots.Go(func() error { l.slot(ctx, t.Name, pipeline.High); return nil })
		}
	}
	slots.Go(func() error { l.scratch.tend(ctx); return nil })
	defer l.scratch.clear()
	return slots.Wait()
}

// DropSources deletes the copies of sources that no attempt uses now, to free their space.
func (l *Loop) DropSources() { l.scratch.drop(time.Now()) }

// slot takes one task of priority least or above at a time and works on it, until ctx ends.
func (l *Loop) slot(ctx context.Context, worker string, least pipeline.Priority) {
	for ctx.Err() == nil {
		if !l.admits(ctx) {
			pause.For(ctx, admitAgain)
			continue
		}
		d, err := l.Tasks.NextAtLeast(ctx, worker, least)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			l.recurring.Failed("take task", "worker", worker, "error", err)
			pause.For(ctx, time.Second)
		case ctx.Err() != nil:
			l.giveBack(d, 0)
		case !l.admits(ctx): // the wait may have been long
			l.giveBack(d, admitLater)
		default:
			l.count(worker, func(c *Counts) { c.Busy++ })
			l.deliver(ctx, d)
			l.count(worker, func(c *Counts) { c.Busy-- })
		}
	}
}

// deliver applies the attempt rule to one delivered task. If it cannot write something now, it does not
// acknowledge the message, and the next delivery tries again.
func (l *Loop) deliver(ctx context.Context, d Delivery) {
	err := l.judge(ctx, d)
	if err == nil {
		return
	}
	if ctx.Err() != nil && !errors.Is(err, errTokenLost) {
		l.giveBack(d, 0) // stopped before it began, or before its end was written: the next one need not wait
		return
	}
	l.recurring.Failed("leave task to its next delivery",
		"video", d.Task().Video, "job", d.Task().Job.Name, "error", err)
}

// judge reads the current state of the job and does what the attempt rule says.
func (l *Loop) judge(ctx context.Context, d Delivery) error {
	job, wanted, err := pipeline.FoldTask(ctx, l.Log, d.Task())
	if err != nil {
		return err
	}
	a := newAttempt(l, d, job)
	if !wanted {
		return a.unwanted(ctx)
	}
	switch decide(d.Sequence(), a.task.Cause, job, l.MaxLost) {
	case drop:
		return d.Ack(ctx)
	case letter:
		return a.deadLetter(ctx)
	case rearm:
		return a.rearm(ctx)
	case spend:
		a.lost()
		return a.errored(ctx)
	case shelve:
		a.lost()
		return a.retry(ctx, shelfTime(a.data.Lost))
	default:
		return a.begin(ctx)
	}
}

// giveBack returns a task. If that fails, the task is delivered again after its lease.
func (l *Loop) giveBack(d Delivery, delay time.Duration) {
	ctx, cancel := lastWrites(context.Background())
	defer cancel()
	if err := d.Return(ctx, delay); err != nil {
		l.recurring.Failed("return task", "video", d.Task().Video, "job", d.Task().Job.Name, "error", err)
	}
}

// lastWrites returns a context for writes that must happen even if ctx has ended.
func lastWrites(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
