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
func TestPendingProjectsTakeTurns(t *testing.T) {
	p := newPending()
	put := func(project, video string, sequence uint64) {
		subject := pipeline.JobSubject(project, video, "job")
		if !p.put(nil, pipeline.Event{Subject: subject, Sequence: sequence}, 1) {
			t.Fatal("it is closed")
		}
	}
	for i := range uint64(100) {
		put("crowd", fmt.Sprint("v", i), i+1)
	}
	put("alone", "v", 101)
	put("alone", "v", 102) // the same video has one entry
	var order []string
	for range 101 {
		v := p.take()
		order = append(order, v.project)
		if v.project == "alone" && (len(v.taken) != 2 || v.event.Sequence != 102) {
			t.Errorf("%d events, the last is %d", len(v.taken), v.event.Sequence)
		}
		p.done(v)
	}
	if at := slices.Index(order, "alone"); at != 1 {
		t.Errorf("taken as number %d of %d", at+1, len(order))
	}
	if p.held != 0 || len(p.videos) != 0 {
		t.Errorf("%d events are left, %d videos", p.held, len(p.videos))
	}
	p.close()
	if p.take() != nil || p.put(nil, pipeline.Event{Subject: pipeline.JobSubject("p", "v", "j")}, 1) {
		t.Error("it works on after close")
	}
	<-p.idle
}

// Several events of a video are handled once, and one that leads to nothing is not handled.
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
	heldByCoordinator(t, bus, 11)
	close(release)
	handled := 0
	for seq := uint64(0); seq != 12; handled++ { // events on their way to this process may come a moment later
		seq = receive(t, inside)
	}
	if handled > 5 {
		t.Errorf("10 events of one video were handled in %d times", handled)
	}
	leading(t, bus, "p", "v", "last")
	for receive(t, inside) != 13 {
	}
}

// heldByCoordinator waits until the server has given the coordinator n events.
func heldByCoordinator(t *testing.T, bus *Bus, n int) {
	t.Helper()
	for {
		c, err := bus.js.Consumer(soon(t), streamEvents, coordinator)
		must(t, err)
		if info := c.CachedInfo(); info.NumAckPending >= n && info.NumPending == 0 {
			return
		}
	}
}
