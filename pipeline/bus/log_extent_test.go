package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// lose removes events from the log without a video.purged.
func lose(t *testing.T, b *Bus, sequences ...uint64) {
	t.Helper()
	stream, err := b.js.Stream(soon(t), streamEvents)
	must(t, err)
	for _, s := range sequences {
		must(t, stream.DeleteMsg(soon(t), s))
	}
}

// deletion deletes a video as the coordinator does.
func deletion(t *testing.T, b *Bus, video string, told bool) {
	t.Helper()
	history, err := b.History(soon(t), "default", video)
	must(t, err)
	subject := pipeline.DeletedSubject("default", video)
	deleted, err := pipeline.NewEvent("test", pipeline.VideoDeleted, subject, video, pipeline.Event{}, struct{}{})
	must(t, err)
	at, err := b.Append(soon(t), deleted, 0)
	must(t, err)
	var gone []uint64
	for _, e := range history {
		gone = append(gone, e.Sequence)
	}
	var data pipeline.Purged
	if told {
		data.Removed = pipeline.SequencesOf(gone).Runs()
	}
	purged, err := pipeline.NewEvent("test", pipeline.VideoPurged, subject, video, deleted, data)
	must(t, err)
	_, err = b.Append(soon(t), purged, at)
	must(t, err)
	must(t, b.Purge(soon(t), "default", video, func(s uint64) bool { return slices.Contains(gone, s) }))
}

func look(t *testing.T, a *Audit) Extent {
	t.Helper()
	e, err := a.Look(soon(t))
	must(t, err)
	return e
}

func TestDeletedVideosAreNoLoss(t *testing.T) {
	b := newBus(t, Config{})
	audit := b.NewAudit()
	if e := look(t, audit); e.Last != 0 || e.Lost != nil {
		t.Errorf("an empty log: %+v", e)
	}
	appendJobs(t, b, 0, 10)
	deletion(t, b, "vid_0", true)
	deletion(t, b, "vid_4", true)
	deletion(t, b, "vid_5", true)
	want := Extent{First: 2, Last: 16, Count: 13}
	if diff := cmp.Diff(want, look(t, audit)); diff != "" {
		t.Error(diff)
	}
	deletion(t, b, "vid_9", true) // Look reads deletions from the last look on
	want = Extent{First: 2, Last: 18, Count: 14}
	for _, a := range []*Audit{audit, audit, b.NewAudit()} {
		if diff := cmp.Diff(want, look(t, a)); diff != "" {
			t.Error(diff)
		}
	}
}

// An Audit finds a loss among deletions, and keeps reporting it while others follow.
func TestALossAmongDeletionsIsNoticed(t *testing.T) {
	b := newBus(t, Config{})
	audit := b.NewAudit()
	appendJobs(t, b, 0, 10)
	deletion(t, b, "vid_0", true)
	look(t, audit)
	deletion(t, b, "vid_1", true)
	lose(t, b, 5)
	deletion(t, b, "vid_2", true)
	want := pipeline.Sequences{{First: 5, Last: 5}}
	for i := range 3 {
		if diff := cmp.Diff(want, look(t, audit).Lost); diff != "" {
			t.Error(diff)
		}
		deletion(t, b, fmt.Sprint("vid_", 5+i), true)
	}
}

// Missing events that no deletion names are lost, wherever they were. The next look reports them.
func TestLostEventsAreNoticed(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 20)
	deletion(t, b, "vid_3", true)
	audit := b.NewAudit()
	for _, test := range []struct {
		lose uint64
		want pipeline.Sequences
	}{
		{0, nil},
		{8, pipeline.Sequences{{First: 8, Last: 8}}},
		{1, pipeline.Sequences{{First: 1, Last: 1}, {First: 8, Last: 8}}},
		{2, pipeline.Sequences{{First: 1, Last: 2}, {First: 8, Last: 8}}},
		{22, pipeline.Sequences{{First: 1, Last: 2}, {First: 4, Last: 4}, {First: 8, Last: 8}, {First: 22, Last: 22}}},
	} {
		if test.lose != 0 {
			lose(t, b, test.lose)
		}
		for _, a := range []*Audit{audit, b.NewAudit()} {
			if a == audit && test.lose == 22 {
				continue // it read the deletion's event before
			}
			if diff := cmp.Diff(test.want, look(t, a).Lost); diff != "" {
				t.Errorf("after %d: %s", test.lose, diff)
			}
		}
	}
	stream, err := b.js.Stream(soon(t), streamEvents)
	must(t, err)
	must(t, stream.Purge(soon(t)))
	e := look(t, b.NewAudit())
	if want := (pipeline.Sequences{{First: 1, Last: 22}}); e.First != 23 || !slices.Equal(e.Lost, want) {
		t.Errorf("an emptied log: %+v", e)
	}
	must(t, b.js.DeleteStream(soon(t), streamEvents))
	for _, a := range []*Audit{audit, b.NewAudit()} {
		if e := look(t, a); e.Last != 0 {
			t.Errorf("no log: %+v", e)
		}
	}
}

