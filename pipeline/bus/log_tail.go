package bus

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	// tailEvery is how often Tail looks at the log when no bell rings.
	tailEvery = 500 * time.Millisecond
	// tailPatience bounds one look. What takes longer is not fresh when it comes.
	tailPatience = 2 * time.Second
	tailLog      = "look at the log for projects and keys"
)

// Tail passes the events on the subjects that match filter to apply, in order, each once, from the first
// one of the log on. After each look at the log it calls heard with the time at which the look began: every
// event that was stored before has been applied. It looks when an event is stored, and twice a second.
//
// An event that cannot be read reaches apply with its subject and sequence, and without a type. When apply
// returns an error, the event comes again with the next look.
//
// Tail blocks until ctx ends and then returns nil. It returns an error when the connection is closed for
// good. While the log cannot be read, or is another one, heard is silent.
func (b *Bus) Tail(ctx context.Context, filter string, apply func(pipeline.Event) error,
	heard func(time.Time),
) error {
	bell := make(chan struct{}, 1)
	l := listener{on: func(*nats.Msg) { ring(bell) }, back: func() { ring(bell) }, end: func() {}}
	if err := b.listen(ctx, l, livePrefix+filter); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("follow %s: %w", filter, err)
	}
	t := &tail{bus: b, filter: filter, next: 1, apply: apply}
	ticker := time.NewTicker(tailEvery)
	defer ticker.Stop()
	for !b.nc.IsClosed() {
		began := time.Now()
		err := t.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			b.recurring.Failed(tailLog, "subjects", filter, "error", err)
		default:
			b.recurring.Works(tailLog)
			heard(began)
		}
		select {
		case <-bell:
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
	return fmt.Errorf("follow %s: %w", filter, nats.ErrConnectionClosed)
}

// tail is one call of Tail.
type tail struct {
	bus    *Bus
	filter string
	next   uint64 // the first sequence that was not looked at
	apply  func(pipeline.Event) error
}

// look applies what the log has now. It asks for the end of the log first, which is one small request, and
// searches only what was added.
func (t *tail) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tailPatience)
	defer cancel()
	linked, unlink, err := t.bus.connected(ctx)
	if err != nil {
		return err
	}
	defer unlink()
	last, err := t.bus.LastSequence(linked)
	switch {
	case err != nil:
		return err
	case last+1 < t.next:
		return shortError{t.next - 1, last}
	case last+1 == t.next:
		return nil
	}
	s := &scan{bus: t.bus, filters: []string{t.filter}, next: t.next, through: math.MaxUint64}
	s.do = func(m jetstream.Msg, sequence uint64) error {
		e, err := decodeEvent(m.Data(), sequence)
		if err != nil {
			t.bus.log.Error("an event of projects and keys cannot be read", "subject", m.Subject(), "error", err)
			e = pipeline.Event{Subject: m.Subject(), Sequence: sequence}
		}
		if err := t.apply(e); err != nil {
			return err
		}
		t.next = sequence + 1
		return nil
	}
	if err := s.run(linked); err != nil {
		return err
	}
	t.next = max(t.next, last+1)
	return nil
}
