package catalog

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/reelmill/reelmill/pipeline"
)

// twoVideos writes a log of two videos, and returns the sequences of the second one.
func twoVideos() (s story, second pipeline.Sequences) {
	s.ready("p", "vid_a")
	first := uint64(len(s.events)) + 1
	s.ready("q", "vid_b")
	return s, pipeline.Sequences{{First: first, Last: uint64(len(s.events))}}
}

// A catalog knows the last event, and which of some events it has. So does an inspection of its file.
func TestACatalogKnowsItsPlaceInTheLog(t *testing.T) {
	s, second := twoVideos()
	path := made(t, s.events...)
	i := must(Inspect(t.Context(), path))
	defer i.Close()
	c := open(t, path)
	last := s.events[len(s.events)-1]
	want := Place{last.Sequence, Mark{last.Sequence, last.ID}}
	for name, m := range map[string]interface {
		Place(ctx context.Context) (Place, error)
		Held(ctx context.Context, of pipeline.Sequences) ([]Held, error)
	}{"open": c, "inspected": i} {
		if got := must(m.Place(t.Context())); got != want {
			t.Errorf("%s: place %v, want %v", name, got, want)
		}
		asked := pipeline.Sequences{{First: 2, Last: 2}, {First: second[0].First, Last: 1000}}
		held := []Held{{"p", "vid_a", pipeline.Sequences{{First: 2, Last: 2}}}, {"q", "vid_b", second}}
		if diff := cmp.Diff(held, must(m.Held(t.Context(), asked))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got := must(m.Held(t.Context(), pipeline.Sequences{{First: 500, Last: 1000}})); len(got) > 0 {
			t.Errorf("%s holds %v", name, got)
		}
	}
	if got := must(fresh(t).Place(t.Context())); got != (Place{}) {
		t.Errorf("a new one stands at %v", got)
	}
}

// In a file whose schema has no event_id, the newest stored event is the last known one.
func TestThePlaceOfACatalogOfOld(t *testing.T) {
	s, _ := twoVideos()
	path := made(t, s.events...)
	migrated(t, path, func(p *goose.Provider) error {
		_, err := p.DownTo(t.Context(), 2)
		return err
	})
	last := s.events[len(s.events)-1]
	want := Place{last.Sequence, Mark{last.Sequence, last.ID}}
	i := must(Inspect(t.Context(), path))
	if got := must(i.Place(t.Context())); got != want {
		t.Errorf("inspected: %v, want %v", got, want)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if got := must(open(t, path).Place(t.Context())); got != want {
		t.Errorf("opened: %v, want %v", got, want)
	}
}

// A catalog lacks an event that it does not have, or that differs from its own.
func TestWhatAnotherCatalogLacks(t *testing.T) {
	s, second := twoVideos()
	path := made(t, s.events...)
	i := must(Inspect(t.Context(), path))
	defer i.Close()
	if got := must(i.Lacking(t.Context(), made(t, s.events...))); len(got) > 0 {
		t.Errorf("the same catalog lacks %v", got)
	}
	want := []Held{{"q", "vid_b", second}}
	got := must(i.Lacking(t.Context(), made(t, s.events[:second[0].First-1]...)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	other := append([]pipeline.Event(nil), s.events...)
	other[2].ID = "evt_other"
	want = []Held{{"p", "vid_a", pipeline.Sequences{{First: 3, Last: 3}}}}
	if diff := cmp.Diff(want, must(i.Lacking(t.Context(), made(t, other...)))); diff != "" {
		t.Error(diff)
	}
	if _, err := i.Lacking(t.Context(), filepath.Join(t.TempDir(), "none", "x.db")); err == nil {
		t.Error("compared with nothing")
	}
}
