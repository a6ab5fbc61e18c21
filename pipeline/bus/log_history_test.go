package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// appendTo appends an event of a type to the subject, whatever its last event is.
func appendTo(t *testing.T, bus *Bus, subject string, kind pipeline.EventType) pipeline.Event {
	t.Helper()
	_, video, _, err := pipeline.Address(subject)
	must(t, err)
	last, err := bus.Last(soon(t), subject)
	must(t, err)
	e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, struct{}{})
	must(t, err)
	e.Sequence, err = bus.Append(soon(t), e, last[0].Sequence)
	must(t, err)
	return e
}

func ids(events []pipeline.Event) []string {
	var ids []string
	for _, e := range events {
		ids = append(ids, fmt.Sprint(e.Sequence, " ", e.ID))
	}
	return ids
}

func TestHistoryIsThatOfOneVideoInOrder(t *testing.T) {
	bus := newBus(t, Config{})
	var want []pipeline.Event
	for _, subject := range []string{
		pipeline.UploadedSubject("default", "vid_1"), pipeline.JobSubject("default", "vid_1", "a"),
		pipeline.InspectedSubject("default", "vid_1"), pipeline.JobSubject("default", "vid_1", "b"),
		pipeline.JobSubject("default", "vid_1", "a"), pipeline.FinishedSubject("default", "vid_1"),
		pipeline.JobSubject("default", "vid_1", "a"), pipeline.FinishedSubject("default", "vid_1"),
	} {
		want = append(want, appendTo(t, bus, subject, pipeline.JobStarted))
		appendTo(t, bus, pipeline.JobSubject("default", "vid_2", "a"), pipeline.JobStarted)
		appendTo(t, bus, pipeline.UploadedSubject("other", "vid_1"), pipeline.VideoUploaded)
	}
	got, err := bus.History(soon(t), "default", "vid_1")
	must(t, err)
	if !slices.Equal(ids(got), ids(want)) {
		t.Errorf("history %v, want %v", ids(got), ids(want))
	}
	if got, err := bus.History(soon(t), "default", "vid_3"); err != nil || len(got) != 0 {
		t.Errorf("history of no video: %v, %v", got, err)
	}
	s, err := bus.js.Stream(soon(t), streamEvents)
	must(t, err)
	if n := s.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
	for _, bad := range []string{"*", ">", "a.b", ""} {
		_, err := bus.History(soon(t), "default", bad)
		if err == nil || bus.Purge(soon(t), "default", bad, all) == nil {
			t.Errorf("read or purged %q", bad)
		}
	}
}

func TestHistoryOfManyEvents(t *testing.T) {
	bus := newBus(t, Config{})
	const n = scanBatch + 10
	subject := pipeline.JobSubject("default", "vid_1", "a")
	after := uint64(0)
	for range n {
		e, err := pipeline.NewEvent("test", pipeline.JobStarted, subject, "vid_1", pipeline.Event{}, nil)
		must(t, err)
		after, err = bus.Append(soon(t), e, after)
		must(t, err)
	}
	got, err := bus.History(soon(t), "default", "vid_1")
	must(t, err)
	if len(got) != n || got[n-1].Sequence != after {
		t.Errorf("%d events, want %d", len(got), n)
	}
}

func TestHistoryTellsOfWhatCannotBeRead(t *testing.T) {
	bus := newBus(t, Config{})
	_, err := bus.js.PublishMsg(soon(t), &nats.Msg{Subject: "job.default.vid_1.a", Data: []byte("{no json")})
	must(t, err)
	if got, err := bus.History(soon(t), "default", "vid_1"); err == nil {
		t.Errorf("history %v", got)
	}
}

func TestHistoryEndsWithItsContext(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{PublishTimeout: 50 * time.Millisecond})
	appendTo(t, bus, pipeline.UploadedSubject("default", "vid_1"), pipeline.VideoUploaded)
	b.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := bus.History(ctx, "default", "vid_1"); err == nil {
		t.Errorf("history without a server: %v", got)
	}
}

// all is every sequence.
func all(uint64) bool { return true }

func TestPurgeLeavesTheEndAndOtherVideos(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Purge(soon(t), "default", "vid_1", all))
	for _, video := range []string{"vid_1", "vid_2"} {
		appendTo(t, bus, pipeline.UploadedSubject("default", video), pipeline.VideoUploaded)
		appendTo(t, bus, pipeline.JobSubject("default", video, "a"), pipeline.JobStarted)
		appendTo(t, bus, pipeline.JobSubject("default", video, "a"), pipeline.JobCompleted)
		appendTo(t, bus, pipeline.DeletedSubject("default", video), pipeline.VideoDeleted)
	}
	for range 2 {
		must(t, bus.Purge(soon(t), "default", "vid_1", all))
		got, err := bus.History(soon(t), "default", "vid_1")
		must(t, err)
		if len(got) != 1 || got[0].Type != pipeline.VideoDeleted {
			t.Errorf("history %v", ids(got))
		}
	}
	if got, err := bus.History(soon(t), "default", "vid_2"); err != nil || len(got) != 4 {
		t.Errorf("history of another video: %v, %v", ids(got), err)
	}
	// Readers of the whole log step over the gap.
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var followed int
	must(t, bus.Follow(ctx, 0, func(_ context.Context, events []pipeline.Event) error {
		if followed += len(events); followed == 5 {
			cancel()
		}
		return nil
	}))
	if followed != 5 || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("followed %d events, want 5", followed)
	}
}
