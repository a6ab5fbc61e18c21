// Package loss finds events that the event log has lost: those that are gone although no deletion removed
// them. It compares the events of the log with the deletions in the log, which list what they removed, and
// with the events that the read model has applied. Losses that an operator accepted (`reelmill rebuild
// --force`) do not count.
//
// It does not notice lost events that neither the log nor the read model has counted.
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

// ReadModel tells which events a read model was made from: an open catalog, or an inspected file.
type ReadModel interface {
	// Place returns the last sequence that is applied, and the last event whose id is known.
	Place(ctx context.Context) (catalog.Place, error)
	// Held returns which of the events it has, by video.
	Held(ctx context.Context, of pipeline.Sequences) ([]catalog.Held, error)
}

// Error says which events the event log has lost, without accepted losses.
type Error struct {
	where  string // where the log is
	extent bus.Extent
	events uint64             // how many are lost
	lost   pipeline.Sequences // those; with accepted ones, if there are any
	place  catalog.Place
	other  bool           // the read model was made from another log
	videos []catalog.Held // those that have lost events, as far as the read model knows
}

// shown is how many videos and ranges of sequences a message names at most.
const shown = 5

// Error says how many events are lost, which ones, and of which videos.
func (l *Error) Error() string {
	var b strings.Builder
	switch last := max(l.extent.Last, l.place.Sequence); {
	case l.other:
		fmt.Fprintf(&b, "the read model was made from another event log: event %d differs",
			l.place.Known.Sequence)
	default:
		fmt.Fprintf(&b, "the event log has lost %d of %d events (%s)", l.events, last, sequencesText(l.lost))
	}
	if l.extent.Last < l.place.Sequence {
		fmt.Fprintf(&b, "; it ends at %d, and the read model has applied %d", l.extent.Last, l.place.Sequence)
	}
	if len(l.videos) == 0 {
		b.WriteString("; the read model knows no video that this affects")
	} else {
		fmt.Fprintf(&b, "; this affects %s", VideosText(l.videos))
	}
	return b.String()
}

// VideosText says how many videos there are, and names the first.
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

// Events returns how many events are lost, at least 1. It returns 1 for another log, whose losses nobody can
// count.
func (l *Error) Events() uint64 { return max(1, l.events) }

// Remedy says what the operator can do.
func (l *Error) Remedy() string { return Remedy(l.where) }

// Remedy says what the operator can do about lost events. where is the place of the log (broker.LogPlace).
func Remedy(where string) string {
	return "restore the log (" + where + ") from a backup; or accept the loss with `reelmill rebuild --force` " +
		"and the same --data and --nats, which rebuilds the read model from the events that are left"
}

// EventsText says how many events there are, and names the first.
func EventsText(s pipeline.Sequences) string {
	return fmt.Sprintf("%d %s (%s)", s.Count(), human.Plural(int(s.Count()), "event"), sequencesText(s))
}

// sequencesText names the first ranges of sequences.
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

// GoneText says which events are gone without counting as lost; it is empty for none.
func GoneText(e bus.Extent) (text string) {
	untold := e.Lost.Through(e.Untold).Count()
	if untold > 0 {
		text = fmt.Sprintf("; %d before event %d are gone, as an earlier version deleted videos without "+
			"listing the events that it removed", untold, e.Untold)
	}
	if accepted := e.Lost.Count() - untold; accepted > 0 {
		text += fmt.Sprintf("; %d are lost, and that was accepted", accepted)
	}
	return text
}

// Check compares the log with its deletions and with the read model. Its methods are for one goroutine at a
// time.
type Check struct {
	bus   *bus.Bus
	audit *bus.Audit
	model ReadModel // nil: there is none
	where string

	judged  bool
	key     finding // that the verdict follows from
	verdict *Error
}

// finding decides a verdict: the same finding has the same verdict.
type finding struct {
	lost, untold, beyond uint64
	accepted             bus.Accepted
	other                bool
}

// NewCheck returns a Check of the log of a bus against the read model that was made from it, or nil. where
// names the place of the log in errors (broker.LogPlace).
func NewCheck(b *bus.Bus, model ReadModel, where string) *Check {
	return &Check{bus: b, audit: b.NewAudit(), model: model, where: where}
}

// Look returns which events the log has and which it has lost; nil for none. While nothing changes, it costs
// three small requests.
func (c *Check) Look(ctx context.Context) (bus.Extent, *Error, error) {
	l := &Error{where: c.where}
	var err error
	if c.model != nil { // read it before the log, which may grow meanwhile
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

// judge completes l, or returns nil when nothing is lost.
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

// held returns the videos that have some of the events in the read model, without those deleted in the log.
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

// Unread returns the events that a replay could not read although the log has them: they are damaged or
// empty.
func (c *Check) Unread(ctx context.Context, r bus.Replayed) (pipeline.Sequences, error) {
	_, gone, err := c.bus.Gone(ctx) // read it after the replay, during which videos may be deleted
	return r.Unread.Without(gone), err
}

// NotDeleted returns the videos that are not deleted in the log.
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

// EventsOf returns the events of videos in a read model.
func EventsOf(held []catalog.Held) pipeline.Sequences {
	var ranges []pipeline.Range
	for _, h := range held {
		ranges = append(ranges, h.Events...)
	}
	return pipeline.Merge(ranges)
}
