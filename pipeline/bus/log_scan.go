package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

const (
	scanBatch = 1000
	scanWait  = time.Second // for the next message, before a scan asks the leader whether there is one
	// scanPatience is how long a scan waits for a message that the leader has.
	scanPatience = 30 * time.Second
)

// everything matches every event of the log.
var everything = []string{">"}

// scan passes messages of the log to do: those on some filters, from one sequence through another, in order,
// each once. It ends when the leader of the log has no more. So it also ends when the last message was
// removed or none exists, and never while a message is on its way.
type scan struct {
	bus           *Bus
	filters       []string
	next, through uint64 // next moves on
	headersOnly   bool
	do            func(m jetstream.Msg, sequence uint64) error
	// left asks the leader how many messages are still to come. nil: the scan asks whether there is a next one.
	left     func(ctx context.Context) (int, error)
	expected int   // the answer of left, less the messages since
	failed   error // of do; it ends the scan
}

func (s *scan) run(ctx context.Context) error {
	if s.left == nil {
		s.left = s.stored
	}
	for quiet := time.Now(); ; {
		var err error
		if s.expected, err = s.left(ctx); err != nil || s.expected == 0 {
			return err
		}
		before := s.next
		err = s.read(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.failed != nil:
			return s.failed
		case err != nil && !passing(err):
			return err
		case s.next != before:
			quiet = time.Now()
		case time.Since(quiet) > scanPatience:
			return errors.Join(fmt.Errorf("the broker does not deliver what it stores from event %d on", s.next), err)
		default:
			pause.For(ctx, firstDelay)
		}
	}
}

// stored returns a large number when the leader has a next message, and 0 when it has none.
func (s *scan) stored(ctx context.Context) (int, error) {
	first, err := s.bus.nextStored(ctx, s.filters, s.next)
	if err != nil || first == 0 || first > s.through {
		return 0, err
	}
	return math.MaxInt, nil
}

// read reads until all messages have come, none comes for a while, or the connection is lost.
func (s *scan) read(ctx context.Context) error {
	linked, unlink, err := s.bus.connected(ctx)
	if err != nil {
		return err
	}
	defer unlink()
	err = s.consume(linked)
	if linked.Err() != nil && ctx.Err() == nil {
		return nats.ErrDisconnected
	}
	return err
}

// consume reads on one consumer.
func (s *scan) consume(ctx context.Context) error {
	var c jetstream.Consumer
	err := s.bus.patiently(ctx, func(ctx context.Context) (err error) {
		c, err = s.bus.js.CreateConsumer(ctx, streamEvents, jetstream.ConsumerConfig{
			Description: "Reading of the log", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.next, HeadersOnly: s.headersOnly,
			FilterSubjects: s.filters, InactiveThreshold: time.Minute,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("create consumer: %w", err)
	}
	defer s.bus.forget(ctx, c)
	for delivered := uint64(0); ; {
		before := delivered
		over, err := s.fetch(ctx, c, &delivered)
		if err != nil || over || delivered == before {
			return err
		}
	}
}

// fetch passes on the messages of one request, and reports whether they were the last. delivered is the
// consumer's own count.
func (s *scan) fetch(ctx context.Context, c jetstream.Consumer, delivered *uint64) (over bool, err error) {
	limited, cancel := context.WithTimeout(ctx, scanWait)
	defer cancel()
	batch, err := c.Fetch(min(s.expected, scanBatch), jetstream.FetchContext(limited))
	if err != nil {
		return false, err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		switch {
		case err != nil:
			return false, err
		case meta.Sequence.Consumer != *delivered+1:
			return false, fmt.Errorf("delivery %d came after %d", meta.Sequence.Consumer, *delivered)
		case meta.Sequence.Stream > s.through:
			return true, nil
		}
		if s.failed = s.do(m, meta.Sequence.Stream); s.failed != nil {
			return false, s.failed
		}
		*delivered, s.next = meta.Sequence.Consumer, meta.Sequence.Stream+1
		if s.expected--; s.expected == 0 || meta.NumPending == 0 {
			return true, nil // the rest of the request ends with limited
		}
	}
	if err := batch.Error(); err != nil && limited.Err() == nil {
		return false, err
	}
	return false, nil
}

// nextStored returns the sequence of the first message, from one on, that the leader of the log has on any of
// the filters. 0 means none.
func (b *Bus) nextStored(ctx context.Context, filters []string, from uint64) (sequence uint64, err error) {
	for _, filter := range filters {
		m, err := b.message(ctx, streamEvents, want{Sequence: from, NextOf: filter})
		if err != nil {
			return 0, fmt.Errorf("read log: %w", err)
		}
		if m != nil && (sequence == 0 || m.Sequence < sequence) {
			sequence = m.Sequence
		}
	}
	return sequence, nil
}

// IDAt returns the id of the event with a sequence. It is empty when there is none, or one that cannot be
// read.
func (b *Bus) IDAt(ctx context.Context, sequence uint64) (id string, err error) {
	m, err := b.message(ctx, streamEvents, want{Sequence: sequence})
	if err != nil {
		return "", fmt.Errorf("read event %d of the log: %w", sequence, err)
	}
	if m == nil {
		return "", nil
	}
	e, err := decodeEvent(m.Data, sequence)
	if err != nil {
		return "", nil //nolint:nilerr // it cannot be read, which is no failure of the log
	}
	return e.ID, nil
}

// Replayed is the outcome of a replay.
type Replayed struct {
	Events int // applied
	// Unread are the sequences that are gone from the log, and those of documents that cannot be read.
	Unread pipeline.Sequences
}

// Replay hands the events of the log up to and including a sequence to apply, in order, each once, in batches
// of 1 to 256. It ends when the log has no more of them, and with the first error of apply.
func (b *Bus) Replay(ctx context.Context, through uint64, apply func(context.Context, []pipeline.Event) error,
) (Replayed, error) {
	r := replay{apply: apply}
	s := &scan{bus: b, filters: everything, next: 1, through: through}
	s.do = func(m jetstream.Msg, sequence uint64) error {
		r.skip(s.next, sequence)
		e, err := decodeEvent(m.Data(), sequence)
		if err != nil {
			b.log.Error("skip an event that cannot be read", "subject", m.Subject(), "error", err)
			r.skip(sequence, sequence+1)
			return nil
		}
		return r.add(ctx, e)
	}
	err := s.run(ctx)
	if err == nil {
		r.skip(s.next, through+1)
		err = r.flush(ctx)
	}
	if err != nil {
		return Replayed{}, fmt.Errorf("replay the log: %w", err)
	}
	return Replayed{r.applied, pipeline.Merge(r.unread)}, nil
}

// replay collects events to apply, and the sequences that did not come.
type replay struct {
	apply   func(context.Context, []pipeline.Event) error
	events  []pipeline.Event
	applied int
	unread  []pipeline.Range
}

// skip notes that the sequences from from to before to did not come.
func (r *replay) skip(from, to uint64) {
	if from < to {
		r.unread = append(r.unread, pipeline.Range{First: from, Last: to - 1})
	}
}

func (r *replay) add(ctx context.Context, e pipeline.Event) error {
	if r.events = append(r.events, e); len(r.events) < followBatch {
		return nil
	}
	return r.flush(ctx)
}

func (r *replay) flush(ctx context.Context) error {
	if len(r.events) == 0 {
		return nil
	}
	err := r.apply(ctx, r.events)
	r.applied += len(r.events)
	r.events = nil
	return err
}
