package live

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = "p"

// world is a real read model that a hub reads.
type world struct {
	t       *testing.T
	catalog *catalog.Catalog
	hub     *Hub
	end     uint64 // of the log
	queries chan struct{}
}

// newWorld returns a hub on an empty read model. change may change its configuration.
func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	c, err := catalog.Open(t.Context(), t.TempDir()+"/catalog.db")
	must(t, err)
	w := &world{t: t, catalog: c, queries: make(chan struct{}, 100_000)}
	config := Config{Source: counting{c, w.queries}}
	if change != nil {
		change(&config)
	}
	w.hub = NewHub(config)
	t.Cleanup(func() { w.hub.Wait(); must(t, c.Close()) })
	return w
}

// counting counts the queries for events.
type counting struct {
	*catalog.Catalog
	queries chan struct{}
}

func (c counting) History(ctx context.Context, q catalog.EventQuery) ([]pipeline.Event, error) {
	c.queries <- struct{}{}
	return c.Catalog.History(ctx, q)
}

// apply applies n events of a video in one batch: its upload, if it has none, and changes of its title.
func (w *world) apply(video string, n int) {
	w.t.Helper()
	var events []pipeline.Event
	for range n {
		w.end++
		subject, kind := pipeline.ChangedSubject(project, video), pipeline.VideoChanged
		var data any = pipeline.Label{Title: fmt.Sprint(w.end)}
		if _, err := w.catalog.Video(w.t.Context(), project, video); err != nil && len(events) == 0 {
			subject, kind, data = pipeline.UploadedSubject(project, video), pipeline.VideoUploaded, pipeline.Upload{}
		}
		e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, data)
		must(w.t, err)
		e.Sequence = w.end
		events = append(events, e)
	}
	must(w.t, w.catalog.Apply(w.t.Context(), events))
}

// subscriber is a feed and its owner.
type subscriber struct {
	*Feed
	w    *world
	wake chan struct{}
}

func (w *world) open(o Options) *subscriber {
	w.t.Helper()
	s := &subscriber{w: w, wake: make(chan struct{}, 1)}
	o.Project, o.Wake = project, s.wake
	var err error
	s.Feed, err = w.hub.Open(w.t.Context(), o)
	must(w.t, err)
	w.t.Cleanup(s.Close)
	return s
}

// next returns the sequences of the next n events.
func (s *subscriber) next(n int) (got []uint64) {
	s.w.t.Helper()
	for len(got) < n {
		items, more, err := s.Next(s.w.t.Context())
		must(s.w.t, err)
		for _, it := range items {
			if it.Event != nil {
				got = append(got, it.Event.Sequence)
			}
		}
		if !more && len(got) < n {
			pipelinetest.Receive(s.w.t, "an event", s.wake)
		}
	}
	return got
}

// sequences returns the numbers from first to last.
func sequences(first, last uint64) (all []uint64) {
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
