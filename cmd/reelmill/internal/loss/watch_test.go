package loss

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

func newWatch(t *testing.T) (*books, *Watch) {
	t.Helper()
	b := newBooks(t)
	return b, NewWatch(NewCheck(b.bus, b.catalog, "at home"))
}

// A running Watch looks when somebody asks, and tells its owner after each look.
func TestAskHasARunningWatchLook(t *testing.T) {
	b, w := newWatch(t)
	if lost, err := w.Known(); lost != nil || err != nil {
		t.Errorf("before the first look: %v, %v", lost, err)
	}
	looks := run(t, w)
	if lost, err := w.Ask(t.Context()); lost != nil || err != nil {
		t.Errorf("%v, %v", lost, err)
	}
	pipelinetest.Receive(t, "the first look", looks)
	b.lose(3)
	pipelinetest.Until(t, "the watch sees the loss", func() bool {
		lost, err := w.Ask(t.Context())
		must(t, err)
		return lost != nil && lost.Events() == 1
	})
	pipelinetest.Receive(t, "the look that saw it", looks)
}

// A loss that a Watch has seen stays, although what is applied or accepted later may hide it.
func TestALossStays(t *testing.T) {
	b, w := newWatch(t)
	b.lose(3)
	w.Look(t.Context())
	must(t, b.bus.Accept(t.Context(), bus.Accepted{Through: events, Count: 1}))
	w.Look(t.Context())
	if lost, err := w.Known(); err != nil || lost == nil || lost.Events() != 1 {
		t.Errorf("%v, %v", lost, err)
	}
}

// A look that fails is told until one succeeds.
func TestALookThatFails(t *testing.T) {
	b, w := newWatch(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Look(ctx)
	if lost, err := w.Known(); lost != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", lost, err)
	}
	w.Look(t.Context())
	if lost, err := w.Known(); lost != nil || err != nil {
		t.Errorf("%v, %v", lost, err)
	}
	b.lose(3)
	w.Look(t.Context())
	w.Look(ctx)
	if lost, err := w.Known(); lost == nil || err != nil {
		t.Errorf("a loss is told before a failure: %v, %v", lost, err)
	}
}

// Who asks a Watch that nobody runs gets what is known, once its own context ends.
func TestAskEndsWithItsContext(t *testing.T) {
	_, w := newWatch(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if lost, err := w.Ask(ctx); lost != nil || err != nil {
		t.Errorf("%v, %v", lost, err)
	}
}

func TestOfRunning(t *testing.T) {
	b := newBooks(t)
	b.lose(3)
	_, lost := b.check(b.catalog)
	fault := errors.New("a fault")
	if err := OfRunning(nil, nil); err != nil {
		t.Error(err)
	}
	if err := OfRunning(nil, fault); !errors.Is(err, fault) {
		t.Error(err)
	}
	err := OfRunning(lost, fault)
	if !errors.Is(err, lost) || !strings.Contains(err.Error(), "vid-3; stop the server, then restore the log (at home)") {
		t.Error(err)
	}
}
