package workers

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// admitAgain is how long a slot takes nothing after Config.Admit has refused, and admitLater how long a task
// that was taken and cannot be begun for want of something waits for its next delivery.
const (
	admitAgain = time.Second
	admitLater = 5 * time.Second
)

// admits asks Config.Admit. A change of its answer is logged once, whichever slot sees it.
func (l *Loop) admits(ctx context.Context) bool {
	if l.Admit == nil {
		return true
	}
	err := l.Admit(ctx)
	if ctx.Err() != nil {
		return false
	}
	l.mu.Lock()
	changed := l.refused != (err != nil)
	l.refused = err != nil
	l.mu.Unlock()
	switch {
	case changed && err != nil:
		l.Logger.Warn("take no tasks", "error", err)
	case changed:
		l.Logger.Info("take tasks again")
	}
	return err == nil
}

// enter waits for the attempt's turn in this process, keeping its lease: an attempt that may bring the
// process down runs alone, the others side by side. Who waits to be alone comes before those that ask later.
func (l *Loop) enter(ctx context.Context, d Delivery, alone bool) (leave func(), err error) {
	n := int64(1)
	if alone {
		n = everyone
	}
	leave = func() { l.crew.Release(n) }
	if l.crew.TryAcquire(n) {
		return leave, nil
	}
	waiting, stop := context.WithCancel(ctx)
	var beat sync.WaitGroup
	defer beat.Wait()
	defer stop()
	beat.Go(func() { l.keep(waiting, d) })
	if err := l.crew.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
	return leave, nil
}

// everyone is more than all slots of a process.
const everyone = 1 << 30
