package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// TestReadersDuringApply reads as fast as it can during Apply: no reader sees a part of a batch, or an older
// state after a newer one.
func TestReadersDuringApply(t *testing.T) {
	c := fresh(t)
	const videos = 40
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 6 { // more than there are reading connections
		wg.Go(func() {
			for last := 0; ; {
				stop := isDone(done)
				page, err := c.Videos(t.Context(), Query{Project: "p", Limit: MaxLimit})
				if err != nil || len(page.Data) < last {
					t.Errorf("%d videos after %d, %v", len(page.Data), last, err)
					return
				}
				last = len(page.Data)
				for _, v := range page.Data {
					if v.Status != pipeline.StateVideoReady {
						t.Errorf("%s is %s: half a batch", v.ID, v.Status)
					}
				}
				if last > 0 {
					if o, err := c.Outputs(t.Context(), "p", page.Data[0].ID); err != nil || len(o) != 2 {
						t.Errorf("outputs %v, %v", o, err)
					}
				}
				if stop {
					return
				}
			}
		})
	}
	var s story
	for i := range videos {
		from := len(s.events)
		s.ready("p", fmt.Sprintf("vid_%02d", i))
		apply(t, c, s.events[from:]...)
	}
	close(done)
	wg.Wait()
	if n := len(must(c.Videos(t.Context(), Query{Project: "p", Limit: MaxLimit})).Data); n != videos {
		t.Errorf("%d videos", n)
	}
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// TestTwoProjectorsOnOneFile gives two processes the same log in different batches.
func TestTwoProjectorsOnOneFile(t *testing.T) {
	var s story
	for i := range 12 {
		s.ready("p", fmt.Sprintf("vid_%02d", i))
	}
	path := filepath.Join(t.TempDir(), "catalog.db")
	var wg sync.WaitGroup
	for _, size := range []int{3, 4, 7} {
		c := open(t, path)
		wg.Go(func() {
			for at := 0; at < len(s.events); at += size {
				if err := c.Apply(t.Context(), s.events[at:min(at+size, len(s.events))]); err != nil {
					t.Errorf("size %d: %v", size, err)
					return
				}
			}
		})
	}
	wg.Wait()
	want := answers(t.Context(), fresh(t, s.events...), "p")
	if diff := cmp.Diff(want, answers(t.Context(), open(t, path), "p")); diff != "" {
		t.Error(diff)
	}
}

func TestWaitForWakes(t *testing.T) {
	c := fresh(t)
	var s story
	s.ready("p", "vid_a")
	var wg sync.WaitGroup
	for _, e := range s.events {
		for range 3 {
			wg.Go(func() {
				if err := c.WaitFor(t.Context(), e.Sequence); err != nil {
					t.Error(err)
				}
				if seq := must(c.Sequence(t.Context())); seq < e.Sequence {
					t.Errorf("woken at %d for %d", seq, e.Sequence)
				}
			})
		}
	}
	for _, e := range s.events {
		changed := c.Changed()
		apply(t, c, e)
		<-changed
	}
	wg.Wait()
}

func TestWaitForKnowsThePast(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	path := filepath.Join(t.TempDir(), "catalog.db")
	first := open(t, path)
	apply(t, first, s.events...)
	second := open(t, path)
	for _, c := range []*Catalog{first, second} {
		if err := c.WaitFor(t.Context(), 10); err != nil {
			t.Error(err)
		}
	}
	s.uploaded("p", "vid_b")
	apply(t, first, s.events...)
	if err := second.WaitFor(t.Context(), 11); err != nil { // applied by another process before the call
		t.Error(err)
	}
}

func TestWaitForEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := must(Open(t.Context(), path))
	ctx, cancel := context.WithCancel(t.Context())
	canceled, closed := make(chan error, 1), make(chan error, 1)
	go func() { canceled <- c.WaitFor(ctx, 1) }()
	go func() { closed <- c.WaitFor(context.Background(), 1) }()
	cancel()
	if err := <-canceled; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := c.WaitFor(context.Background(), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	c := fresh(t, s.events[:4]...)
	before := answers(t.Context(), c, "p")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Apply(ctx, s.events); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// A statement that fails in the middle of a batch.
	if _, err := c.writer.db.ExecContext(t.Context(),
		`CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.sequence = 8
			BEGIN SELECT RAISE(ABORT, 'fault'); END`,
	); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), s.events); err == nil {
		t.Fatal("the fault was not reported")
	}
	if after := answers(t.Context(), c, "p"); after != before {
		t.Error(cmp.Diff(before, after))
	}
	if _, err := c.writer.db.ExecContext(t.Context(), `DROP TRIGGER fault`); err != nil {
		t.Fatal(err)
	}
	apply(t, c, s.events...)
	want := answers(t.Context(), fresh(t, s.events...), "p")
	if diff := cmp.Diff(want, answers(t.Context(), c, "p")); diff != "" {
		t.Error(diff)
	}
}
