package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// contentType is the media type of an event in the log
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md, structured
// mode).
const contentType = "application/cloudevents+json"

// Append implements pipeline.Log. After an error other than pipeline.ErrConflict the event may be stored all
// the same. The caller may append the same event again: it is stored once.
func (b *Bus) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if err := checkSubject(e.Subject); err != nil {
		return 0, fmt.Errorf("append %s: %w", e.Type, err)
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("append %s: %w", e.Type, err)
	}
	size := int64(len(e.Subject) + len(doc) + messageOverhead)
	if err := b.fits(ctx, e.Type, size); err != nil {
		return 0, fmt.Errorf("append %s to %s: %w", e.Type, e.Subject, err)
	}
	b.fill.add(size)
	scope := e.Subject
	if e.Fence != 0 {
		if scope, err = ownSubjects(e.Subject); err != nil {
			return 0, fmt.Errorf("append %s: %w", e.Type, err)
		}
		after = e.Fence
	}
	m := &nats.Msg{Subject: e.Subject, Data: doc, Header: nats.Header{"content-type": {contentType}}}
	delay := firstDelay
	for try := 1; ; try++ {
		sequence, err := b.swap(ctx, m, e.ID, scope, after)
		if err == nil {
			return sequence, nil
		}
		if try == tries || !errors.Is(err, errUnderWay) || !pause.For(ctx, delay) {
			return 0, fmt.Errorf("append %s to %s: %w", e.Type, e.Subject, err)
		}
		delay *= 2
	}
}

// errUnderWay is the error of a compare that failed although nobody wrote later: an event is on its way into
// a log with replicas. It may be ours, whose answer was lost when the leader changed.
var errUnderWay = errors.New("the broker is storing another event of the subject, or this one")

// ownSubjects returns the filter that matches all subjects of the video that subject is one of.
func ownSubjects(subject string) (string, error) {
	project, video, job, err := pipeline.Address(subject)
	if err != nil || job != "" {
		return "", errors.Join(fmt.Errorf("subject %q has a fence, and is not one of a video itself", subject), err)
	}
	return pipeline.OwnSubjects(project, video), nil
}

// swap stores an event, if the last event on the subjects that scope matches has the sequence after. In a
// cluster the leader refuses a second event with the same scope while it replicates the first, so that those
// that share one follow each other.
func (b *Bus) swap(ctx context.Context, m *nats.Msg, id, scope string, after uint64) (uint64, error) {
	expect := jetstream.WithExpectLastSequencePerSubject(after)
	if scope != m.Subject {
		expect = jetstream.WithExpectLastSequenceForSubject(after, scope)
	}
	ack, err := b.publish(ctx, m, jetstream.WithMsgID(id), expect, jetstream.WithExpectStream(streamEvents))
	if err == nil {
		return ack.Sequence, nil // of the first try, when the server knows the id (ack.Duplicate)
	}
	if !isWrongSequence(err) {
		return 0, err
	}
	last, err := b.Last(ctx, m.Subject)
	if err != nil {
		return 0, err
	}
	switch {
	case last[0].Sequence != 0 && last[0].ID == id:
		return last[0].Sequence, nil
	case scope != m.Subject:
		return b.newer(ctx, scope, after)
	case last[0].Sequence == after:
		return 0, errUnderWay
	}
	return 0, pipeline.ErrConflict
}

// newer returns why the compare of a scope failed: pipeline.ErrConflict if an event of it is newer than
// after.
func (b *Bus) newer(ctx context.Context, scope string, after uint64) (uint64, error) {
	stream, err := b.js.Stream(ctx, streamEvents)
	if err != nil {
		return 0, err
	}
	switch m, err := b.last(ctx, stream, scope); {
	case err != nil:
		return 0, err
	case m != nil && m.Sequence == after:
		return 0, errUnderWay
	}
	return 0, pipeline.ErrConflict
}

