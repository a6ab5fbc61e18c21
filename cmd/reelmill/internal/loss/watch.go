package loss

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Watch looks at the log while a server runs. NewWatch makes one. It is safe for concurrent use.
type Watch struct {
	check  *Check
	wanted chan struct{} // rings when somebody wants a look

	mu     sync.Mutex
	ended  time.Time     // when the last look ended
	next   chan struct{} // closed when the next one ends
	lost   *Error
	failed error // of the last look
}

const (
	// watchEvery is how often a running server looks whether its log is whole, if nobody asks.
	watchEvery = time.Minute
	// watchFresh is how long a look is good enough for who asks, and how long who asks waits for another: one
	// at a log of millions of events may take longer, after deletions.
	watchFresh = time.Second
)

// NewWatch returns a Watch that has not looked yet.
func NewWatch(check *Check) *Watch {
	return &Watch{check: check, wanted: make(chan struct{}, 1), next: make(chan struct{})}
}

// Look looks at the log. A loss that was seen stays until the process ends: what is applied after it may hide
// it.
func (w *Watch) Look(ctx context.Context) {
	_, lost, err := w.check.Look(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if lost != nil {
		w.lost = lost
	}
	w.failed, w.ended = err, time.Now()
	close(w.next)
	w.next = make(chan struct{})
}

// Run looks again and again, and when somebody asks, until ctx ends. After each look it calls looked.
func (w *Watch) Run(ctx context.Context, looked func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.wanted:
		}
		if w.Look(ctx); ctx.Err() == nil {
			looked()
		}
	}
}

// Ask returns what is lost, as of now or, when that takes too long, of the last look.
func (w *Watch) Ask(ctx context.Context) (*Error, error) {
	w.mu.Lock()
	fresh, next := time.Since(w.ended) < watchFresh, w.next
	w.mu.Unlock()
	if !fresh {
		select {
		case w.wanted <- struct{}{}:
		default:
		}
		patience := time.NewTimer(watchFresh)
		defer patience.Stop()
		select {
		case <-next:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	return w.Known()
}

// Known returns what the last look found.
func (w *Watch) Known() (*Error, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil {
		return w.lost, nil
	}
	return nil, w.failed
}

// OfRunning returns what a running server reports of what Ask or Known returned; nil for no loss and no
// failure.
func OfRunning(lost *Error, err error) error {
	if lost != nil {
		return fmt.Errorf("%w; stop the server, then %s", lost, lost.Remedy())
	}
	return err
}
