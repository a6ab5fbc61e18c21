package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
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

// Config configures a Loop. Log, Tasks, Store, Registry and Scratch are required.
type Config struct {
	Log      pipeline.Log
	Tasks    Tasks
	Store    storage.Store
	Registry *Registry
	Scratch  string         // a directory of this process alone; what it holds at start is removed
	Slots    map[string]int // attempts at once, by worker type; default: the worker's, see Slotter
	// Interactive is how many attempts at jobs of high priority there may be besides those, by worker type, so
	// that what somebody waits for begins at once although every slot is taken. Default: 1, and 0 for a type
	// with no slots, or with so many (manySlots) that one is soon free.
	Interactive map[string]int
	Process     string // names this process in events; default: host and process id

	Heartbeat time.Duration // between renewals of a lease; default 20 s, a third of the lease
	Timeout   time.Duration // of an attempt whose job sets none; default 4 h
	MaxLost   int           // attempts that may end without a word before the job is given up; default 10
	Logger    *slog.Logger  // default: slog.Default()

	// CrashOutput is a file of this process alone, kept from one start to the next. NewLoop makes it the Go
	// runtime's crash output, after it has read what a crash of the process before left there: see crash.go.
	// Default: none, and attempts that a crash ends count as lost.
	CrashOutput string
	// Admit says why no task may be taken now, nil when one may: a store that is down, a full disk. A slot asks
	// before it takes a task, and again after a second. It must answer soon. Default: always.
	Admit func(ctx context.Context) error
	// Observe is told of each attempt that has ended, once that is in the log; it must return soon. Default:
	// nobody is told.
	Observe func(End)
	// FreeScratch measures the disk of Scratch, in bytes. Default: statfs.
	FreeScratch func() (free, total int64, err error)
	// KeepSources is how many bytes of sources are kept in Scratch for later attempts while none reads them,
	// where the store is remote. They are deleted when somebody wants their room. Default: half of the
	// disk's free space.
	KeepSources int64
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
	if c.Observe == nil {
		c.Observe = func(End) {}
	}
	if c.FreeScratch == nil {
		c.FreeScratch = func() (free, total int64, err error) { return diskSpace(c.Scratch) }
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Log == nil, c.Tasks == nil, c.Store == nil, c.Registry == nil:
		return errors.New("worker loop: Log, Tasks, Store and Registry are required")
	case c.Scratch == "":
		return errors.New("worker loop: Scratch is required")
	case c.KeepSources < 0:
		return fmt.Errorf("worker loop: KeepSources is %d", c.KeepSources)
	}
	return errors.Join(c.validateSlots("slots", c.Slots), c.validateSlots("interactive slots", c.Interactive))
}

func (c Config) validateSlots(what string, slots map[string]int) error {
	for name, n := range slots {
		if _, err := c.Registry.lookup(name); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if n < 0 {
			return fmt.Errorf("%s: %s has %d", what, name, n)
		}
	}
	return nil
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

// SlotsOf returns how many attempts of a worker type there may be at once; those in interactive slots come on
// top.
func (l *Loop) SlotsOf(worker string) int {
	if n, ok := l.Slots[worker]; ok {
		return n
	}
	if t, err := l.Registry.lookup(worker); err == nil {
		return t.slots(runtime.NumCPU())
	}
	return defaultSlots(runtime.NumCPU())
}

// Capacity returns how many attempts of a worker type there may be at once, those in interactive slots
// included.
func (l *Loop) Capacity(worker string) int { return l.SlotsOf(worker) + l.interactive(worker) }

// manySlots is how many slots of a type are so many that one of them is soon free.
const manySlots = 8

// interactive returns how many slots of a worker type take tasks of high priority only.
func (l *Loop) interactive(worker string) int {
	if n, ok := l.Interactive[worker]; ok {
		return n
	}
	if n := l.SlotsOf(worker); n == 0 || n >= manySlots {
		return 0
	}
	return 1
}

// slot takes one task at a time by next, while tasks may be taken.
func (l *Loop) slot(ctx context.Context, worker string,
	next func(ctx context.Context, worker string) (Delivery, error),
) {
	for ctx.Err() == nil {
		if !l.admits(ctx) {
			pause(ctx, admitAgain)
			continue
		}
		d, err := next(ctx, worker)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			l.recurring.Failed("take task", "worker", worker, "error", err)
			pause(ctx, time.Second)
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

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
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
