package bus

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// leading appends an event that leads to something.
func leading(t *testing.T, bus *Bus, project, video, job string) {
	t.Helper()
	e, err := pipeline.NewEvent("test", pipeline.JobCompleted, pipeline.JobSubject(project, video, job), video,
		pipeline.Event{}, pipeline.JobEvent{Job: job})
	must(t, err)
	_, err = bus.Append(soon(t), e, 0)
	must(t, err)
}

// One project's events do not hold up another's.
func TestCoordinateTakesTurns(t *testing.T) {
	bus := newBus(t, Config{Coordinators: 1})
	leading(t, bus, "other", "first", "job")
	inside, release := make(chan struct{}), make(chan struct{})
	seen := make(chan string, 256)
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error {
			project, video, _, err := pipeline.Address(e.Subject)
			must(t, err)
			if video == "first" {
				close(inside)
				<-release
			}
			seen <- project
			return nil
		})
	})
	receive(t, inside)
	for i := range 100 {
		leading(t, bus, "crowd", fmt.Sprint("v", i), "job")
	}
	leading(t, bus, "alone", "v", "job")
	onDesk(t, bus, 102)
	close(release)
	var order []string
	for range 102 {
		order = append(order, receive(t, seen))
	}
	if at := slices.Index(order, "alone"); at > 3 {
		t.Errorf("handled as number %d of %d", at, len(order))
	}
}

// onDesk waits until the coordinator has taken n events.
func onDesk(t *testing.T, bus *Bus, n int) {
	t.Helper()
	for {
		c, err := bus.js.Consumer(soon(t), streamEvents, coordinator)
		must(t, err)
		if info := c.CachedInfo(); info.NumAckPending >= n && info.NumPending == 0 {
			return
		}
	}
}

// Several events of a video are one reason to look at it, and what leads to nothing is none.
func TestCoordinateHandlesAVideoOnce(t *testing.T) {
	bus := newBus(t, Config{Coordinators: 4})
	leading(t, bus, "p", "v", "first")
	inside, release := make(chan uint64, 8), make(chan struct{})
	background(t, func(ctx context.Context) error {
		return bus.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error {
			inside <- e.Sequence
			<-release
			return nil
		})
	})
	if seq := receive(t, inside); seq != 1 {
		t.Fatalf("event %d", seq)
	}
	_, err := bus.Append(soon(t), event(t, "v2", "started"), 0) // leads to nothing
	must(t, err)
	for i := range 10 {
		leading(t, bus, "p", "v", fmt.Sprint("job-", i))
	}
	onDesk(t, bus, 11)
	close(release)
	if seq := receive(t, inside); seq != 12 {
		t.Errorf("event %d is handled next, want the last", seq)
	}
	leading(t, bus, "p", "v", "last")
	if seq := receive(t, inside); seq != 13 {
		t.Errorf("event %d is handled next", seq)
	}
}
