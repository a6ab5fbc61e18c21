package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// background runs f until the test ends, and checks its error.
func background(t *testing.T, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := pipelinetest.Receive(t, "its end with its context", done); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func appendJobs(t *testing.T, bus *Bus, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		e := event(t, fmt.Sprint("vid_", i), "job")
		e.Type = pipeline.JobCompleted
		_, err := bus.Append(soon(t), e, 0)
		must(t, err)
	}
}

func TestCoordinateHandlesEveryEvent(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 10)
	seen := make(chan pipeline.Event, 64)
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error { seen <- e; return nil })
	})
	appendJobs(t, bus, 10, 20)
	sequences := map[uint64]bool{}
	for len(sequences) < 20 {
		sequences[receive(t, seen).Sequence] = true
	}
}

func TestCoordinateDeliversAgainOnError(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 1)
	tries := make(chan uint64, 8)
	n := 0
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error {
			tries <- e.Sequence
			if n++; n < 3 {
				return errors.New("not yet")
			}
			return nil
		})
	})
	for range 3 {
		if seq := receive(t, tries); seq != 1 {
			t.Errorf("event %d", seq)
		}
	}
}

func TestNakDelayGrowsToItsLimit(t *testing.T) {
	for n, want := range map[uint64]time.Duration{
		0: firstNak, 1: firstNak, 2: 2 * firstNak, 7: 16 * time.Second, 8: maxNak, 1 << 40: maxNak,
	} {
		if got := nakDelay(n); got != want {
			t.Errorf("delay after %d deliveries is %s, want %s", n, got, want)
		}
	}
}

// Coordinate runs no more handlers at once than it should, and keeps an event that takes longer than its lease.
func TestCoordinateHandlesAFewAtOnceAndKeepsSlowOnes(t *testing.T) {
	pipelinetest.Longer(t, 1500*time.Millisecond, coordinateLease, func(lease time.Duration) error {
		if again := deliveredAgain(t, lease); len(again) > 0 {
			return fmt.Errorf("events %v are delivered again while they are handled", again)
		}
		return nil
	})
}

// deliveredAgain handles three events for more than two leases, while a fourth waits. It returns those that came again.
func deliveredAgain(t *testing.T, lease time.Duration) (again []uint64) {
	t.Helper()
	bus := newBus(t, Config{Coordinators: 3, AckWait: lease})
	appendJobs(t, bus, 0, 4)
	inside, release := make(chan uint64, 64), make(chan struct{})
	stop := background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error {
			inside <- e.Sequence
			<-release
			return nil
		})
	})
	seen := map[uint64]bool{}
	for range 3 {
		seen[receive(t, inside)] = true
	}
	if !pause.For(soon(t), lease*7/3) {
		t.Fatal("too little time is left to wait for the lease")
	}
	if n := len(inside); n > 0 {
		t.Errorf("%d more than three are handled at once", n)
	}
	close(release)
	appendJobs(t, bus, 4, 5)
	for !seen[4] || !seen[5] {
		sequence := receive(t, inside)
		if seen[sequence] {
			again = append(again, sequence)
		}
		seen[sequence] = true
	}
	stop()
	return again
}

// kept is a message that notes when its lease is extended.
type kept struct {
	jetstream.Msg
	extended []time.Time
}

func (k *kept) InProgress() error {
	k.extended = append(k.extended, time.Now())
	return nil
}

// A process renews leases three times as often as they would run out, of events being handled and of those that wait.
func TestLeasesAreExtendedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for asked, lease := range map[time.Duration]time.Duration{
			3 * time.Second: 3 * time.Second, time.Hour: coordinateLease,
		} {
			bus := &Bus{cfg: Config{AckWait: asked}, recurring: &pipeline.Recurring{Logger: testLog(t)}}
			p, all := newPending(), []*kept{{}, {}}
			for i, k := range all {
				subject := pipeline.JobSubject("p", fmt.Sprint("vid_", i), "job")
				p.put(k, pipeline.Event{Subject: subject, Sequence: uint64(i + 1)}, 1)
			}
			p.take()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 4*lease+1)
			bus.keepAll(ctx, p)
			cancel()
			for i, k := range all {
				last := began
				for _, at := range k.extended {
					if at.Sub(last) > lease/3 {
						t.Errorf("message %d with a lease of %s is extended after %s", i, lease, at.Sub(last))
					}
					last = at
				}
				if len(k.extended) != 12 {
					t.Errorf("message %d is extended %d times in four leases", i, len(k.extended))
				}
			}
		}
	})
}

