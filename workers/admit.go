package workers

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// admitAgain is how long a slot takes no task after Config.Admit has refused. admitLater is the delay until
// the next delivery of a task that was taken but cannot begin yet.
const (
	admitAgain = time.Second
	admitLater = 5 * time.Second
)

// admits asks Config.Admit, and logs when its answer changes, once for all slots.
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

// enter waits for the attempt's turn in this process, and keeps its lease meanwhile. If the previous
// attempt at the job may have crashed the process, or ran out of memory, this one runs alone; all others
// run side by side. An attempt that waits to run alone goes before those that ask later.
func (a *attempt) enter(ctx context.Context) (leave func(), err error) {
	crew, n := a.loop.crew, int64(1)
	if alone(a.found.Data.Problem) {
		n = everyone
	}
	leave = func() { crew.Release(n) }
	if crew.TryAcquire(n) {
		return leave, nil
	}
	waiting, stop := context.WithCancel(ctx)
	var beat sync.WaitGroup
	defer beat.Wait()
	defer stop()
	beat.Go(func() { a.keep(waiting) })
	if err := crew.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
	return leave, nil
}

// everyone is more than all slots of a process.
const everyone = 1 << 30
