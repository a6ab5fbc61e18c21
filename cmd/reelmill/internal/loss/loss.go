// Package loss finds out what the event log has lost: events that no deletion removed. It compares what the
// log has with what deletions say that they removed, and with what the read model has applied. A loss that an
// operator accepted (`reelmill rebuild --force`) is none.
//
// It does not notice the loss of events that neither the log nor the read model has ever counted.
package loss

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage/catalog"
)

// ReadModel is what is asked of the read model about the log that it was made from. It may stand open, or be
// a file that is looked at.
type ReadModel interface {
	Place(ctx context.Context) (catalog.Place, error)
	Held(ctx context.Context, of pipeline.Sequences) ([]catalog.Held, error)
}

// Error says what the event log has lost, as far as nobody has accepted it.
type Error struct {
	where  string // the log is
	extent bus.Extent
	events uint64             // how many are lost
	lost   pipeline.Sequences // those, or, where some are accepted, all
	place  catalog.Place
	other  bool           // the log is another one than the read model was made from
	videos []catalog.Held // that have lost events, as far as the read model knows
}

// shown is how many videos and ranges of sequences a message names.
const shown = 5

// Error says how many events are lost, which, and of which videos.
func (l *Error) Error() string {
	var b strings.Builder
	switch last := max(l.extent.Last, l.place.Sequence); {
	case l.other:
		fmt.Fprintf(&b, "the event log is another one than the read model was made from: event %d differs",
			l.place.Known.Sequence)
	default:
		fmt.Fprintf(&b, "the event log has lost %d of %d events (%s)", l.events, last, sequencesText(l.lost))
	}
	if l.extent.Last < l.place.Sequence {
		fmt.Fprintf(&b, "; it ends at %d, and the read model has applied %d", l.extent.Last, l.place.Sequence)
	}
	if len(l.videos) == 0 {
		b.WriteString("; the read model knows no video that they belong to")
	} else {
		fmt.Fprintf(&b, "; of %s", VideosText(l.videos))
	}
	return b.String()
}

// VideosText counts videos, and names some.
func VideosText(videos []catalog.Held) string {
	var names []string
	for _, h := range videos[:min(len(videos), shown)] {
		names = append(names, h.Video)
	}
	if len(videos) > shown {
		names = append(names, "...")
	}
	return fmt.Sprintf("%d %s: %s", len(videos), human.Plural(len(videos), "video"), strings.Join(names, ", "))
}

// Events returns how many events are lost: at least 1, also of a log that is another one, whose loss nobody
// can count.
func (l *Error) Events() uint64 { return max(1, l.events) }

// Remedy says what the operator can do about it.
func (l *Error) Remedy() string { return Remedy(l.where) }

// Remedy says what the operator can do about events that are lost from the log at a place (broker.LogPlace).
func Remedy(where string) string {
	return "restore the log (" + where + ") from a backup; or accept the loss by `reelmill rebuild --force` " +
		"with the same --data and --nats, which makes the read model from what is left"
}

// EventsText counts events, and names some.
func EventsText(s pipeline.Sequences) string {
	return fmt.Sprintf("%d %s (%s)", s.Count(), human.Plural(int(s.Count()), "event"), sequencesText(s))
}

// sequencesText names some ranges of sequences.
func sequencesText(s pipeline.Sequences) string {
	if s.Count() == 1 {
		return fmt.Sprintf("sequence %d", s[0].First)
	}
	var ranges []string
	for _, r := range s[:min(len(s), shown)] {
		if r.First == r.Last {
			ranges = append(ranges, fmt.Sprint(r.First))
		} else {
			ranges = append(ranges, fmt.Sprintf("%d to %d", r.First, r.Last))
		}
	}
	if len(s) > shown {
		ranges = append(ranges, "...")
	}
	return "sequences " + strings.Join(ranges, ", ")
}

// GoneText tells of what is gone and counts as no loss, though nothing says what it was; empty for nothing.
func GoneText(e bus.Extent) (text string) {
	untold := e.Lost.Through(e.Untold).Count()
	if untold > 0 {
		text = fmt.Sprintf("; %d before event %d are gone, where an earlier version deleted videos and did not "+
			"tell what it removed", untold, e.Untold)
	}
	if accepted := e.Lost.Count() - untold; accepted > 0 {
		text += fmt.Sprintf("; %d are lost, which is accepted", accepted)
	}
	return text
}

// Check compares what the log has with what deletions tell and with what the read model has applied. Its
// methods are for one goroutine at a time.
type Check struct {
	bus   *bus.Bus
	audit *bus.Audit
	model ReadModel // nil: there is none
	where string

	judged  bool
	key     finding // of what was judged last
	verdict *Error
}

