package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestDispatchGoesOnPastAnEventThatFails: an event that always fails holds up no other one, and is given up after
// the tries that are allowed. The others are handled once.
func TestDispatchGoesOnPastAnEventThatFails(t *testing.T) {
	const events, tries = 30, 4
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, events)
	bad := errors.New("it cannot be reported")
	handled := make(chan uint64, 1000)
	ended := make(chan uint64, 10)
	background(t, func(ctx context.Context) error {
		return bus.Dispatch(ctx, Dispatching{
			Handle: func(_ context.Context, some []pipeline.Event) []error {
				failed := make([]error, len(some))
				for i, e := range some {
					handled <- e.Sequence
					if e.Sequence == 1 {
						failed[i] = bad
					}
				}
				return failed
			},
			GiveUp: func(_ context.Context, e pipeline.Event, why error) error {
				if !errors.Is(why, bad) {
					return fmt.Errorf("given up for %w", why)
				}
				ended <- e.Sequence
				return nil
			},
			Tries: tries,
		})
	})
	if n := receive(t, ended); n != 1 {
		t.Errorf("event %d was given up", n)
	}
	pipelinetest.Until(t, "all events to be settled", func() bool {
		lag, err := bus.DispatchLag(t.Context())
		must(t, err)
		return lag == 0
	})
	counts := map[uint64]int{}
	for len(handled) > 0 {
		counts[<-handled]++
	}
	for n := uint64(1); n <= events; n++ {
		want := 1
		if n == 1 {
			want = tries
		}
		if counts[n] != want {
			t.Errorf("event %d was handled %d times, want %d", n, counts[n], want)
		}
	}
}

// TestDispatchWaitsForABrokerWithoutRoom: what a broker that is full or away explains is never given up.
func TestDispatchWaitsForABrokerWithoutRoom(t *testing.T) {
	bus := newBus(t, Config{})
	appendJobs(t, bus, 0, 2)
	causes := map[uint64]error{1: nats.ErrTimeout, 2: explainFull(&jetstream.APIError{ErrorCode: codeStoreFailed})}
	seen := map[uint64]int{}
	done := make(chan uint64, 2)
	background(t, func(ctx context.Context) error {
		return bus.Dispatch(ctx, Dispatching{
			Handle: func(_ context.Context, some []pipeline.Event) []error {
				failed := make([]error, len(some))
				for i, e := range some {
					if seen[e.Sequence]++; seen[e.Sequence] < 4 {
						failed[i] = fmt.Errorf("dispatch: %w", causes[e.Sequence])
						continue
					}
					done <- e.Sequence
				}
				return failed
			},
			GiveUp: func(_ context.Context, e pipeline.Event, why error) error {
				t.Errorf("event %d was given up: %v", e.Sequence, why)
				return nil
			},
			Tries: 1,
		})
	})
	receive(t, done)
	receive(t, done)
}
