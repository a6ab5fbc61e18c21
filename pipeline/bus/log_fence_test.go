package bus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
)

// ownEvent returns an event of the video vid_1 itself on a subject.
func ownEvent(t *testing.T, kind pipeline.EventType, subject string, fence uint64) pipeline.Event {
	t.Helper()
	e, err := pipeline.NewEvent("test", kind, subject, "vid_1", pipeline.Event{}, struct{}{})
	must(t, err)
	e.Fence = fence
	return e
}

// TestAppendWithAFence: an event that has seen another one as the last of its video is refused once any event of
// the video itself is newer, whatever its subject; those of jobs and of other videos do not count.
func TestAppendWithAFence(t *testing.T) {
	bus := newBus(t, Config{})
	last, err := bus.Append(soon(t), ownEvent(t, pipeline.VideoUploaded, pipeline.UploadedSubject("p", "vid_1"), 0), 0)
	must(t, err)
	for _, subject := range []string{
		pipeline.JobSubject("p", "vid_1", "inspect"), pipeline.HeldSubject("p", "vid_2"),
		pipeline.HeldSubject("q", "vid_1"),
	} {
		_, err := bus.Append(soon(t), ownEvent(t, pipeline.VideoHeld, subject, 0), 0)
		must(t, err)
	}
	held := ownEvent(t, pipeline.VideoHeld, pipeline.HeldSubject("p", "vid_1"), last)
	sequence, err := bus.Append(soon(t), held, last)
	must(t, err)
	if again, err := bus.Append(soon(t), held, last); err != nil || again != sequence {
		t.Errorf("the same event again: %d, %v", again, err)
	}
	gone := ownEvent(t, pipeline.VideoDeleted, pipeline.DeletedSubject("p", "vid_1"), last)
	if _, err := bus.Append(soon(t), gone, 0); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("a deletion that has not seen the hold: %v", err)
	}
	gone.Fence = sequence
	_, err = bus.Append(soon(t), gone, 0)
	must(t, err)
	job := ownEvent(t, pipeline.JobStarted, pipeline.JobSubject("p", "vid_1", "inspect"), sequence)
	if _, err := bus.Append(soon(t), job, 0); err == nil || !strings.Contains(err.Error(), "fence") {
		t.Errorf("a job with a fence: %v", err)
	}
}

// raceHolds lets a hold and a deletion of a video, on their own subjects, race through two buses. One wins.
func raceHolds(t *testing.T, one, two *Bus) {
	t.Helper()
	for range 20 {
		video := pipeline.NewID("vid")
		up := pipeline.Upload{Source: pipeline.Object{Key: "videos/" + video + "/source/a.mp4", Size: 1}}
		_, _, err := pipeline.Accept(soon(t), one, "p", video, up, "")
		must(t, err)
		var held, gone error
		var wg sync.WaitGroup
		wg.Go(func() { _, held = pipeline.SetHold(soon(t), one, "p", video, "") })
		wg.Go(func() { _, gone = pipeline.Delete(soon(t), two, "p", video) })
		wg.Wait()
		holdWins := held == nil && errors.Is(gone, pipeline.ErrHeld)
		deletionWins := gone == nil && errors.Is(held, pipeline.ErrNotFound)
		if holdWins == deletionWins {
			t.Errorf("hold: %v; deletion: %v", held, gone)
		}
	}
}

// TestHoldAgainstDeletion: of a hold and a deletion at once, one wins, and the other gets told.
func TestHoldAgainstDeletion(t *testing.T) {
	bus := newBus(t, Config{})
	raceHolds(t, bus, bus)
}

// TestHoldAgainstDeletionInACluster is the same with a log that three servers replicate.
func TestHoldAgainstDeletionInACluster(t *testing.T) {
	_, urls := bustest.Cluster(t)
	raceHolds(t, openCluster(t, urls), openCluster(t, urls))
}

// TestDeleteDoesNotNeedToRead: what cannot be decoded can be deleted.
func TestDeleteDoesNotNeedToRead(t *testing.T) {
	bus := newBus(t, Config{})
	e := ownEvent(t, pipeline.VideoUploaded, pipeline.UploadedSubject("p", "vid_1"), 0)
	e.Data = []byte(`"no upload"`)
	_, err := bus.Append(soon(t), e, 0)
	must(t, err)
	if _, err := pipeline.Delete(context.Background(), bus, "p", "vid_1"); err != nil {
		t.Error(err)
	}
}
