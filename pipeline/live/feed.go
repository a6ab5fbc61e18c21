package live

import (
	"context"
	"fmt"
	"sync"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage/catalog"
)

// Event is an event of the log as feeds have it. All feeds share it; nobody changes it.
type Event struct {
	Sequence uint64
	Type     pipeline.EventType
	Doc      []byte // what Config.Encode returned
}

// Item is what a feed brings: an event of the log, or a report of progress. The other one is nil.
type Item struct {
	Event    *Event
	Progress *pipeline.Progress
}

// Options says which events a feed brings, and how it reaches its owner.
type Options struct {
	Project string
	Videos  []string             // all videos of the project when empty
	Types   []pipeline.EventType // all types when empty
	// Progress asks for the reports on jobs of Videos, too.
	Progress bool
	// After is the sequence after which events come. Nil: from now on.
	After *uint64
	// Wake gets a value, unless it is full, when Next has something. It has room for one value at least.
	Wake chan<- struct{}
	// Cut is called once when the feed is cut off, and must return at once. It may be nil.
	Cut func()
}

// Feed brings events to one owner, who calls Next and Close, one at a time.
type Feed struct {
	hub     *Hub
	options Options
	last    uint64 // events up to it were returned, or are not wanted
	joined  bool
	until   uint64 // events up to it are read from the read model, since the buffer has those above it

	mu     sync.Mutex
	buffer []Item
	cut    bool
}

// Open returns a feed. A cursor beyond the log is ErrAhead. The caller closes the feed.
func (h *Hub) Open(ctx context.Context, o Options) (*Feed, error) {
	f := &Feed{hub: h, options: o}
	if o.After == nil {
		if err := f.join(ctx); err != nil {
			return nil, err
		}
		f.last = f.until
		return f, nil
	}
	f.last = *o.After
	return f, h.Check(ctx, f.last)
}

// Check returns ErrAhead for a cursor beyond the log.
func (h *Hub) Check(ctx context.Context, after uint64) error {
	position, err := h.position(ctx)
	if err != nil || after <= position {
		return err
	}
	end, err := h.config.LogEnd(ctx) // the read model may be late
	if err != nil {
		return err
	}
	if after > end {
		return fmt.Errorf("%w: it is %d, and the log ends at %d", ErrAhead, after, end)
	}
	return nil
}

// Position returns the sequence up to which Next has returned everything. In a new feed it is the place where
// the feed begins.
func (f *Feed) Position() uint64 { return f.last }

// Next returns what there is now. more asks to call it again at once; otherwise Wake gets a value when there
// is more. It waits for nothing but the read model. It returns ErrSlow when the feed was cut off. After an
// error the feed is of no more use.
func (f *Feed) Next(ctx context.Context) (items []Item, more bool, err error) {
	if !f.joined {
		position, err := f.hub.position(ctx)
		if err != nil {
			return nil, false, err
		}
		if f.last < position && position-f.last > page {
			items, err = f.past(ctx, position)
			return items, true, err
		}
		if err := f.join(ctx); err != nil {
			return nil, false, err
		}
	}
	if f.last < f.until {
		items, err = f.past(ctx, f.until)
		return items, true, err
	}
	items, err = f.take()
	return items, false, err
}

func (f *Feed) join(ctx context.Context) (err error) {
	f.until, err = f.hub.join(ctx, f)
	f.joined = err == nil
	return err
}

// past reads a page of the events up to a sequence.
func (f *Feed) past(ctx context.Context, until uint64) (items []Item, err error) {
	events, err := f.hub.config.Source.History(ctx, catalog.EventQuery{
		Project: f.options.Project, Videos: f.options.Videos, Types: f.options.Types, After: f.last, Limit: page,
	})
	if err != nil {
		return nil, err
	}
	whole := len(events) < page
	for _, e := range events {
		if whole = whole || e.Sequence > until; e.Sequence > until { // it comes again, from the buffer
			break
		}
		out, err := f.hub.encode(e)
		if err != nil {
			return nil, err
		}
		items, f.last = append(items, Item{Event: out}), e.Sequence
	}
	if whole {
		f.last = until
	}
	return items, nil
}

// take empties the buffer.
func (f *Feed) take() ([]Item, error) {
	f.mu.Lock()
	items, cut := f.buffer, f.cut
	f.buffer = nil
	f.mu.Unlock()
	if f.hub.crowded(len(items)) {
		select {
		case f.hub.room <- struct{}{}:
		default:
		}
	}
	if cut {
		return nil, ErrSlow
	}
	fresh := items[:0]
	for _, it := range items {
		if it.Event != nil {
			if it.Event.Sequence <= f.last { // the cursor was ahead of the read model
				continue
			}
			f.last = it.Event.Sequence
		}
		fresh = append(fresh, it)
	}
	return fresh, nil
}

// Close lets the feed go. It may be called again.
func (f *Feed) Close() {
	if f.joined {
		f.joined = false
		f.hub.leave(f)
	}
}

// push appends an event. It returns how many items the buffer has. If it was full, the feed is cut off.
func (f *Feed) push(e *Event) (items int, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.wake()
	if len(f.buffer) >= f.hub.config.Buffer {
		f.buffer, f.cut = nil, true
		return 0, true
	}
	f.buffer = append(f.buffer, Item{Event: e})
	return len(f.buffer), false
}

// report appends a report of progress, or replaces one of the same job. A crowded buffer gets none.
func (f *Feed) report(p *pipeline.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, it := range f.buffer {
		if it.Progress != nil && it.Progress.Job == p.Job && it.Progress.Video == p.Video {
			f.buffer[i].Progress = p
			return
		}
	}
	if !f.hub.crowded(len(f.buffer) + 1) {
		f.buffer = append(f.buffer, Item{Progress: p})
		f.wake()
	}
}

func (f *Feed) wake() {
	select {
	case f.options.Wake <- struct{}{}:
	default:
	}
}

func (f *Feed) isCrowded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hub.crowded(len(f.buffer))
}
