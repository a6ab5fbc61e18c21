package loss

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Watch checks the log for losses while a server runs. NewWatch makes one. It is safe for concurrent use.
type Watch struct {
	check  *Check
	wanted chan struct{} // receives when somebody wants a look

	mu     sync.Mutex
	ended  time.Time     // when the last look ended
	next   chan struct{} // closed when the next one ends
	lost   *Error
	failed error // of the last look
}

const (
	// watchEvery is how often a running server checks its log when nobody asks.
	watchEvery = time.Minute
	// watchFresh is how old a look may be for Ask, and how long Ask waits for a newer one. After deletions, a
	// look at a log of millions of events may take longer.
	watchFresh = time.Second
)

// NewWatch returns a Watch that has not looked yet.
func NewWatch(check *Check) *Watch {
	return &Watch{check: check, wanted: make(chan struct{}, 1), next: make(chan struct{})}
}

// Look checks the log. A loss that was found stays until the process ends, since events that are applied
// later may hide it.
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

// Run looks every minute, and when Ask wants it, until ctx ends. After each look it calls looked.
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

// Ask returns what is lost now or, when a new look takes too long, at the last look.
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

// OfRunning returns the error with which a running server reports the results of Ask or Known; nil if nothing
// is lost.
func OfRunning(lost *Error, err error) error {
	if lost != nil {
		return fmt.Errorf("%w; stop the server, then %s", lost, lost.Remedy())
	}
	return err
}
