package catalog

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// held and the others append the events of holds and of retention.
func (s *story) held(project, video string) {
	s.tell(pipeline.VideoHeld, pipeline.HeldSubject(project, video), video, pipeline.Held{Reason: "case 7"})
}

func (s *story) released(project, video string) {
	s.tell(pipeline.VideoReleased, pipeline.HeldSubject(project, video), video, struct{}{})
}

func (s *story) sourceDeleted(project, video string) {
	s.tell(pipeline.VideoSourceDeleted, pipeline.SourceDeletedSubject(project, video), video,
		pipeline.Deletion{Reason: "retention", Rule: "source_days", Days: 7})
}

// endedIDs returns the ids of the videos of p that ended at a time or before, page by page.
func endedIDs(t *testing.T, c *Catalog, until time.Time, sources bool) []string {
	t.Helper()
	var ids []string
	var after pipeline.EndedVideo
	for {
		page := must(c.EndedVideos(t.Context(), "p", until, sources, after, 2))
		for _, v := range page {
			ids, after = append(ids, v.ID), v
		}
		if len(page) < 2 {
			return ids
		}
	}
}

// TestEndedVideos: the videos that a rule may delete are those that have ended and are not held, oldest first.
// What their deletion brings is counted.
func TestEndedVideos(t *testing.T) {
	var s story
	for _, id := range []string{"vid_1", "vid_2", "vid_3", "vid_4"} {
		s.ready("p", id)
	}
	s.uploaded("p", "vid_open")
	s.ready("q", "vid_5")
	c := fresh(t, s.events...)
	check := func(when string, videos, sources []string) {
		t.Helper()
		apply(t, c, s.events...)
		for of, want := range map[bool][]string{false: videos, true: sources} {
			if diff := cmp.Diff(want, endedIDs(t, c, farFuture, of)); diff != "" {
				t.Errorf("%s, sources %v: %s", when, of, diff)
			}
		}
	}
	all := []string{"vid_1", "vid_2", "vid_3", "vid_4"}
	check("at first", all, all)
	view := must(c.Video(t.Context(), "p", "vid_2"))
	second := view.EndedAt()
	if diff := cmp.Diff([]string{"vid_1", "vid_2"}, endedIDs(t, c, second, false)); diff != "" {
		t.Errorf("until the second: %s", diff)
	}
	got := must(c.Expiring(t.Context(), "p", second, farFuture))
	if want := (Expiring{Videos: 2, Sources: 2, Bytes: 2*(1<<20+9999+321) + 2<<20}); got != want {
		t.Errorf("expiring: %+v, want %+v", got, want)
	}
	if got := must(c.Expiring(t.Context(), "p", time.Time{}, time.Time{})); got != (Expiring{}) {
		t.Errorf("without rules: %+v", got)
	}
	before := usageOf(t.Context(), c, "p").SourceBytes
	s.held("p", "vid_1")
	s.sourceDeleted("p", "vid_2")
	s.reopened("p", "vid_3", "package", 1)
	check("held, without a source, reopened", []string{"vid_2", "vid_4"}, []string{"vid_4"})
	if after := usageOf(t.Context(), c, "p").SourceBytes; after != before-1<<20 {
		t.Errorf("the usage fell from %d to %d", before, after)
	}
	v := must(c.Video(t.Context(), "p", "vid_2"))
	if v.SourceDeletedAt == nil || v.Size != 1<<20 {
		t.Errorf("without a source: %+v", v)
	}
	if h := must(c.Video(t.Context(), "p", "vid_1")).Hold; h == nil || h.Reason != "case 7" {
		t.Errorf("held: %+v", h)
	}
	s.released("p", "vid_1")
	check("released", []string{"vid_1", "vid_2", "vid_4"}, []string{"vid_1", "vid_4"})
}

// TestNewest: the time of the last event, in the order of the log.
func TestNewest(t *testing.T) {
	if at := must(fresh(t).Newest(t.Context())); !at.IsZero() {
		t.Errorf("of an empty log: %s", at)
	}
	var s story
	s.ready("p", "vid_1")
	if at := must(fresh(t, s.events...).Newest(t.Context())); !at.Equal(s.events[len(s.events)-1].Time) {
		t.Errorf("%s", at)
	}
}

// TestMigrateRetention: a catalog of an earlier version gets the columns that a new one has.
func TestMigrateRetention(t *testing.T) {
	var s story
	s.ready("p", "vid_1")
	s.uploaded("p", "vid_2")
	s.ready("q", "vid_3")
	s.events[len(s.events)-1].Time = must(time.Parse(time.RFC3339Nano, "2026-11-30T12:00:00.25Z"))
	checkMigration(t, 12, s.events...)
}