// The next look reports a loss that happens between the two looks of one Look.
func TestALossBetweenLooksIsNoticed(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 9)
	lose(t, b, 3)
	audit := b.NewAudit()
	first, err := audit.look(soon(t))
	must(t, err)
	lose(t, b, 5)
	e, settled, err := audit.confirm(soon(t), first)
	must(t, err)
	if settled || !slices.Equal(e.Lost, pipeline.Sequences{{First: 3, Last: 3}}) {
		t.Errorf("lost %v, settled: %t", e.Lost, settled)
	}
	audit.last, audit.seen, audit.gone = e, settled, e.Last-e.Count // as Look does
	if e := look(t, audit); !slices.Equal(e.Lost, pipeline.Sequences{{First: 3, Last: 3}, {First: 5, Last: 5}}) {
		t.Errorf("lost %v at the next look", e.Lost)
	}
}

// Untold is the last deletion by an earlier version, which did not name what it removed.
func TestDeletionsThatDoNotTellAreNamed(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 3)
	deletion(t, b, "vid_1", false)
	deletion(t, b, "vid_2", true)
	e := look(t, b.NewAudit())
	if want := (pipeline.Sequences{{First: 2, Last: 2}}); e.Untold != 5 || !slices.Equal(e.Lost, want) {
		t.Errorf("%+v", e)
	}
}

// A deletion under way is no loss, whenever somebody looks.
func TestDeletionsUnderWayAreNoLoss(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 40)
	stop := keepLooking(t, b)
	for i := range 40 {
		deletion(t, b, fmt.Sprint("vid_", i), true)
	}
	stop()
}

// The same holds in a cluster, also when the leader of the log stops. A loss there is reported.
func TestDeletionsUnderWayInAClusterAreNoLoss(t *testing.T) {
	servers, urls := bustest.Cluster(t)
	one, two := openCluster(t, urls), openCluster(t, urls)
	appendJobs(t, one, 0, 30)
	stop := keepLooking(t, two)
	for i := range 30 {
		if i == 15 {
			stopLeader(t, one, servers)
		}
		deletion(t, one, fmt.Sprint("vid_", i), true)
	}
	stop()
	appendJobs(t, one, 30, 33)
	e := look(t, two.NewAudit())
	lose(t, one, e.Last-1)
	if e := look(t, two.NewAudit()); !slices.Equal(e.Lost, pipeline.Sequences{{First: e.Last - 1, Last: e.Last - 1}}) {
		t.Errorf("lost %v of %d", e.Lost, e.Last)
	}
}