// finding is what a verdict follows from: while it is the same, so is the verdict.
type finding struct {
	lost, untold, beyond uint64
	accepted             bus.Accepted
	other                bool
}

// NewCheck returns a Check of the log of a bus, against the read model that was made of it; nil for none.
// Errors name the place of the log as where says (broker.LogPlace).
func NewCheck(b *bus.Bus, model ReadModel, where string) *Check {
	return &Check{bus: b, audit: b.NewAudit(), model: model, where: where}
}

// Look returns what the log has, and what it has lost; nil for nothing. It costs three small requests while
// nothing changes.
func (c *Check) Look(ctx context.Context) (bus.Extent, *Error, error) {
	l := &Error{where: c.where}
	var err error
	if c.model != nil { // before the log, which may grow meanwhile
		if l.place, err = c.model.Place(ctx); err != nil {
			return bus.Extent{}, nil, err
		}
	}
	if l.extent, err = c.audit.Look(ctx); err != nil {
		return bus.Extent{}, nil, err
	}
	known, last := l.place.Known, l.extent.Last
	if known.ID != "" && known.Sequence <= last {
		id, err := c.bus.IDAt(ctx, known.Sequence)
		if err != nil {
			return bus.Extent{}, nil, err
		}
		l.other = id != "" && id != known.ID
	}
	key := finding{
		lost: l.extent.Lost.Count(), untold: l.extent.Untold, accepted: l.extent.Accepted, other: l.other,
		beyond: max(last, l.place.Sequence) - last,
	}
	if !c.judged || key != c.key {
		verdict, err := c.judge(ctx, l)
		if err != nil {
			return bus.Extent{}, nil, err
		}
		c.judged, c.key, c.verdict = true, key, verdict
	}
	return l.extent, c.verdict, nil
}

// judge completes what was found, or returns nil when it is no loss.
func (c *Check) judge(ctx context.Context, l *Error) (*Error, error) {
	e, beyond := l.extent, pipeline.Sequences(nil)
	if e.Last < l.place.Sequence {
		beyond = pipeline.Sequences{{First: e.Last + 1, Last: l.place.Sequence}}
	}
	all := pipeline.Merge(append(slices.Clone(beyond), e.Lost...))
	if l.other {
		all = pipeline.Merge(append(all, pipeline.Range{First: 1, Last: l.place.Sequence}))
	}
	if len(all) == 0 || !l.other && e.Untold == 0 && len(beyond) == 0 && e.NewlyLost(e.Lost) == 0 {
		return nil, nil
	}
	var err error
	if l.videos, err = c.held(ctx, e, all); err != nil {
		return nil, err
	}
	lost := e.Lost.Without(e.Lost.Through(e.Untold).Without(EventsOf(l.videos)))
	l.events = e.NewlyLost(lost) + beyond.Count()
	if l.events == 0 && !l.other {
		return nil, nil
	}
	l.lost = pipeline.Merge(append(beyond, lost...))
	return l, nil
}

// held returns what the read model has of some events, without the videos that the log says are deleted.
func (c *Check) held(ctx context.Context, e bus.Extent, of pipeline.Sequences) ([]catalog.Held, error) {
	if c.model == nil {
		return nil, nil
	}
	held, err := c.model.Held(ctx, of)
	if err != nil || e.Count == 0 {
		return held, err
	}
	return NotDeleted(ctx, c.bus, held)
}

// Unread returns what of a replay the log has and does not give: documents that are damaged, or none at all.
func (c *Check) Unread(ctx context.Context, r bus.Replayed) (pipeline.Sequences, error) {
	_, gone, err := c.bus.Gone(ctx) // after the replay, which may have met deletions
	return r.Unread.Without(gone), err
}

// NotDeleted returns those videos that the log does not say are deleted.
func NotDeleted(ctx context.Context, b *bus.Bus, held []catalog.Held) (left []catalog.Held, err error) {
	for some := range slices.Chunk(held, 256) {
		subjects := make([]string, len(some))
		for i, h := range some {
			subjects[i] = pipeline.DeletedSubject(h.Project, h.Video)
		}
		events, err := b.Last(ctx, subjects...)
		if err != nil {
			return nil, err
		}
		for i, h := range some {
			if events[i].Sequence == 0 {
				left = append(left, h)
			}
		}
	}
	return left, nil
}

// EventsOf returns the events that a read model has of some videos.
func EventsOf(held []catalog.Held) pipeline.Sequences {
	var ranges []pipeline.Range
	for _, h := range held {
		ranges = append(ranges, h.Events...)
	}
	return pipeline.Merge(ranges)
}
