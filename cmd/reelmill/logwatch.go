package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// logWatch looks at the log while a node runs.
type logWatch struct {
	check  *logCheck
	wanted chan struct{} // rings when somebody wants a look

	mu     sync.Mutex
	ended  time.Time     // when the last look ended
	next   chan struct{} // closed when the next one ends
	lost   *lossError
	failed error // of the last look
}

const (
	// watchEvery is how often a running server looks whether its log is whole, if nobody asks.
	watchEvery = time.Minute
	// watchFresh is how long a look is good enough for who asks, and how long who asks waits for another: one
	// at a log of millions of events may take longer, after deletions.
	watchFresh = time.Second
)

func newLogWatch(check *logCheck) *logWatch {
	return &logWatch{check: check, wanted: make(chan struct{}, 1), next: make(chan struct{})}
}

// look looks at the log. A loss that was seen stays until the process ends: what is applied after it may hide
// it.
func (w *logWatch) look(ctx context.Context) {
	_, lost, err := w.check.look(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if lost != nil {
		w.lost = lost
	}
	w.failed, w.ended = err, time.Now()
	close(w.next)
	w.next = make(chan struct{})
}

// run looks again and again, and when somebody asks, until ctx ends. After each look it calls looked.
func (w *logWatch) run(ctx context.Context, looked func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.wanted:
		}
		if w.look(ctx); ctx.Err() == nil {
			looked()
		}
	}
}

// ask returns what is lost, as of now or, when that takes too long, of the last look.
func (w *logWatch) ask(ctx context.Context) (*lossError, error) {
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
	return w.known()
}

// known returns what the last look found.
func (w *logWatch) known() (*lossError, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil {
		return w.lost, nil
	}
	return nil, w.failed
}

// openWatch refuses a log that has lost events.
func (n *node) openWatch(ctx context.Context) error {
	n.watch = newLogWatch(newLogCheck(n.bus, n.catalog, n.logPlace()))
	n.watch.look(ctx)
	lost, err := n.watch.known()
	if lost != nil {
		err = fmt.Errorf("%w; nothing was started. To do: %s", lost, lost.remedy())
	}
	return err
}

// logWhole says what the log has lost.
func (n *node) logWhole(ctx context.Context) error { return runningLoss(n.watch.ask(ctx)) }

// runningLoss is what a server that runs says of a loss.
func runningLoss(lost *lossError, err error) error {
	if lost != nil {
		return fmt.Errorf("%w; stop the server, then %s", lost, lost.remedy())
	}
	return err
}

// watchLog looks at the log until ctx ends.
func (n *node) watchLog(ctx context.Context) error {
	const what = "see that the event log is whole"
	n.watch.run(ctx, func() {
		if err := runningLoss(n.watch.known()); err != nil {
			n.recurring.Failed(what, "error", err)
		} else {
			n.recurring.Works(what)
		}
	})
	return nil
}