// stopLeader stops the server that leads the log.
func stopLeader(t *testing.T, b *Bus, servers []*server.Server) {
	t.Helper()
	info, err := b.eventsInfo(soon(t))
	must(t, err)
	for _, s := range servers {
		if s.Name() == info.Cluster.Leader {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
}

// keepLooking looks until stop is called, and fails the test when anything is lost.
func keepLooking(t *testing.T, b *Bus) (stop func()) {
	return background(t, func(ctx context.Context) error {
		for n := 0; ctx.Err() == nil || n == 0; {
			e, err := b.NewAudit().look(ctx) // without a second look
			switch {
			case err == nil && len(e.Lost) > 0:
				return fmt.Errorf("lost %v of %+v", e.Lost, e)
			case err == nil:
				n++
			case ctx.Err() == nil && !passing(err):
				return err
			case ctx.Err() != nil && n == 0:
				return errors.New("it never looked")
			}
		}
		return nil
	})
}

// Both ways of finding the missing events give the same result.
func TestGapsAreThoseThatTheServerNames(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 60)
	for _, lost := range [][]uint64{{}, {1}, {2, 30}, {31, 33}, {60}, {59, 10}} {
		lose(t, b, lost...)
		e, missing, err := b.Gone(soon(t))
		must(t, err)
		gaps, err := b.gaps(soon(t), e.Last)
		must(t, err)
		if diff := cmp.Diff(missing, gaps); diff != "" {
			t.Errorf("after %v: %s", lost, diff)
		}
	}
}

// An accepted loss is stored with the log. Nobody reports it again, and a further loss is reported.
func TestAnAcceptedLossIsKeptWithTheLog(t *testing.T) {
	broker := newBroker(t)
	b := broker.open(Config{})
	appendJobs(t, b, 0, 9)
	lose(t, b, 2, 5)
	e := look(t, b.NewAudit())
	if n := e.NewlyLost(e.Lost); n != 2 {
		t.Errorf("%d are lost", n)
	}
	must(t, b.Accept(soon(t), Accepted{Through: e.Last, Count: 2}))
	broker.stop()
	broker.start()
	again := broker.open(Config{})
	audit := again.NewAudit()
	e = look(t, audit)
	if n := e.NewlyLost(e.Lost); n != 0 {
		t.Errorf("%d accepted losses are reported again", n)
	}
	appendJobs(t, again, 9, 12)
	lose(t, again, 3, 11)
	e = look(t, audit)
	if n := e.NewlyLost(e.Lost); n != 2 {
		t.Errorf("%d more are lost, want 2", n)
	}
}

// replayed replays the log within the time of a test and returns the sequences.
func replayed(t *testing.T, b *Bus, through uint64) (seen []uint64, unread pipeline.Sequences) {
	t.Helper()
	r, err := b.Replay(soon(t), through, func(_ context.Context, events []pipeline.Event) error {
		for _, e := range events {
			seen = append(seen, e.Sequence)
		}
		return nil
	})
	must(t, err)
	if r.Events != len(seen) || r.Unread.Count() != through-uint64(len(seen)) {
		t.Errorf("%+v, of %d that came", r, len(seen))
	}
	return seen, r.Unread
}

// A replay ends with the last event, also when the log is empty or its last message is gone.
func TestReplayEnds(t *testing.T) {
	b := newBus(t, Config{})
	if seen, _ := replayed(t, b, 0); len(seen) > 0 {
		t.Errorf("an empty log replays %v", seen)
	}
	appendJobs(t, b, 0, 300)
	if seen, _ := replayed(t, b, 290); len(seen) != 290 || !slices.IsSorted(seen) || seen[289] != 290 {
		t.Errorf("%d events", len(seen))
	}
	lose(t, b, 1, 100, 299, 300)
	seen, _ := replayed(t, b, 300)
	if len(seen) != 296 || seen[0] != 2 || seen[295] != 298 {
		t.Errorf("%d events, %d to %d", len(seen), seen[0], seen[len(seen)-1])
	}
	_, err := b.js.Publish(soon(t), "job.default.vid_1.broken", []byte("{not json"))
	must(t, err)
	want := pipeline.SequencesOf([]uint64{1, 100, 299, 300, 301})
	if seen, unread := replayed(t, b, 301); !slices.Equal(unread, want) || len(seen) != 296 {
		t.Errorf("%v is unread, %d events", unread, len(seen))
	}
	stream, err := b.js.Stream(soon(t), streamEvents)
	must(t, err)
	must(t, stream.Purge(soon(t)))
	if seen, _ := replayed(t, b, 301); len(seen) > 0 {
		t.Errorf("an emptied log replays %v", seen)
	}
}

// A replay ends with the first error of apply: it leaves out nothing in silence.
func TestReplayEndsWithAnError(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 600)
	for _, want := range []error{errors.New("the disk is full"), context.DeadlineExceeded} {
		calls := 0
		_, err := b.Replay(soon(t), 600, func(context.Context, []pipeline.Event) error {
			if calls++; calls == 2 {
				return want
			}
			return nil
		})
		if !errors.Is(err, want) || calls != 2 {
			t.Errorf("%v after %d calls", err, calls)
		}
	}
}

// awaitFailures returns when something has failed twice more.
func awaitFailures(t *testing.T, b *Bus) {
	t.Helper()
	before := b.Withheld()
	pipelinetest.Until(t, "it fails again and again", func() bool { return b.Withheld() >= before+2 })
}

// Follow does not go on with another log that came into the place of the first.
func TestFollowRefusesAnotherLog(t *testing.T) {
	b := newBus(t, Config{})
	appendJobs(t, b, 0, 5)
	f := newFeed(t, 0)
	background(t, func(ctx context.Context) error { return b.Follow(ctx, 0, f.apply) })
	f.wait(5)
	info, err := b.eventsInfo(soon(t))
	must(t, err)
	must(t, b.js.DeleteStream(soon(t), streamEvents))
	_, err = b.js.CreateStream(soon(t), info.Config)
	must(t, err)
	appendJobs(t, b, 20, 23)
	awaitFailures(t, b)
	appendJobs(t, b, 23, 40)
	awaitFailures(t, b)
	if at := f.at.Load(); at != 5 {
		t.Errorf("it has applied up to %d", at)
	}
	stream, err := b.js.Stream(soon(t), streamEvents)
	must(t, err)
	for c := range stream.ListConsumers(soon(t)).Info() {
		if c.Config.DeliverPolicy == jetstream.DeliverByStartSequencePolicy {
			t.Errorf("it reads the other log: %+v", c.Config)
		}
	}
}
