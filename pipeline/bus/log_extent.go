package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Extent says which of all appended events are still in the log.
type Extent struct {
	First, Last uint64 // First is Last+1 in an empty log
	Count       uint64 // of the events in the log
	// Lost are the missing sequences up to Last that no video.purged names.
	Lost pipeline.Sequences
	// Untold is the sequence of the last video.purged that does not name what it removed, written by an earlier
	// version; 0 for none. It may have removed what is lost below it.
	Untold uint64
	// Accepted is the loss that was passed to Accept last.
	Accepted Accepted
}

// Accepted is a loss that an operator knows of and accepts: of the sequences up to Through, Count are lost.
type Accepted struct{ Through, Count uint64 }

// NewlyLost returns how many of the lost events nobody has accepted.
func (e Extent) NewlyLost(lost pipeline.Sequences) uint64 {
	old := lost.Through(e.Accepted.Through).Count()
	return lost.Count() - min(old, e.Accepted.Count)
}

// Audit finds losses in the log, and remembers what it read, so that the next look is cheap. Only one
// goroutine may call it at a time.
//
// Deletions are no loss. A deletion first appends video.purged and then removes events; an Audit first reads
// what is gone and then every video.purged. So it never takes a deletion under way for a loss.
type Audit struct {
	bus     *Bus
	created time.Time // of the log that was audited
	seen    bool
	last    Extent // the last result
	gone    uint64 // how many were gone then
	next    uint64 // the first sequence that was not searched for deletions
	told    pipeline.Sequences
	untold  uint64
}

// NewAudit returns an Audit of the log.
func (b *Bus) NewAudit() *Audit { return &Audit{bus: b} }

// secondLook is how long Look waits before it looks again at a loss: in a cluster, it may read a
// video.purged a moment late.
const secondLook = 250 * time.Millisecond

// Look returns the extent of the log. A log that does not exist is empty. While nothing more is gone than at
// the last look, that is one small request. While deletions explain all that is gone, it reads only their
// events since then. Otherwise it asks the server for every sequence that is gone.
func (a *Audit) Look(ctx context.Context) (Extent, error) {
	info, err := a.bus.eventsInfo(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Extent{First: 1}, nil
	}
	if err != nil {
		return Extent{}, err
	}
	s := info.State
	if !a.created.Equal(info.Created) || a.next > s.LastSeq+1 || a.last.Last > s.LastSeq {
		*a = Audit{bus: a.bus, created: info.Created}
	}
	if same, err := a.same(ctx, s); err != nil || same {
		a.last.First, a.last.Last, a.last.Count = s.FirstSeq, s.LastSeq, s.Msgs
		a.last.Accepted = acceptedIn(info.Config.Metadata)
		return a.last, err
	}
	e, err := a.look(ctx)
	settled := true
	if err == nil && e.Lost.Count() > a.last.Lost.Count() {
		e, settled, err = a.confirm(ctx, e)
	}
	if err != nil {
		return Extent{}, err
	}
	a.last, a.seen, a.gone = e, settled, e.Last-e.Count
	return e, nil
}

// same reports whether deletions, and the loss at the last look, explain all that is gone.
func (a *Audit) same(ctx context.Context, s jetstream.StreamState) (bool, error) {
	gone := s.LastSeq - s.Msgs
	if !a.seen || gone == a.gone {
		return a.seen, nil
	}
	if err := a.read(ctx); err != nil {
		return false, err
	}
	if gone != a.told.Through(s.LastSeq).Count()+a.last.Lost.Count() {
		return false, nil
	}
	a.gone, a.last.Untold = gone, a.untold
	return true, nil
}

// confirm looks again, with every deletion, and returns only what was lost at both looks. settled is false
// when the second look found more, which the next Look confirms.
func (a *Audit) confirm(ctx context.Context, before Extent) (e Extent, settled bool, err error) {
	if !pause.For(ctx, secondLook) {
		return Extent{}, false, context.Cause(ctx)
	}
	a.next, a.told, a.untold = 0, nil, 0
	e, err = a.look(ctx)
	later := e.Lost.Without(before.Lost)
	e.Lost = e.Lost.Without(later)
	return e, len(later) == 0, err
}

// look reads what is gone, and then the deletions.
func (a *Audit) look(ctx context.Context) (Extent, error) {
	e, gone, err := a.bus.Gone(ctx)
	if err != nil {
		return Extent{}, err
	}
	if len(gone) == 0 {
		return e, nil
	}
	if err := a.read(ctx); err != nil {
		return Extent{}, err
	}
	e.Lost, e.Untold = gone.Without(a.told), a.untold
	return e, nil
}

// maxDetails is the most deleted sequences to ask the server for at once, some 8 bytes each. When there are
// more, Gone reads the headers of the log instead.
const maxDetails = 1 << 20

