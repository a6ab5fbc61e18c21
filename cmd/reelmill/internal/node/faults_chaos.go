//go:build chaos

package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

// chaosConfig is the value of REELMILL_CHAOS: the faults of this process. The zero value has none. Fractions
// are from 0 to 1.
type chaosConfig struct {
	Seed      uint64     `json:"seed"`
	Kill      *killPoint `json:"kill"`       // where the process kills itself
	Covered   string     `json:"covered"`    // file that records the kill
	StoreFail float64    `json:"store_fail"` // fraction of store operations that fail
	LogFail   float64    `json:"log_fail"`   // fraction of appends that fail, before or after their effect
	Double    float64    `json:"double"`     // fraction of deliveries, events, batches, tasks, appends that repeat
	Reorder   float64    `json:"reorder"`    // fraction of deliveries and events that come after a later one
	DelayMS   int        `json:"delay_ms"`   // up to this much later come deliveries and events
	DropTask  float64    `json:"drop_task"`  // fraction of tasks that are lost: enqueued, never stored
	// RetryMaxMS limits the delays of retries, since those of inspect and webhook jobs reach hours.
	RetryMaxMS int `json:"retry_max_ms"`
}

// killPoint says at which hit of one of some points the process dies.
type killPoint struct {
	Points  []string `json:"points"`
	At      int      `json:"at"`       // from 1, of the same point
	AfterMS int      `json:"after_ms"` // hits count only after this time
}

// faults wraps the parts of a node with the faults that REELMILL_CHAOS names.
type faults struct{ *chaos }

// chaos is the state of the faults of a process.
type chaos struct {
	chaosConfig
	logger *slog.Logger

	mu     sync.Mutex
	random *rand.Rand
	began  time.Time
	hits   map[string]int // of the kill points
}

func newFaults(log *slog.Logger) (faults, error) {
	c := &chaos{logger: log, began: time.Now(), hits: map[string]int{}}
	if text := os.Getenv("REELMILL_CHAOS"); text != "" {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&c.chaosConfig); err != nil {
			return faults{}, fmt.Errorf("REELMILL_CHAOS: %w", err)
		}
	}
	c.random = rand.New(rand.NewPCG(c.Seed, uint64(os.Getpid())))
	return faults{c}, nil
}

// applyFunc folds events into the read model; handleFunc acts on one event.
type (
	applyFunc  = func(context.Context, []pipeline.Event) error
	handleFunc = func(context.Context, pipeline.Event) error
)

func (f faults) log(l pipeline.Log) pipeline.Log       { return chaosLog{l, f.chaos} }
func (f faults) tasks(t pipeline.Tasks) pipeline.Tasks { return chaosTasks{t, f.chaos} }
func (f faults) queue(q workers.Tasks) workers.Tasks {
	return &chaosQueue{Tasks: q, chaos: f.chaos, held: map[string][]workers.Delivery{}}
}
func (f faults) store(s storage.Store) storage.Store { return chaosStore{s, f.chaos} }
func (f faults) workers(r *workers.Registry)         { workers.Add(r, "chaos", chaosWorker{}) }

// point is called before and after every effect outside the process. At the chosen hit of a chosen point it
// kills the process.
func (c *chaos) point(name string) {
	if c.Kill == nil || !slices.Contains(c.Kill.Points, name) ||
		time.Since(c.began) < time.Duration(c.Kill.AfterMS)*time.Millisecond {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hits[name]++; c.hits[name] != c.Kill.At {
		return
	}
	if f, err := os.OpenFile(c.Covered, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintf(f, "killed at %s\n", name)
		f.Close()
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// around calls an effect between its two points.
func (c *chaos) around(name string, effect func() error) error {
	c.point(name + ".before")
	err := effect()
	c.point(name + ".after")
	return err
}

// chance returns true for the given fraction of calls.
func (c *chaos) chance(fraction float64) bool {
	if fraction <= 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.Float64() < fraction
}

// delay waits for up to DelayMS, or until ctx ends.
func (c *chaos) delay(ctx context.Context) {
	if c.DelayMS <= 0 {
		return
	}
	c.mu.Lock()
	d := time.Duration(c.random.IntN(c.DelayMS)) * time.Millisecond
	c.mu.Unlock()
	pause.For(ctx, d)
}

// errChaos is the error of injected failures.
var errChaos = errors.New("chaos: made to fail")

// failing calls an effect, and returns an error for the given fraction of calls: in half of those it does not
// call the effect, in the other half it does.
func (c *chaos) failing(fraction float64, effect func() error) error {
	if !c.chance(fraction) {
		return effect()
	}
	if c.chance(0.5) {
		return errChaos
	}
	return errors.Join(effect(), errChaos)
}

// chaosLog is an event log whose appends kill the process, fail and come twice.
type chaosLog struct {
	pipeline.Log
	chaos *chaos
}

// State implements pipeline.StateReader, so that chaos tests the code that runs in production.
func (l chaosLog) State(ctx context.Context, project, video string) ([]pipeline.Event, error) {
	all, ok := l.Log.(pipeline.StateReader)
	if !ok {
		return nil, pipeline.ErrTooMany
	}
	return all.State(ctx, project, video)
}

// LastOwn implements pipeline.FenceReader.
func (l chaosLog) LastOwn(ctx context.Context, project, video string) (uint64, error) {
	r, ok := l.Log.(pipeline.FenceReader)
	if !ok {
		return 0, errors.New("the log is no FenceReader")
	}
	return r.LastOwn(ctx, project, video)
}

// Append implements pipeline.Log.
func (l chaosLog) Append(ctx context.Context, e pipeline.Event, after uint64) (sequence uint64, err error) {
	err = l.chaos.around("append."+string(e.Type), func() error {
		return l.chaos.failing(l.chaos.LogFail, func() error {
			if sequence, err = l.Log.Append(ctx, e, after); err != nil || !l.chaos.chance(l.chaos.Double) {
				return err
			}
			sequence, err = l.Log.Append(ctx, e, after)
			return err
		})
	})
	return sequence, err
}

// chaosTasks is the coordinator's queue. It kills the process, doubles and loses tasks.
type chaosTasks struct {
	pipeline.Tasks
	chaos *chaos
}

// Enqueue implements pipeline.Tasks.
func (q chaosTasks) Enqueue(ctx context.Context, t pipeline.Task) error {
	if q.chaos.chance(q.chaos.DropTask) {
		q.chaos.logger.Info("chaos: a task is lost", "video", t.Video, "job", t.Job.Name)
		return nil
	}
	return q.chaos.around("enqueue."+t.Job.Worker, func() error {
		err := q.Tasks.Enqueue(ctx, t)
		if err == nil && q.chaos.chance(q.chaos.Double) {
			err = q.Tasks.Enqueue(ctx, t)
		}
		return err
	})
}

// Withdraw implements pipeline.Tasks.
func (q chaosTasks) Withdraw(ctx context.Context, project, video string, jobs ...string) error {
	return q.chaos.around("withdraw", func() error { return q.Tasks.Withdraw(ctx, project, video, jobs...) })
}
