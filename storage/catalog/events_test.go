package catalog

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/reelmill/reelmill/pipeline"
)

// sequencesOf returns the sequences of the events that q selects.
func sequencesOf(t *testing.T, c *Catalog, q EventQuery) []uint64 {
	t.Helper()
	var found []uint64
	for _, e := range must(c.History(t.Context(), q)) {
		found = append(found, e.Sequence)
	}
	return found
}

// selected returns the sequences of the events of a log that want selects.
func selected(log []pipeline.Event, want func(pipeline.Event) bool) []uint64 {
	var found []uint64
	for _, e := range log {
		if want(e) {
			found = append(found, e.Sequence)
		}
	}
	return found
}

// isOfP reports whether e is of the project p.
func isOfP(e pipeline.Event) bool {
	project, _, _, err := pipeline.Address(e.Subject)
	return err == nil && project == "p"
}

// TestHistory: the events of all videos come in the order of the log, by page, and each filter selects.
func TestHistory(t *testing.T) {
	s := incident()
	c := fresh(t, s.events...)
	for name, test := range map[string]struct {
		q    EventQuery
		want func(pipeline.Event) bool
	}{
		"all":     {EventQuery{}, func(pipeline.Event) bool { return true }},
		"project": {EventQuery{Project: "p"}, isOfP},
		"foreign": {EventQuery{Project: "q"}, func(e pipeline.Event) bool { return !isOfP(e) }},
		"video": {EventQuery{Project: "p", Video: "vid_b"}, func(e pipeline.Event) bool {
			return e.CorrelationID == "vid_b"
		}},
		"types": {EventQuery{Project: "p", Types: []pipeline.EventType{pipeline.VideoUploaded, pipeline.JobCompleted}},
			func(e pipeline.Event) bool {
				return isOfP(e) && (e.Type == pipeline.VideoUploaded || e.Type == pipeline.JobCompleted)
			}},
		"after": {EventQuery{Project: "p", After: 3}, func(e pipeline.Event) bool { return isOfP(e) && e.Sequence > 3 }},
	} {
		test.q.Limit = MaxLimit
		want := selected(s.events, test.want)
		if diff := cmp.Diff(want, sequencesOf(t, c, test.q)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var paged []uint64
		for test.q.Limit = 2; ; {
			page := sequencesOf(t, c, test.q)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			test.q.After = page[len(page)-1]
		}
		if diff := cmp.Diff(want, paged); diff != "" {
			t.Errorf("%s, by page: %s", name, diff)
		}
	}
}

// TestHistoryOutlivesItsVideo: of a deleted video, the deletion and the purge stay, also in a catalog that is made
// anew from the whole log or from what is left of it.
func TestHistoryOutlivesItsVideo(t *testing.T) {
	s := incident()
	s.deleted("p", "vid_b")
	s.purged("p", "vid_b")
	stays := func(e pipeline.Event) bool { return !isPurged(s.events, e) }
	left := slices.DeleteFunc(slices.Clone(s.events), func(e pipeline.Event) bool { return !stays(e) })
	c := fresh(t)
	for i := range s.events {
		apply(t, c, s.events[max(0, i-2):i+1]...)
	}
	for name, c := range map[string]*Catalog{
		"one by one": c, "the whole log": fresh(t, s.events...), "the purged log": fresh(t, left...),
	} {
		if diff := cmp.Diff(selected(left, isOfP), sequencesOf(t, c, EventQuery{Project: "p", Limit: MaxLimit})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		gone := sequencesOf(t, c, EventQuery{Project: "p", Video: "vid_b"})
		if n := uint64(len(s.events)); !slices.Equal(gone, []uint64{n - 1, n}) {
			t.Errorf("%s: of the deleted video: %v", name, gone)
		}
	}
}

// TestOldDeletionsAreForgotten: a deletion stays for 90 days, however many videos are deleted later, and is then
// forgotten: by the times of the events, so that a catalog which is made anew has the same ones.
func TestOldDeletionsAreForgotten(t *testing.T) {
	var s story
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var deletions []pipeline.Event
	for day := range 200 {
		s.deleted("p", fmt.Sprintf("vid_day_%d", day))
		last := &s.events[len(s.events)-1]
		last.Time = begin.Add(time.Duration(day) * 24 * time.Hour)
		deletions = append(deletions, *last)
	}
	var want []uint64
	for _, e := range deletions[109:] { // the last one, and those of the 90 days before it
		want = append(want, e.Sequence)
	}
	one := fresh(t)
	for _, e := range s.events {
		apply(t, one, e)
	}
	q := EventQuery{Project: "p", Types: []pipeline.EventType{pipeline.VideoDeleted}, Limit: MaxLimit}
	for name, c := range map[string]*Catalog{"one by one": one, "at once": fresh(t, s.events...)} {
		if diff := cmp.Diff(want, sequencesOf(t, c, q)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestHistoryOfACatalogOfOld: the migration reads the types of the events that are there.
func TestHistoryOfACatalogOfOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	migrated(t, path, func(p *goose.Provider) error {
		_, err := p.UpTo(t.Context(), 4)
		return err
	})
	for _, text := range []string{
		`INSERT INTO events VALUES ('vid_a', 1, 'p', '{"type":"video.uploaded"}')`,
		`INSERT INTO events VALUES ('vid_a', 2, 'p', '{"type":"video.ready"}')`,
		`INSERT INTO events VALUES ('vid_a', 3, 'p', '{')`, // damaged, which must not stop the start
	} {
		if err := rawExec(path, text); err != nil {
			t.Fatal(err)
		}
	}
	q := EventQuery{Project: "p", Types: []pipeline.EventType{pipeline.VideoReady}}
	if got := sequencesOf(t, open(t, path), q); !slices.Equal(got, []uint64{2}) {
		t.Errorf("ready: %v", got)
	}
}
