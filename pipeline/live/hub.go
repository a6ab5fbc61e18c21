package live

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage/catalog"
)

// Errors of feeds.
var (
	// ErrSlow: the feed's buffer was full, so that it has missed events. Remedy: begin another feed after the
	// last event.
	ErrSlow = errors.New("the reader was too slow")
	// ErrAhead: the log ends before the cursor, so that the cursor comes from another log. Remedy: begin anew.
	ErrAhead = errors.New("the cursor is beyond the end of the event log")
)

// Source is the read model; catalog.Catalog is one.
type Source interface {
	// History returns the events that q selects, in the order of the log.
	History(ctx context.Context, q catalog.EventQuery) ([]pipeline.Event, error)
	// Sequence returns the sequence up to which the read model has the log.
	Sequence(ctx context.Context) (uint64, error)
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// Progress reports how far running jobs are; bus.Bus is one.
type Progress interface {
	// WatchProgress returns the reports on all jobs, from now until ctx ends.
	WatchProgress(ctx context.Context) (<-chan pipeline.Progress, error)
}

// DefaultBuffer is how many events a feed may be behind.
const DefaultBuffer = 256

// The pauses of the reader.
const (
	defaultPatience = 100 * time.Millisecond
	firstDelay      = 100 * time.Millisecond
	maxDelay        = 5 * time.Second
)

// page is how many events are read from the read model at a time.
const page = 50

// Config is what a hub works with. Source is required.
type Config struct {
	Source Source
	// Progress may be nil: then feeds have no progress.
	Progress Progress
	// LogEnd returns the sequence of the last event of the log. Nil: the read model's sequence counts.
	LogEnd func(ctx context.Context) (uint64, error)
	// Encode returns the document of an event as readers get it. Nil: its JSON.
	Encode func(e pipeline.Event) ([]byte, error)
	// Buffer is how many events a feed may be behind; DefaultBuffer when 0 or less.
	Buffer int
	// Patience is how long the reader waits after a page of events for feeds whose buffers are more than half
	// full; 100 ms when 0 or less.
	Patience time.Duration
	// Logger gets what fails; nothing is logged when nil.
	Logger *slog.Logger
}

// Hub hands events to feeds. NewHub makes one. Its methods may be called from many goroutines.
type Hub struct {
	config    Config
	recurring pipeline.Recurring
	cut       atomic.Uint64
	room      chan struct{} // gets a value when a feed with a crowded buffer has taken it

	mu      sync.Mutex
	reader  *reader    // nil without a feed
	running int        // goroutines of readers
	ended   *sync.Cond // one of them has ended
}

// NewHub returns a hub without feeds. It starts nothing.
func NewHub(c Config) *Hub {
	if c.LogEnd == nil {
		c.LogEnd = c.Source.Sequence
	}
	if c.Encode == nil {
		c.Encode = func(e pipeline.Event) ([]byte, error) { return json.Marshal(e) }
	}
	if c.Buffer <= 0 {
		c.Buffer = DefaultBuffer
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{config: c, recurring: pipeline.Recurring{Logger: c.Logger}, room: make(chan struct{}, 1)}
	h.ended = sync.NewCond(&h.mu)
	return h
}

// Cut returns how many feeds were cut off because they were slow.
func (h *Hub) Cut() uint64 { return h.cut.Load() }

// Wait blocks until no goroutine of the hub is left, which is soon after the last feed was closed.
func (h *Hub) Wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.running > 0 {
		h.ended.Wait()
	}
}

// position returns the sequence up to which all events can be had: from the hub while it reads, and otherwise
// from the read model.
func (h *Hub) position(ctx context.Context) (uint64, error) {
	h.mu.Lock()
	if r := h.reader; r != nil {
		defer h.mu.Unlock()
		return r.at, nil
	}
	h.mu.Unlock()
	return h.config.Source.Sequence(ctx)
}

// join lets a feed have the events from now on, and returns the sequence above which it gets all.
func (h *Hub) join(ctx context.Context, f *Feed) (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == nil {
		at, err := h.config.Source.Sequence(ctx) // further feeds wait for this one look
		if err != nil {
			return 0, err
		}
		h.start(at)
	}
	h.reader.add(f)
	return h.reader.at, nil
}

// start starts a reader of the events after a sequence. The caller holds h.mu.
func (h *Hub) start(at uint64) {
	ctx, stop := context.WithCancel(context.Background())
	r := &reader{
		hub: h, stop: stop, at: at,
		ofAll: map[string]map[*Feed]bool{}, ofVideo: map[address]map[*Feed]bool{},
	}
	h.reader = r
	h.spawn(func() { r.run(ctx) })
	if h.config.Progress != nil {
		h.spawn(func() { r.followProgress(ctx) })
	}
}

// spawn runs do in a goroutine that Wait waits for. The caller holds h.mu.
func (h *Hub) spawn(do func()) {
	h.running++
	go func() {
		defer func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.running--
			h.ended.Broadcast()
		}()
		do()
	}()
}

// leave forgets a feed that has joined.
func (h *Hub) leave(f *Feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.reader
	r.remove(f)
	if r.feeds--; r.feeds == 0 {
		r.stop()
		h.reader = nil
	}
}

// crowded reports whether a buffer of so many items is more than half full.
func (h *Hub) crowded(items int) bool { return 2*items > h.config.Buffer }

// chunk is how many events are handed out before the reader looks at the buffers: so few that a feed which
// takes them at once never has a full one.
func (h *Hub) chunk() int { return min(page, max(1, h.config.Buffer/2)) }

// cutOff drops a feed whose buffer is full. The caller holds h.mu.
func (h *Hub) cutOff(f *Feed) {
	h.cut.Add(1)
	h.reader.remove(f)
	if f.options.Cut != nil {
		f.options.Cut()
	}
}

// selects reports whether a filter lets a type of event pass.
func selects(types []pipeline.EventType, t pipeline.EventType) bool {
	return len(types) == 0 || slices.Contains(types, t)
}
