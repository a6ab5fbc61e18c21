package access

import (
	"errors"
	"time"
)

// Lease follows whether a grant still holds, for what goes on after its request was let in: an event stream,
// a WebSocket, a read that waits. Its methods may be called from many goroutines. A nil Lease always holds.
type Lease struct {
	book  *Book
	grant Grant
	tell  func(over bool)
	timer *time.Timer // of the expiry; nil: it does not expire
}

// Lease returns a Lease of a grant. It calls tell with true when the grant is over, and with false when
// Check returns nil again after ErrStale; it may do so more than once. tell must not block. The caller calls
// Close at the end.
func (b *Book) Lease(g Grant, tell func(over bool)) *Lease {
	l := &Lease{book: b, grant: g, tell: tell}
	b.mu.Lock()
	b.leases[l] = struct{}{}
	b.mu.Unlock()
	if !g.Expires.IsZero() {
		l.timer = time.AfterFunc(g.Expires.Sub(b.now()), func() { tell(true) })
	}
	if errors.Is(l.Check(), ErrUnauthorized) { // since the request was let in, before the Book knew of the Lease
		tell(true)
	}
	return l
}

// Check returns nil while the grant holds. ErrUnauthorized: its key was revoked, or it has expired.
// ErrStale: the Book has not looked at the log for MaxAge, so the key may be revoked, and nothing may be told
// to its holder for now.
func (l *Lease) Check() error {
	if l == nil {
		return nil
	}
	b := l.book
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case l.over():
		return ErrUnauthorized
	case l.grant.stored != "" && b.now().Sub(b.heard) >= MaxAge:
		return ErrStale
	}
	return nil
}

// over reports whether the grant has ended, as far as the Book has heard. The caller holds the Book.
func (l *Lease) over() bool {
	now := l.book.now()
	if !l.grant.Expires.IsZero() && !now.Before(l.grant.Expires) {
		return true
	}
	return l.grant.stored != "" && !l.book.state.keys[l.grant.stored].Active(now)
}

// Close ends the Lease. tell may be called once more if a call is under way.
func (l *Lease) Close() {
	if l == nil {
		return
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	delete(l.book.leases, l)
}
