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
	Scratch  string         // a directory of this process alone; emptied at start
	Slots    map[string]int // attempts at once, by worker type; default: the worker's, see Slotter
	// Interactive is the number of additional slots for jobs of high priority only, by worker type. A job that
	// somebody waits for then begins at once even if all other slots are taken. Default: 1, but 0 for a type
	// with no slots, or with so many (manySlots) that one is soon free.
	Interactive map[string]int
	Process     string // names this process in events; default: host and process id

	Heartbeat time.Duration // between renewals of a lease; default 20 s, a third of the lease
	Timeout   time.Duration // of an attempt whose job sets none; default 4 h
	MaxLost   int           // attempts that may end without an outcome before the job errors; default 10
	Logger    *slog.Logger  // nothing is logged when nil

	// CrashOutput is a file of this process alone that is kept between starts. NewLoop reads what a crash of
	// the previous process left there, and then makes it the Go runtime's crash output: see crash.go. Default:
	// none; attempts that a crash ends then count as lost.
	CrashOutput string
	// Admit returns why no task may be taken now, such as a store that is down or a full disk; nil allows it. A
	// slot asks before it takes a task, and again after a second. Admit must return soon. Default: always nil.
	Admit func(ctx context.Context) error
	// Observe is called for each ended attempt, once its end is in the log. It must return soon. Default: none.
	Observe func(End)
	// FreeScratch measures the disk of Scratch, in bytes. Default: statfs.
	FreeScratch func() (free, total int64, err error)
	// KeepSources is how many bytes of unused sources are kept in Scratch for later attempts, when the store is
	// remote. They are evicted when their space is needed. Default: half of the disk's free space.
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
		c.Logger = slog.New(slog.DiscardHandler)
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
		return fmt.Errorf("worker loop: KeepSources is %d; it must not be negative", c.KeepSources)
	}
	return errors.Join(c.validateSlots("slots", c.Slots), c.validateSlots("interactive slots", c.Interactive))
}

func (c Config) validateSlots(what string, slots map[string]int) error {
	for name, n := range slots {
		if _, err := c.Registry.lookup(name); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if n < 0 {
			return fmt.Errorf("%s of %s: %d is negative", what, name, n)
		}
	}
	return nil
}
