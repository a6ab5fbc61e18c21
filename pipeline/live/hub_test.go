package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

// TestFeedHasNeitherGapNorDouble: wherever a feed begins, in the past, at the end or beyond what the read
// model has, it brings every later event once, in order, while more are applied.
func TestFeedHasNeitherGapNorDouble(t *testing.T) {
	w := newWorld(t, nil)
	const before, all = 3*page + 7, 6*page + 1
	w.apply("vid_a", before)
	w.hub.config.LogEnd = func(context.Context) (uint64, error) { return all, nil }
	var feeds []*subscriber
	var from []uint64
	for _, after := range []uint64{0, 1, page, before - page, before - 1, before, before + 9} {
		feeds, from = append(feeds, w.open(Options{After: &after})), append(from, after)
	}
	feeds, from = append(feeds, w.open(Options{})), append(from, before)
	done := make(chan []uint64, len(feeds))
	for i, f := range feeds {
		go func() { done <- append([]uint64{from[i]}, f.next(int(all-from[i]))...) }()
	}
	for range all - before {
		w.apply("vid_a", 1)
	}
	for range feeds {
		got := pipelinetest.Receive(t, "a feed", done)
		if want := sequences(got[0], all); !slices.Equal(got, want) {
			t.Errorf("after %d: got %v", got[0], got[1:])
		}
	}
}

// TestFeedSelects: a feed brings the events of its videos and types only, those of the past and new ones.
func TestFeedSelects(t *testing.T) {
	w := newWorld(t, nil)
	zero := uint64(0)
	w.apply("vid_a", 2)
	w.apply("vid_b", 2)
	w.apply("vid_c", 1)
	ofTwo := w.open(Options{After: &zero, Videos: []string{"vid_a", "vid_c"}})
	uploads := w.open(Options{After: &zero, Types: []pipeline.EventType{pipeline.VideoUploaded}})
	other := w.open(Options{After: &zero, Videos: []string{"vid_d"}})
	check := func(what string, got []uint64, want ...uint64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("past of two", ofTwo.next(3), 1, 2, 5)
	check("past uploads", uploads.next(3), 1, 3, 5)
	w.apply("vid_b", 1)
	w.apply("vid_c", 1)
	w.apply("vid_d", 1)
	check("new of two", ofTwo.next(1), 7)
	check("new uploads", uploads.next(1), 8)
	check("of one", other.next(1), 8)
}

// TestOneQueryForAllFeeds: a change costs one look at the read model, however many feeds there are, and the
// document of an event is made once.
func TestOneQueryForAllFeeds(t *testing.T) {
	made := 0 // by the reader alone
	w := newWorld(t, func(c *Config) {
		c.Encode = func(e pipeline.Event) ([]byte, error) { made++; return json.Marshal(e) }
	})
	w.apply("vid_a", 1)
	var feeds []*subscriber
	for range 100 {
		feeds = append(feeds, w.open(Options{}))
	}
	for pipelinetest.Receive(t, "the first look", w.queries); len(w.queries) > 0; {
		<-w.queries
	}
	w.apply("vid_a", 1)
	var docs [][]byte
	for _, f := range feeds {
		pipelinetest.Receive(t, "an event", f.wake)
		items, _, err := f.Next(t.Context())
		must(t, err)
		docs = append(docs, items[0].Event.Doc)
	}
	if n := len(w.queries); n > 2 || made != 1 || &docs[0][0] != &docs[99][0] {
		t.Errorf("%d queries for one change of 100 feeds, %d documents", n, made)
	}
}

// TestReaderStopsWithTheLastFeed: without a feed nothing is read.
func TestReaderStopsWithTheLastFeed(t *testing.T) {
	w := newWorld(t, nil)
	for range 2 {
		a, b := w.open(Options{}), w.open(Options{})
		a.Close()
		w.apply("vid_a", 1)
		b.next(1)
		b.Close()
		a.Close() // again
		w.hub.Wait()
		for len(w.queries) > 0 {
			<-w.queries
		}
		w.apply("vid_a", 1)
		if len(w.queries) > 0 {
			t.Error("somebody reads events for nobody")
		}
	}
}

// TestSlowFeedIsCutOff: a feed that takes nothing is cut off when its buffer is full. The others lose
// nothing, and it loses nothing if it comes back.
func TestSlowFeedIsCutOff(t *testing.T) {
	cut := make(chan struct{}, 1)
	w := newWorld(t, func(c *Config) { c.Buffer, c.Patience = 8, time.Millisecond })
	w.apply("vid_a", 1)
	slow := w.open(Options{Cut: func() { cut <- struct{}{} }})
	quick := w.open(Options{})
	const many = 30
	for want := uint64(2); want <= many; want++ {
		w.apply("vid_a", 1)
		if got := quick.next(1); !slices.Equal(got, []uint64{want}) {
			t.Fatalf("the quick one: %v, want %d", got, want)
		}
	}
	pipelinetest.Receive(t, "the slow one is cut off", cut)
	if _, _, err := slow.Next(t.Context()); !errors.Is(err, ErrSlow) || w.hub.Cut() != 1 {
		t.Errorf("the slow one: %v; %d cut off", err, w.hub.Cut())
	}
	last := slow.Position()
	slow.Close()
	if again := w.open(Options{After: &last}).next(many - 1); !slices.Equal(again, sequences(2, many)) {
		t.Errorf("it resumes after %d with %v", last, again)
	}
}

// TestBurstLargerThanABuffer: a batch that is larger than a buffer cuts off nobody who takes events.
func TestBurstLargerThanABuffer(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Buffer, c.Patience = 8, time.Hour })
	w.apply("vid_a", 1)
	quick := w.open(Options{})
	w.apply("vid_a", 200)
	if got := quick.next(200); !slices.Equal(got, sequences(2, 201)) {
		t.Errorf("%v", got)
	}
}

