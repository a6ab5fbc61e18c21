package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

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
