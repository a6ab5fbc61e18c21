package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// feed is a read model: it checks that events come in order, each once.
type feed struct {
	t     *testing.T
	at    atomic.Uint64
	fail  func(events []pipeline.Event) error
	moved chan struct{}
}

func newFeed(t *testing.T, at uint64) *feed {
	f := &feed{t: t, moved: make(chan struct{}, 1)}
	f.at.Store(at)
	return f
}

func (f *feed) apply(_ context.Context, events []pipeline.Event) error {
	if f.fail != nil {
		if err := f.fail(events); err != nil {
			return err
		}
	}
	at := f.at.Load()
	if len(events) == 0 || len(events) > followBatch {
		f.t.Errorf("batch of %d", len(events))
	}
	for _, e := range events {
		if e.Sequence != at+1 {
			f.t.Errorf("event %d after %d", e.Sequence, at)
		}
		at = e.Sequence
	}
	f.at.Store(at)
	ring(f.moved)
	return nil
}

// wait returns when the feed has seen the event.
func (f *feed) wait(sequence uint64) {
	f.t.Helper()
	for f.at.Load() < sequence {
		receive(f.t, f.moved)
	}
}

func TestFollowInOrder(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 600) // more than two batches
	f := newFeed(t, 0)
	stop := background(t, func(ctx context.Context) error { return bus.Follow(ctx, 0, f.apply) })
	f.wait(600)
	appendJobs(t, bus, 600, 620)
	f.wait(620)
	stop()
	appendJobs(t, bus, 620, 640)
	background(t, func(ctx context.Context) error { return bus.Follow(ctx, f.at.Load(), f.apply) })
	f.wait(640)
}

func TestFollowAppliesAgainAfterAnError(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 20)
	f := newFeed(t, 5)
	tries := 0
	f.fail = func([]pipeline.Event) error {
		if tries++; tries%2 == 1 {
			return errors.New("the database is locked")
		}
		return nil
	}
	background(t, func(ctx context.Context) error { return bus.Follow(ctx, 5, f.apply) })
	f.wait(20)
	appendJobs(t, bus, 20, 30)
	f.wait(30)
}

func TestFollowAcrossARestart(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	f := newFeed(t, 0)
	background(t, func(ctx context.Context) error { return bus.Follow(ctx, 0, f.apply) })
	for i := range 3 {
		appendJobs(t, bus, 20*i, 20*i+20)
		f.wait(uint64(20*i + 20))
		b.stop()
		b.start()
	}
	appendJobs(t, bus, 60, 70)
	f.wait(70)
}

// A feed that is cut off, and whose apply fails, ends with its context all the same.
func TestFollowEndsWithItsContext(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{PublishTimeout: time.Hour})
	appendJobs(t, bus, 0, 1)
	f := newFeed(t, 0)
	failing := make(chan struct{}, 1)
	f.fail = func([]pipeline.Event) error { ring(failing); return errors.New("the disk is full") }
	stop := background(t, func(ctx context.Context) error { return bus.Follow(ctx, 0, f.apply) })
	receive(t, failing)
	b.stop()
	stop()
}

func TestFollowSkipsWhatCannotBeRead(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 1)
	_, err := bus.js.Publish(soon(t), "job.default.vid_1.broken", []byte("{not json"))
	must(t, err)
	appendJobs(t, bus, 1, 2)
	seen := make(chan uint64, 4)
	background(t, func(ctx context.Context) error {
		return bus.Follow(ctx, 0, func(_ context.Context, events []pipeline.Event) error {
			for _, e := range events {
				seen <- e.Sequence
			}
			return nil
		})
	})
	for _, want := range []uint64{1, 3} {
		if seq := receive(t, seen); seq != want {
			t.Errorf("event %d, want %d", seq, want)
		}
	}
}

func TestFollowRefusesAPlaceBeyondTheLog(t *testing.T) {
	bus := newBus(t, Config{})
	if err := bus.Follow(t.Context(), 9, newFeed(t, 9).apply); err == nil {
		t.Error("followed a log from beyond its end")
	}
}

func TestFollowEndsWithTheConnection(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 1)
	f := newFeed(t, 0)
	done := make(chan error, 1)
	go func() { done <- bus.Follow(t.Context(), 0, f.apply) }()
	f.wait(1)
	bus.nc.Close()
	if err := receive(t, done); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("error %v", err)
	}
}
