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
func TestDeskTakesTurns(t *testing.T) {
	d := newDesk()
	put := func(project, video string, sequence uint64) {
		subject := pipeline.JobSubject(project, video, "job")
		if !d.put(nil, pipeline.Event{Subject: subject, Sequence: sequence}, 1) {
			t.Fatal("the desk is closed")
		}
	}
	for i := range uint64(100) {
		put("crowd", fmt.Sprint("v", i), i+1)
	}
	put("alone", "v", 101)
	put("alone", "v", 102) // of the same video: one file
	var order []string
	for range 101 {
		f := d.take()
		order = append(order, f.project)
		if f.project == "alone" && (len(f.taken) != 2 || f.event.Sequence != 102) {
			t.Errorf("%d events, the last is %d", len(f.taken), f.event.Sequence)
		}
		d.done(f)
	}
	if at := slices.Index(order, "alone"); at != 1 {
		t.Errorf("taken as number %d of %d", at+1, len(order))
	}
	if d.held != 0 || len(d.files) != 0 {
		t.Errorf("%d events are left, %d files", d.held, len(d.files))
	}
	d.close()
	if d.take() != nil || d.put(nil, pipeline.Event{Subject: pipeline.JobSubject("p", "v", "j")}, 1) {
		t.Error("the closed desk works on")
	}
	<-d.idle
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
	handled := 0
	for seq := uint64(0); seq != 12; handled++ { // what is on its way to this process may come a moment later
		seq = receive(t, inside)
	}
	if handled > 5 {
		t.Errorf("10 events of one video were handled in %d times", handled)
	}
	leading(t, bus, "p", "v", "last")
	for receive(t, inside) != 13 {
	}
}

// onDesk waits until the server has given the coordinator n events.
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