// LastOwn implements pipeline.FenceReader. It asks the leader of the stream.
func (b *Bus) LastOwn(ctx context.Context, project, video string) (uint64, error) {
	stream, err := b.js.Stream(ctx, streamEvents)
	if err != nil {
		return 0, err
	}
	m, err := b.last(ctx, stream, pipeline.OwnSubjects(project, video))
	if err != nil || m == nil {
		return 0, err
	}
	return m.Sequence, nil
}

// checkSubject rejects subjects that are not the log's, or have wildcards.
func checkSubject(subject string) error {
	if _, _, access := pipeline.AccessAddress(subject); !access {
		if _, _, _, err := pipeline.Address(subject); err != nil {
			return err
		}
	}
	for token := range strings.SplitSeq(subject, ".") {
		if !pipeline.ValidName(token) {
			return fmt.Errorf("subject %q has an invalid name", subject)
		}
	}
	return nil
}

// Last implements pipeline.Log.
func (b *Bus) Last(ctx context.Context, subjects ...string) ([]pipeline.Event, error) {
	for _, s := range subjects {
		if err := checkSubject(s); err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
	}
	found, err := b.lastMessages(ctx, subjects)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	events := make([]pipeline.Event, len(subjects))
	for i, s := range subjects {
		m, ok := found[s]
		if !ok {
			continue
		}
		if events[i], err = decodeEvent(m.data, m.sequence); err != nil {
			return nil, fmt.Errorf("read log: %s: %w", s, err)
		}
	}
	return events, nil
}

// stored is the document of an event, and its sequence.
type stored struct {
	data     []byte
	sequence uint64
}

// lastMessages reads the last message of each subject from the stream's leader. It makes one batched request
// when the log has no replicas, else one request for each subject.
func (b *Bus) lastMessages(ctx context.Context, subjects []string) (map[string]stored, error) {
	if b.direct.Load() {
		found, err := b.lastBatched(ctx, subjects)
		if !errors.Is(err, nats.ErrNoResponders) || !b.undirected(ctx) {
			return found, err
		}
	}
	stream, err := b.js.Stream(ctx, streamEvents)
	if err != nil {
		return nil, err
	}
	found := make([]stored, len(subjects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, s := range subjects {
		g.Go(func() error {
			m, err := b.last(ctx, stream, s)
			if err == nil && m != nil {
				found[i] = stored{m.Data, m.Sequence}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := make(map[string]stored, len(subjects))
	for i, s := range subjects {
		if found[i].sequence != 0 {
			all[s] = found[i]
		}
	}
	return all, nil
}

// undirected reports whether direct gets have been turned off: somebody has given the log replicas.
func (b *Bus) undirected(ctx context.Context) bool {
	stream, err := b.js.Stream(ctx, streamEvents)
	if err != nil || stream.CachedInfo().Config.AllowDirect {
		return false
	}
	b.direct.Store(false)
	return true
}

// last reads the last message of a subject. It returns nil when there is none.
func (b *Bus) last(ctx context.Context, stream jetstream.Stream, subject string,
) (*jetstream.RawStreamMsg, error) {
	var m *jetstream.RawStreamMsg
	err := b.patiently(ctx, func(ctx context.Context) (err error) {
		m, err = stream.GetLastMsgForSubject(ctx, subject)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}

// LastSequence returns the sequence of the last event of the log; 0 when it has none.
func (b *Bus) LastSequence(ctx context.Context) (uint64, error) {
	var last uint64
	err := b.patiently(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, streamEvents)
		if err == nil {
			last = stream.CachedInfo().State.LastSeq
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	return last, nil
}

// decodeEvent reads a document of the log.
func decodeEvent(doc []byte, sequence uint64) (pipeline.Event, error) {
	var e pipeline.Event
	if err := json.Unmarshal(doc, &e); err != nil {
		return pipeline.Event{}, fmt.Errorf("decode event %d: %w", sequence, err)
	}
	e.Sequence = sequence
	return e, nil
}