// TestCursorBeyondTheLog: such a cursor is of another log. One that is only beyond the read model is not.
func TestCursorBeyondTheLog(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.LogEnd = func(context.Context) (uint64, error) { return 5, nil }
	})
	w.apply("vid_a", 3)
	six := uint64(6)
	if _, err := w.hub.Open(t.Context(), Options{Project: project, After: &six}); !errors.Is(err, ErrAhead) {
		t.Errorf("beyond the log: %v", err)
	}
	five := uint64(5)
	late := w.open(Options{After: &five})
	if items, more, err := late.Next(t.Context()); len(items) > 0 || more || err != nil {
		t.Errorf("nothing has happened: %v %t %v", items, more, err)
	}
	w.apply("vid_a", 3)
	if got := late.next(1); !slices.Equal(got, []uint64{6}) {
		t.Errorf("beyond the read model: %v", got)
	}
}

// failing is a read model that fails until it is repaired.
type failing struct {
	Source
	failures chan error
}

func (f failing) History(ctx context.Context, q catalog.EventQuery) ([]pipeline.Event, error) {
	select {
	case err := <-f.failures:
		return nil, err
	default:
		return f.Source.History(ctx, q)
	}
}

// TestReaderTriesAgain: a look that fails is repeated, and no event is lost.
func TestReaderTriesAgain(t *testing.T) {
	failures := make(chan error, 2)
	w := newWorld(t, func(c *Config) { c.Source = failing{c.Source, failures} })
	w.apply("vid_a", 1)
	failures <- errors.New("a fault")
	f := w.open(Options{})
	failures <- errors.New("another")
	w.apply("vid_a", 2)
	if got := f.next(2); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("%v", got)
	}
}

// reporting is a source of progress whose first watch ends at once.
type reporting struct {
	reports chan pipeline.Progress
	watches chan struct{}
}

func (r reporting) WatchProgress(ctx context.Context) (<-chan pipeline.Progress, error) {
	r.watches <- struct{}{}
	out := make(chan pipeline.Progress)
	if len(r.watches) == 1 {
		close(out)
		return out, nil
	}
	go func() {
		defer close(out)
		for {
			select {
			case p := <-r.reports:
				out <- p
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// TestProgress: a feed of a video gets the last report of each job, if it asks, also after the watch broke.
func TestProgress(t *testing.T) {
	source := reporting{make(chan pipeline.Progress), make(chan struct{}, 10)}
	w := newWorld(t, func(c *Config) { c.Progress, c.Buffer = source, 8 })
	w.apply("vid_a", 1)
	asks := w.open(Options{Videos: []string{"vid_a"}, Progress: true})
	silent := w.open(Options{Videos: []string{"vid_a"}})
	all := w.open(Options{Progress: true})
	tell := func(project, job string, fraction float64) {
		source.reports <- pipeline.Progress{Project: project, Video: "vid_a", Job: job, Fraction: fraction}
	}
	tell("q", "other", 1)
	tell(project, "one", 0.1)
	for i := range 9 {
		tell(project, "two", float64(i))
	}
	tell(project, "one", 0.2)
	tell(project, "end", 0) // the reader has handed out all before it
	tell(project, "end", 0)
	items, _, err := asks.Next(t.Context())
	must(t, err)
	said := ""
	for _, it := range items {
		said += fmt.Sprint(it.Progress.Job, " ", it.Progress.Fraction, " ")
	}
	if said != "one 0.2 two 8 end 0 " {
		t.Errorf("got %s", said)
	}
	for _, f := range []*subscriber{silent, all} {
		if items, _, err := f.Next(t.Context()); len(items) > 0 || err != nil {
			t.Errorf("not asked, or of no video: %v %v", items, err)
		}
	}
	for i := range 20 {
		tell(project, fmt.Sprint("many-", i), 0)
	}
	tell(project, "end", 0)
	items, _, err = asks.Next(t.Context())
	if must(t, err); len(items) > 4 {
		t.Errorf("%d reports in a buffer of 8", len(items))
	}
}