// Gone returns the extent of the log, without Lost, and the sequences up to its last that are gone for
// whatever reason.
func (b *Bus) Gone(ctx context.Context) (Extent, pipeline.Sequences, error) {
	info, err := b.eventsInfo(ctx)
	if err == nil && info.State.NumDeleted > 0 && info.State.NumDeleted <= maxDetails {
		info, err = b.eventsInfo(ctx, jetstream.WithDeletedDetails(true))
	}
	if err != nil {
		return Extent{}, nil, err
	}
	s := info.State
	e := Extent{First: s.FirstSeq, Last: s.LastSeq, Count: s.Msgs, Accepted: acceptedIn(info.Config.Metadata)}
	switch {
	case s.Msgs == s.LastSeq:
		return e, nil, nil
	case len(s.Deleted) == s.NumDeleted:
		missing := pipeline.SequencesOf(s.Deleted)
		if s.FirstSeq > 1 {
			missing = pipeline.Merge(append(missing, pipeline.Range{First: 1, Last: s.FirstSeq - 1}))
		}
		return e, missing, nil
	}
	missing, err := b.gaps(ctx, s.LastSeq)
	return e, missing, err
}

// gaps reads the headers of the log up to a sequence, and returns the sequences that are gone.
func (b *Bus) gaps(ctx context.Context, through uint64) (pipeline.Sequences, error) {
	var missing pipeline.Sequences
	s := &scan{bus: b, filters: everything, next: 1, through: through, headersOnly: true}
	s.do = func(_ jetstream.Msg, sequence uint64) error {
		if sequence > s.next {
			missing = append(missing, pipeline.Range{First: s.next, Last: sequence - 1})
		}
		return nil
	}
	if err := s.run(ctx); err != nil {
		return nil, fmt.Errorf("read what the log has: %w", err)
	}
	if s.next <= through {
		missing = append(missing, pipeline.Range{First: s.next, Last: through})
	}
	return missing, nil
}

// maxRanges is how many ranges to collect before merging them.
const maxRanges = 1 << 16

// read reads the deletions that it has not read yet.
func (a *Audit) read(ctx context.Context) error {
	through, err := a.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	ranges := []pipeline.Range(a.told)
	merged := len(ranges)
	s := &scan{
		bus: a.bus, filters: []string{pipeline.DeletedSubject("*", "*")}, next: max(a.next, 1), through: through,
	}
	s.do = func(m jetstream.Msg, sequence uint64) error {
		removed, told := removedBy(m.Data(), sequence)
		if !told {
			a.untold = max(a.untold, sequence)
		}
		if ranges = append(ranges, removed...); len(ranges) > 2*merged+maxRanges {
			ranges = pipeline.Merge(ranges)
			merged = len(ranges)
		}
		return nil
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("read the events of deletions: %w", err)
	}
	a.told, a.next = pipeline.Merge(ranges), through+1
	return nil
}

// removedBy returns the sequences that an event of a deletion names as removed. told is false for a
// video.purged that names none. One that cannot be read explains nothing, so what it removed counts as lost.
func removedBy(doc []byte, sequence uint64) (removed pipeline.Sequences, told bool) {
	e, err := decodeEvent(doc, sequence)
	if err != nil || e.Type != pipeline.VideoPurged {
		return nil, true
	}
	var data pipeline.Purged
	if err := e.Decode(&data); err != nil {
		return nil, true
	}
	return data.Removed.Sequences(), data.Removed != nil
}

// eventsInfo asks for the state of the log.
func (b *Bus) eventsInfo(ctx context.Context, options ...jetstream.StreamInfoOpt) (
	info *jetstream.StreamInfo, err error,
) {
	err = b.patiently(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, streamEvents)
		if err != nil {
			return err
		}
		if info = stream.CachedInfo(); len(options) > 0 {
			info, err = stream.Info(ctx, options...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what the log has: %w", err)
	}
	return info, nil
}

// An accepted loss is kept in these metadata of the stream, so that it lives exactly as long as the log.
const (
	metaLostThrough = "reelmill.lost_through"
	metaLostCount   = "reelmill.lost_count"
)

// acceptedIn reads the accepted loss from the metadata of the log. When it cannot be read, nothing is
// accepted.
func acceptedIn(metadata map[string]string) Accepted {
	through, bad := strconv.ParseUint(metadata[metaLostThrough], 10, 64)
	count, worse := strconv.ParseUint(metadata[metaLostCount], 10, 64)
	if bad != nil || worse != nil {
		return Accepted{}
	}
	return Accepted{through, count}
}

// Accept stores with the log that an operator accepts a loss.
func (b *Bus) Accept(ctx context.Context, a Accepted) error {
	info, err := b.eventsInfo(ctx)
	if err != nil {
		return err
	}
	config := info.Config
	config.Metadata = maps.Clone(config.Metadata)
	if config.Metadata == nil {
		config.Metadata = map[string]string{}
	}
	config.Metadata[metaLostThrough] = strconv.FormatUint(a.Through, 10)
	config.Metadata[metaLostCount] = strconv.FormatUint(a.Count, 10)
	if _, err := b.js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("record the accepted loss: %w", err)
	}
	return nil
}
