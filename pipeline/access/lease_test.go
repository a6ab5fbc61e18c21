package access

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// leased is a Book with a key, and what a Lease of it was told.
type leased struct {
	*Book
	log  *memory
	key  Key
	held *Lease

	mu   sync.Mutex // timers tell, too
	told []bool
}

// tell notes what a Lease was told.
func (l *leased) tell(over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, over)
}

func newLeased(t *testing.T, project string, life time.Duration) *leased {
	t.Helper()
	l := &leased{Book: NewBook(), log: &memory{}}
	if project != Operator && project != pipeline.DefaultProject {
		_, err := CreateProject(t.Context(), l.log, project, Settings{})
		must(t, err)
	}
	n := NewKey{Project: project, Scopes: []Scope{Read}}
	if project == Operator {
		n.Scopes = []Scope{Read, Operate}
	}
	if life > 0 {
		n.ExpiresAt = time.Now().Add(life)
	}
	k, text, _, err := CreateKey(t.Context(), l.log, n)
	must(t, err)
	l.key = k
	l.hearAll(t)
	g, err := l.Authenticate(t.Context(), text)
	must(t, err)
	g.Project = "shop" // in which an operator acts
	l.held = l.Lease(g, l.tell)
	return l
}

// hearAll lets the Book hear the whole log.
func (l *leased) hearAll(t *testing.T) {
	t.Helper()
	for _, e := range l.log.events {
		if e.Sequence > l.state.sequence {
			must(t, l.apply(e))
		}
	}
	l.hear(time.Now())
}

// want checks what the Lease says, and what it was told since the last time.
func (l *leased) want(t *testing.T, when string, err error, told ...bool) {
	t.Helper()
	synctest.Wait()
	got := l.held.Check()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(got, err) || !slices.Equal(l.told, told) {
		t.Errorf("%s: %v, told %v; want %v, told %v", when, got, l.told, err, told)
	}
	l.told = nil
}

// TestLeaseEndsWithItsKey: a Lease is told at once when its key is revoked or expires, and when the project of
// the key is deleted; not when another key is revoked.
func TestLeaseEndsWithItsKey(t *testing.T) {
	for _, project := range []string{"default", "shop", Operator} {
		synctest.Test(t, func(t *testing.T) {
			l := newLeased(t, project, time.Hour)
			defer l.held.Close()
			other, _, _, err := CreateKey(t.Context(), l.log, NewKey{Project: "default", Scopes: []Scope{Read}})
			must(t, err)
			_, err = RevokeKey(t.Context(), l.log, "default", other.ID)
			must(t, err)
			l.hearAll(t)
			l.want(t, "another key is revoked", nil)
			_, err = RevokeKey(t.Context(), l.log, project, l.key.ID)
			must(t, err)
			l.hearAll(t)
			l.want(t, "its key is revoked", ErrUnauthorized, true)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t, "shop", 0)
		defer l.held.Close()
		_, err := DeleteProject(t.Context(), l.log, "shop")
		must(t, err)
		l.hearAll(t)
		l.want(t, "the project is deleted", ErrUnauthorized, true)
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t, "default", time.Second)
		defer l.held.Close()
		time.Sleep(time.Second - 1)
		l.want(t, "before the expiry", nil)
		time.Sleep(1 * time.Nanosecond)
		l.want(t, "the expiry", ErrUnauthorized, true)
	})
}

// TestLeaseOfAnOldBook: while the Book has not looked at the log for MaxAge, nobody knows whether the grant
// holds. The Lease is told when that is known again.
func TestLeaseOfAnOldBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t, "default", 0)
		defer l.held.Close()
		time.Sleep(MaxAge - 1)
		l.want(t, "a fresh Book", nil)
		l.hear(time.Now())
		l.want(t, "a look in time", nil)
		time.Sleep(MaxAge)
		l.want(t, "an old Book", ErrStale)
		l.hear(time.Now())
		l.want(t, "a look after all", nil, false)
	})
}

// TestLeaseBegunTooLate: a key that was revoked between the check of a request and its Lease ends the Lease at
// once. A closed Lease is told nothing, and one of no key has no end.
func TestLeaseBegunTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t, "default", 0)
		l.held.Close()
		_, err := RevokeKey(t.Context(), l.log, "default", l.key.ID)
		must(t, err)
		l.hearAll(t)
		l.want(t, "closed before the revocation", ErrUnauthorized)
		l.held = l.Lease(l.held.grant, l.tell)
		l.want(t, "begun after the revocation", ErrUnauthorized, true)
		l.held.Close()
		l.held = l.Lease(Anonymous(), l.tell)
		time.Sleep(time.Hour)
		l.want(t, "of no key", nil)
		l.held.Close()
		if len(l.leases) != 0 {
			t.Errorf("%d leases are left", len(l.leases))
		}
		l.held = nil
		l.want(t, "none", nil)
	})
}
