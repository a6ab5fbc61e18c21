package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// Tasks is the queue as the loop sees it.
type Tasks interface {
	// Next blocks until there is a task for the worker type, and returns exactly one.
	Next(ctx context.Context, worker string) (Delivery, error)
	// Schedule stores t so that it becomes a task at the given time. Storing it again does nothing.
	Schedule(ctx context.Context, t pipeline.Task, at time.Time) error
	// DeadLetter keeps d. Keeping it again does nothing.
	DeadLetter(ctx context.Context, d pipeline.DeadLetter) error
	// Progress tells how far an attempt is, to whoever listens.
	Progress(ctx context.Context, project string, p pipeline.Progress) error
}

// Delivery is one delivery of a task message, leased to this process.
type Delivery interface {
	Task() pipeline.Task
	Sequence() uint64                 // of the message; the same in every delivery of it
	Extend(ctx context.Context) error // begins the lease anew
	Ack(ctx context.Context) error    // removes the message, and knows that it is removed
	Return(ctx context.Context) error // gives the message back, to be delivered again at once
}

// Config configures a Loop. Log, Tasks, Store, Registry and Scratch are required.
type Config struct {
	Log      pipeline.Log
	Tasks    Tasks
	Store    storage.Store
	Registry *Registry
	Scratch  string         // a directory of this process alone; what it holds at start is removed
	Slots    map[string]int // attempts at once, by worker type; default: half the cores, at least 1
	Process  string         // names this process in events; default: host and process id

	Heartbeat time.Duration // between renewals of a lease; default 20 s, a third of the lease
	Timeout   time.Duration // of an attempt whose job sets none; default 4 h
	MaxLost   int           // attempts that may end without a word before the job is given up; default 10
	Logger    *slog.Logger  // default: slog.Default()
}

func (c Config) withDefaults() Config {
	if c.Process == "" {
		host, _ := os.Hostname()
		c.Process = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 20 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 4 * time.Hour
	}
	if c.MaxLost == 0 {
		c.MaxLost = 10
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Log == nil, c.Tasks == nil, c.Store == nil, c.Registry == nil:
		return errors.New("worker loop: Log, Tasks, Store and Registry are required")
	case c.Scratch == "":
		return errors.New("worker loop: Scratch is required")
	}
	for name, n := range c.Slots {
		if _, err := c.Registry.lookup(name); err != nil {
			return fmt.Errorf("slots: %w", err)
		}
		if n < 0 {
			return fmt.Errorf("slots: %s has %d", name, n)
		}
	}
	return nil
}

// Loop runs the workers of a registry: it takes tasks, one for each free slot, and carries each through the
// attempt rule (rule.go, and step by step in run.go). Nothing else acknowledges, retries or heartbeats.
type Loop struct {
	Config
}

// NewLoop returns a loop with an empty scratch directory.
func NewLoop(c Config) (*Loop, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(c.Scratch); err != nil {
		return nil, fmt.Errorf("empty scratch: %w", err)
	}
	if err := os.MkdirAll(c.Scratch, 0o700); err != nil {
		return nil, fmt.Errorf("make scratch: %w", err)
	}
	return &Loop{Config: c}, nil
}

// Run takes and does work until ctx ends; then it takes no more, and running attempts are stopped and given
// back, unspent. It leaves no goroutine and no process behind.
func (l *Loop) Run(ctx context.Context) error {
	var slots errgroup.Group
	for _, t := range l.Registry.Types() {
		for range l.slots(t.Name) {
			slots.Go(func() error { l.slot(ctx, t.Name); return nil })
		}
	}
	return slots.Wait()
}

func (l *Loop) slots(worker string) int {
	if n, ok := l.Slots[worker]; ok {
		return n
	}
	return max(1, runtime.NumCPU()/2)
}

// slot takes one task at a time.
func (l *Loop) slot(ctx context.Context, worker string) {
	for ctx.Err() == nil {
		d, err := l.Tasks.Next(ctx, worker)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			l.Logger.Warn("take task", "worker", worker, "error", err)
			pause(ctx, time.Second)
		case ctx.Err() != nil:
			l.settle("return", d, d.Return)
		default:
			l.deliver(ctx, d)
		}
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// settle runs one last step on a delivery, which must happen although work is being stopped. When it fails
// the message is delivered again, and the attempt rule sees what to do.
func (l *Loop) settle(what string, d Delivery, step func(context.Context) error) {
	ctx, cancel := lastWrites(context.Background())
	defer cancel()
	if err := step(ctx); err != nil {
		l.Logger.Warn(what+" task", "video", d.Task().Video, "job", d.Task().Job.Name, "error", err)
	}
}

// lastWrites returns a context for what must be written although ctx may have ended.
func lastWrites(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
