package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// MaxAge is how long ago a Book may have looked at the log last and still be believed.
const MaxAge = 2 * time.Second

// Errors of Authenticate.
var (
	// ErrUnauthorized: the secret belongs to no key that may be used now.
	ErrUnauthorized = errors.New("no valid credential")
	// ErrIssuerAway: the credential may be valid, but the issuer that must say so does not answer.
	ErrIssuerAway = errors.New("the issuer of the credential does not answer")
	// ErrStale: the Book has not heard of the log for MaxAge, so a key may be revoked by now.
	ErrStale = errors.New("the event log has not been heard for 2 s, so no key can be judged")
)

// Feed brings the events of the log; bus.Bus is one.
type Feed interface {
	// Tail passes the events on subjects that match filter to apply, in order, from the first on. After each
	// look at the log it calls heard with the time at which the look began.
	Tail(ctx context.Context, filter string, apply func(pipeline.Event) error, heard func(time.Time)) error
}

// Book is all projects and keys as one process knows them. NewBook makes one. Its methods may be called from
// many goroutines.
type Book struct {
	now func() time.Time

	mu     sync.RWMutex
	state  *State
	heard  time.Time     // when the last look at the log began
	news   chan struct{} // closed and replaced when heard has moved
	leases map[*Lease]struct{}
}

// NewBook returns a Book that has heard nothing yet: until Run has, Authenticate returns ErrStale.
func NewBook() *Book {
	return &Book{
		now: time.Now, state: NewState(), news: make(chan struct{}), leases: map[*Lease]struct{}{},
	}
}

// Run keeps the Book up to date until ctx ends, and then returns nil.
func (b *Book) Run(ctx context.Context, feed Feed) error {
	return feed.Tail(ctx, pipeline.AccessSubjects, b.apply, b.hear)
}

func (b *Book) apply(e pipeline.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Apply(e)
	switch e.Type {
	case pipeline.KeyRevoked, pipeline.ProjectDeleted, "": // an event that cannot be read makes its key void
		for l := range b.leases {
			if l.over() {
				l.tell(true)
			}
		}
	}
	return nil
}

func (b *Book) hear(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now().Sub(b.heard) >= MaxAge { // leases were stale
		for l := range b.leases {
			l.tell(false)
		}
	}
	b.heard = at
	close(b.news)
	b.news = make(chan struct{})
}

// Heard returns when the last look at the log began: what was stored before is in the Book. The zero time: it
// has not looked yet.
func (b *Book) Heard() time.Time {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.heard
}

// await waits until done returns true, which it asks after each look at the log. b.mu is held for reading
// during done, and when await returns nil.
func (b *Book) await(ctx context.Context, done func() bool) error {
	for {
		b.mu.RLock()
		news := b.news
		if done() {
			return nil
		}
		b.mu.RUnlock()
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fresh waits until the Book is believed. It returns ErrStale after MaxAge. When it returns nil, b.mu is held
// for reading.
func (b *Book) fresh(ctx context.Context) error {
	b.mu.RLock()
	if b.now().Sub(b.heard) < MaxAge {
		return nil
	}
	b.mu.RUnlock()
	limited, cancel := context.WithTimeout(ctx, MaxAge)
	defer cancel()
	err := b.await(limited, func() bool { return b.now().Sub(b.heard) < MaxAge })
	if err != nil && ctx.Err() == nil {
		return ErrStale
	}
	return err
}

// EverHadKeys reports whether a key was ever made, as far as the Book has heard. A Book that has heard
// nothing yet waits for its first look at the log; ErrStale if none comes within MaxAge.
func (b *Book) EverHadKeys(ctx context.Context) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, MaxAge)
	defer cancel()
	err := b.await(limited, func() bool { return !b.heard.IsZero() })
	if err != nil && ctx.Err() == nil {
		return false, ErrStale
	}
	if err != nil {
		return false, err
	}
	defer b.mu.RUnlock()
	return b.state.EverHadKeys(), nil
}

// WaitFor waits until the Book has the event of a sequence, or ctx ends.
func (b *Book) WaitFor(ctx context.Context, sequence uint64) error {
	err := b.await(ctx, func() bool { return b.state.sequence >= sequence })
	if err != nil {
		return fmt.Errorf("wait for event %d of projects and keys: %w", sequence, err)
	}
	b.mu.RUnlock()
	return nil
}

// WaitFresh waits until the Book has looked at the log after this call, or ctx ends.
func (b *Book) WaitFresh(ctx context.Context) error {
	since := b.now()
	if err := b.await(ctx, func() bool { return !b.heard.Before(since) }); err != nil {
		return fmt.Errorf("wait for a look at the log: %w", err)
	}
	b.mu.RUnlock()
	return nil
}

// Read calls do with the state, once the Book is believed; ErrStale otherwise. do must not keep the state.
func (b *Book) Read(ctx context.Context, do func(*State)) error {
	if err := b.fresh(ctx); err != nil {
		return err
	}
	defer b.mu.RUnlock()
	do(b.state)
	return nil
}

// Limits returns the limits of a project, once the Book is believed; ErrStale otherwise.
func (b *Book) Limits(ctx context.Context, project string) (l Limits, err error) {
	err = b.Read(ctx, func(state *State) { l = state.Limits(project) })
	return l, err
}

// KnownLimits returns the limits of a project as far as the Book has heard, without waiting.
func (b *Book) KnownLimits(project string) Limits {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.state.Limits(project)
}

// Retention returns the rules of the projects that have some, once the Book is believed; ErrStale otherwise.
func (b *Book) Retention(ctx context.Context) (rules map[string]pipeline.Retention, err error) {
	err = b.Read(ctx, func(state *State) { rules = state.Retention() })
	return rules, err
}

// KnownRetention returns the rules of a project as far as the Book has heard, without waiting.
func (b *Book) KnownRetention(project string) pipeline.Retention {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p, _ := b.state.Project(project)
	return p.Retention
}

// Authenticate returns the grant of a key's secret. A Book that is not fresh waits for the next look at the
// log. ErrStale: none came within MaxAge. ErrUnauthorized: the secret belongs to no key, or to one that is
// revoked or expired; nothing tells which.
func (b *Book) Authenticate(ctx context.Context, key secret.Text) (Grant, error) {
	if err := b.fresh(ctx); err != nil {
		return Grant{}, err
	}
	defer b.mu.RUnlock()
	g, ok := b.state.grant(key.Reveal(), b.now())
	if !ok {
		return Grant{}, ErrUnauthorized
	}
	return g, nil
}

// Load returns the state that the log of a feed has now.
func Load(ctx context.Context, feed Feed) (*State, error) {
	state := NewState()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	whole := false
	err := feed.Tail(ctx, pipeline.AccessSubjects, func(e pipeline.Event) error {
		state.Apply(e)
		return nil
	}, func(time.Time) { whole = true; cancel() })
	if err == nil && !whole {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read projects and keys: %w", err)
	}
	return state, nil
}
