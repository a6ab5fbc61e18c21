package workers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
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

// reservations is the sum of what running attempts may need in scratch.
type reservations struct {
	mu   sync.Mutex
	held int64
}

// hold reserves need bytes if there is room for them besides what is held already; ok is false when there is
// none now, and the error storage.ErrFull when there never will be.
func (r *reservations) hold(need int64, measure func() (free, total int64, err error)) (ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	free, total, err := measure()
	switch {
	case err != nil:
		return false, err
	case need > total-scratchReserve:
		return false, fmt.Errorf("scratch of %d bytes on a disk of %d: %w", need, total, storage.ErrFull)
	case need > free-scratchReserve-r.held:
		return false, nil
	}
	r.held += need
	return true, nil
}

func (r *reservations) release(need int64) {
	r.mu.Lock()
	r.held -= need
	r.mu.Unlock()
}

// scratchOf is how many bytes an attempt at the task may need in scratch; 0 when that is unknown.
func (l *Loop) scratchOf(task pipeline.Task) int64 {
	need := task.Job.Scratch
	if _, ok := (storeFiles{l.Store}).inPlace(task.Source.Key); !ok {
		need += task.Source.Size
	}
	return need
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

// keep renews a lease until ctx ends.
func (l *Loop) keep(ctx context.Context, d Delivery) {
	tick := time.NewTicker(l.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.extend(ctx, d)
		}
	}
}

// extend renews a lease. A beat that cannot be sent is no reason to stop.
func (l *Loop) extend(ctx context.Context, d Delivery) {
	if err := d.Extend(ctx); err != nil && ctx.Err() == nil {
		l.Logger.Warn("heartbeat", "job", d.Task().Job.Name, "error", err)
	}
}
