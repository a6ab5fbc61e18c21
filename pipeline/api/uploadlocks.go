package api

import (
	"context"
	"sync"

	"github.com/tus/tusd/v2/pkg/handler"
)

// uploadLocks lets one request at a time work on an upload. A further one makes the first give up: after a
// broken connection the server may still wait for bytes of a client that has come back. It is for this
// process; between processes, storage.ErrBusy decides.
type uploadLocks struct {
	mu   sync.Mutex
	held map[string]*heldUpload // by the id of the upload
}

// heldUpload is an upload that somebody works on.
type heldUpload struct {
	giveUp func()
	free   chan struct{} // closed at the end
}

func newUploadLocks() *uploadLocks { return &uploadLocks{held: map[string]*heldUpload{}} }

// lock waits until nobody works on an upload, and returns a function that must be called at the end. giveUp
// is called when somebody else waits, perhaps more than once; it must not block.
func (l *uploadLocks) lock(ctx context.Context, id string, giveUp func()) (unlock func(), err error) {
	for {
		unlock, before := l.take(id, giveUp)
		if unlock != nil {
			return unlock, nil
		}
		before.giveUp()
		select {
		case <-before.free:
		case <-ctx.Done():
			return nil, fail(codeUploadBusy, "Another request writes to the upload.").because(ctx.Err())
		}
	}
}

// try is lock for what can wait: it returns nil when somebody works on the upload, and does not disturb that.
func (l *uploadLocks) try(id string) (unlock func()) {
	unlock, _ = l.take(id, func() {})
	return unlock
}

// take returns a function that ends the work, or who works on the upload.
func (l *uploadLocks) take(id string, giveUp func()) (unlock func(), before *heldUpload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before := l.held[id]; before != nil {
		return nil, before
	}
	mine := &heldUpload{giveUp, make(chan struct{})}
	l.held[id] = mine
	return func() {
		l.mu.Lock()
		delete(l.held, id)
		l.mu.Unlock()
		close(mine.free)
	}, nil
}

// NewLock implements tusd's Locker.
func (l *uploadLocks) NewLock(id string) (handler.Lock, error) { return &tusLock{of: l, id: id}, nil }

// tusLock is one lock of tusd.
type tusLock struct {
	of     *uploadLocks
	id     string
	unlock func()
}

// Lock implements tusd's Lock.
func (l *tusLock) Lock(ctx context.Context, giveUp func()) (err error) {
	stop := giveUp
	if body := tusCallOf(ctx).body; body != nil {
		stop = body.interrupt // tusd's own races with a request that does not read yet, and forgets it
	}
	if l.unlock, err = l.of.lock(ctx, l.id, stop); err != nil {
		return handler.ErrFileLocked
	}
	return nil
}

// Unlock implements tusd's Lock.
func (l *tusLock) Unlock() error {
	l.unlock()
	return nil
}