func TestCoordinateDrainsWhatRuns(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 1)
	inside, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- bus.Coordinate(ctx, func(ctx context.Context, _ pipeline.Event) error {
			close(inside)
			<-release
			return ctx.Err() // still alive
		})
	}()
	receive(t, inside)
	cancel()
	close(release)
	must(t, receive(t, done))
	c, err := bus.js.Consumer(soon(t), streamEvents, coordinator)
	must(t, err)
	for info := c.CachedInfo(); info.AckFloor.Stream != 1; { // the ack was sent; the server may still read it
		info, err = c.Info(soon(t))
		must(t, err)
	}
}

func TestCoordinateBoundsTheDrain(t *testing.T) {
	bus := newBus(t, Config{DrainTimeout: 50 * time.Millisecond})
	appendJobs(t, bus, 0, 1)
	inside, done := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- bus.Coordinate(ctx, func(ctx context.Context, _ pipeline.Event) error {
			close(inside)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	receive(t, inside)
	cancel()
	must(t, receive(t, done))
}

func TestCoordinateSkipsWhatCannotBeRead(t *testing.T) {
	bus := newBus(t, Config{})
	_, err := bus.js.Publish(soon(t), "job.default.vid_1.broken", []byte("{not json"))
	must(t, err)
	appendJobs(t, bus, 0, 1)
	seen := make(chan pipeline.Event, 4)
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error { seen <- e; return nil })
	})
	if e := receive(t, seen); e.Sequence != 2 {
		t.Errorf("event %d", e.Sequence)
	}
}

func TestCoordinateSurvivesARestart(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	seen := make(chan pipeline.Event, 16)
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error { seen <- e; return nil })
	})
	appendJobs(t, bus, 0, 1)
	receive(t, seen)
	b.stop()
	b.start()
	appendJobs(t, bus, 1, 2)
	for receive(t, seen).Sequence != 2 {
		// The first may come again: acks of a stream with limits are synced late.
	}
}

func TestCoordinateEndsWithTheConnection(t *testing.T) {
	bus := newBus(t, Config{})
	bus.nc.Close()
	err := bus.Coordinate(t.Context(), func(context.Context, pipeline.Event) error { return nil })
	if !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("error %v", err)
	}
}

// An event that a dead coordinator held comes at once. One that it acknowledged does not come again.
func TestExclusiveVoidsTheCoordinatorsLeases(t *testing.T) {
	b := newBroker(t)
	dead := b.open(Config{Exclusive: true, Coordinators: 1, DrainTimeout: time.Nanosecond, AckWait: time.Hour})
	appendJobs(t, dead, 0, 3)
	seen := make(chan uint64, 4)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- dead.Coordinate(ctx, func(ctx context.Context, e pipeline.Event) error {
			seen <- e.Sequence
			if e.Sequence == 1 {
				return nil
			}
			dead.nc.Close() // so that neither ack nor nak leaves: the process dies here
			return nil
		})
	}()
	receive(t, seen)
	receive(t, seen)
	cancel()
	must(t, receive(t, done))
	bus := b.open(Config{Exclusive: true, Coordinators: 1, AckWait: time.Hour})
	again := make(chan uint64, 4)
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error {
			again <- e.Sequence
			return nil
		})
	})
	for want := uint64(2); want <= 3; want++ {
		if seq := receive(t, again); seq != want {
			t.Errorf("event %d, want %d", seq, want)
		}
	}
}

func TestCoordinatorLag(t *testing.T) {
	bus := newBus(t, Config{})
	lag := func() uint64 {
		n, err := bus.CoordinatorLag(soon(t))
		must(t, err)
		return n
	}
	wantSettled := func(what string, want uint64) {
		t.Helper()
		if n, err := bus.CoordinatorSettled(soon(t)); err != nil || n != want {
			t.Errorf("%s, and %d events are settled: %v", what, n, err)
		}
	}
	for i := range 3 {
		e := event(t, fmt.Sprint("vid_", i), "a")
		e.Type = pipeline.JobCompleted // which leads to something
		_, err := bus.Append(soon(t), e, 0)
		must(t, err)
	}
	if n := lag(); n != 3 {
		t.Errorf("nobody coordinates, and the lag is %d of 3 events", n)
	}
	wantSettled("nobody coordinates", 0)
	ctx, stop := context.WithCancel(t.Context())
	at, goOn := make(chan struct{}, 3), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- bus.Coordinate(ctx, func(context.Context, pipeline.Event) error {
			at <- struct{}{}
			<-goOn
			return nil
		})
	}()
	for range 3 {
		<-at
	}
	if n := lag(); n != 3 {
		t.Errorf("3 events are being handled, and the lag is %d", n)
	}
	wantSettled("3 events are being handled", 0)
	close(goOn)
	for limit := soon(t); lag() != 0; {
		must(t, limit.Err())
	}
	wantSettled("all events are handled", 3)
	stop()
	must(t, <-done)
}
