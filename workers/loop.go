package workers

import (
	"context"
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
	// Next blocks until there is a task for the worker type, and returns exactly one.
	Next(ctx context.Context, worker string) (Delivery, error)
	// NextAtLeast is Next for tasks of priority least or above. Those who wait in it and in Next do not hold
	// each other up.
	NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (Delivery, error)
	// Schedule stores t so that it becomes a task at the given time. Storing it again does nothing.
	Schedule(ctx context.Context, t pipeline.Task, at time.Time) error
	// DeadLetter keeps d. Keeping it again does nothing.
	DeadLetter(ctx context.Context, d pipeline.DeadLetter) error
	// Watch returns a bell that rings when an event is stored on one of the subjects, until ctx ends. It may
	// ring for nothing.
	Watch(ctx context.Context, subjects ...string) (<-chan struct{}, error)
	// Progress tells how far an attempt is, to whoever listens.
	Progress(ctx context.Context, project string, p pipeline.Progress) error
}

// Delivery is one delivery of a task message, leased to this process.
type Delivery interface {
	Task() pipeline.Task
	Sequence() uint64                 // of the message; the same in every delivery of it
	Extend(ctx context.Context) error // begins the lease anew
	Ack(ctx context.Context) error    // removes the message, and knows that it is removed
	// Return gives the message back, to be delivered again after the delay; at once when it is 0.
	Return(ctx context.Context, delay time.Duration) error
}

// Loop runs the workers of a registry: it takes tasks, one for each free slot, and carries each through the
// attempt rule (rule.go, and step by step in run.go). Nothing else acknowledges, retries or heartbeats.
type Loop struct {
	Config
	suspects []note // attempts that a crash of the process before us ended
	crash    string // what it said
	scratch  *scratch
	crew     *semaphore.Weighted // an attempt holds one, or all when it must run alone

	mu      sync.Mutex
	counts  Stats
	refused bool // Admit's last answer

	recurring *pipeline.Recurring // of what fails while the queue or the log is away
}

// NewLoop returns a loop with an empty scratch directory. With CrashOutput there is one loop in a process.
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
			l.Logger.Error("the process before this one crashed", "attempts", len(l.suspects), "output", l.crash)
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

// Run takes and does work until ctx ends; then it takes no more, and running attempts are stopped and given
// back, unspent. It leaves no goroutine and no process behind.
func (l *Loop) Run(ctx context.Context) error {
	l.blame(ctx)
	urgent := func(ctx context.Context, worker string) (Delivery, error) {
		return l.Tasks.NextAtLeast(ctx, worker, pipeline.High)
	}
	var slots errgroup.Group
	for _, t := range l.Registry.Types() {
		for range l.SlotsOf(t.Name) {
			slots.Go(func() error { l.slot(ctx, t.Name, l.Tasks.Next); return nil })
		}
		for range l.interactive(t.Name) {
			slots.Go(func() error { l.slot(ctx, t.Name, urgent); return nil })
		}
	}
	slots.Go(func() error { l.scratch.tend(ctx); return nil })
	defer l.scratch.clear()
	return slots.Wait()
}

// DropSources deletes the copies of sources that no attempt reads at this moment: somebody wants their room.
func (l *Loop) DropSources() { l.scratch.drop(time.Now()) }

// slot takes one task at a time by next, while tasks may be taken.
func (l *Loop) slot(ctx context.Context, worker string,
	next func(ctx context.Context, worker string) (Delivery, error),
) {
	for ctx.Err() == nil {
		if !l.admits(ctx) {
			pause.For(ctx, admitAgain)
			continue
		}
		d, err := next(ctx, worker)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			l.recurring.Failed("take task", "worker", worker, "error", err)
			pause.For(ctx, time.Second)
		case ctx.Err() != nil:
			l.giveBack(d, 0)
		case !l.admits(ctx): // it may have waited long for this task
			l.giveBack(d, admitLater)
		default:
			l.count(worker, func(c *Counts) { c.Busy++ })
			l.deliver(ctx, d)
			l.count(worker, func(c *Counts) { c.Busy-- })
		}
	}
}

// giveBack returns a task that was taken and not begun. When that fails it comes again after its lease.
func (l *Loop) giveBack(d Delivery, delay time.Duration) {
	ctx, cancel := lastWrites(context.Background())
	defer cancel()
	if err := d.Return(ctx, delay); err != nil {
		l.recurring.Failed("return task", "video", d.Task().Video, "job", d.Task().Job.Name, "error", err)
	}
}

// lastWrites returns a context for what must be written although ctx may have ended.
func lastWrites(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
