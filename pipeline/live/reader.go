package live

import (
	"context"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/storage/catalog"
)

// What the reader does, for the log.
const (
	readEvents    = "read new events for streams"
	watchProgress = "watch the progress of jobs for streams"
)

// address identifies a video.
type address struct{ project, video string }

// reader reads new events for all feeds, from the first feed that joined until the last has left. hub.mu
// guards its fields.
type reader struct {
	hub     *Hub
	stop    context.CancelFunc
	at      uint64                    // all events up to it were handed out, or were there before
	feeds   int                       // that have joined and not left, cut off or not
	ofAll   map[string]map[*Feed]bool // by project; the feeds of all its videos
	ofVideo map[address]map[*Feed]bool
}

// add adds a feed to the indexes.
func (r *reader) add(f *Feed) {
	r.feeds++
	project := f.options.Project
	if len(f.options.Videos) == 0 {
		insert(r.ofAll, project, f)
	}
	for _, video := range f.options.Videos {
		insert(r.ofVideo, address{project, video}, f)
	}
}

// remove removes a feed from the indexes. It may be called again.
func (r *reader) remove(f *Feed) {
	project := f.options.Project
	if len(f.options.Videos) == 0 {
		drop(r.ofAll, project, f)
	}
	for _, video := range f.options.Videos {
		drop(r.ofVideo, address{project, video}, f)
	}
}

func insert[K comparable](index map[K]map[*Feed]bool, key K, f *Feed) {
	if index[key] == nil {
		index[key] = map[*Feed]bool{}
	}
	index[key][f] = true
}

func drop[K comparable](index map[K]map[*Feed]bool, key K, f *Feed) {
	delete(index[key], f)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

// run hands out events until ctx ends. What fails is tried again.
func (r *reader) run(ctx context.Context) {
	source := r.hub.config.Source
	for delay := firstDelay; ctx.Err() == nil; {
		changed := source.Changed() // before the look, so that no change falls between
		if err := r.catchUp(ctx); err != nil {
			if ctx.Err() == nil {
				r.hub.recurring.Failed(readEvents, "error", err, "again", delay)
			}
			pause.For(ctx, delay)
			delay = min(2*delay, maxDelay)
			continue
		}
		r.hub.recurring.Works(readEvents)
		delay = firstDelay
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// catchUp hands out what the read model has.
func (r *reader) catchUp(ctx context.Context) error {
	for limit := r.hub.chunk(); ; {
		events, err := r.hub.config.Source.History(ctx, catalog.EventQuery{After: r.at, Limit: limit})
		if err != nil {
			return err
		}
		r.giveTime(ctx, r.deliver(events))
		if len(events) < limit {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// deliver hands events out. It returns the feeds whose buffers are now more than half full, and were not
// before.
func (r *reader) deliver(events []pipeline.Event) (crowded []*Feed) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, e := range events {
		r.at = e.Sequence
		project, video, _, err := pipeline.Address(e.Subject)
		if err != nil {
			continue // the read model has none of those
		}
		out := shared{hub: r.hub, from: e}
		for f := range r.ofVideo[address{project, video}] {
			crowded = out.hand(f, crowded)
		}
		for f := range r.ofAll[project] {
			crowded = out.hand(f, crowded)
		}
	}
	return crowded
}

// shared is an event that is encoded when the first feed wants it.
type shared struct {
	hub    *Hub
	from   pipeline.Event
	made   *Event
	failed bool
}

// hand hands the event to a feed that wants it. It appends the feed to crowded if it has become so.
func (s *shared) hand(f *Feed, crowded []*Feed) []*Feed {
	if s.failed || !selects(f.options.Types, s.from.Type) {
		return crowded
	}
	if s.made == nil {
		var err error
		if s.made, err = s.hub.encode(s.from); err != nil {
			s.failed = true
			s.hub.config.Logger.Error("leave an event out of streams", "sequence", s.from.Sequence, "error", err)
			return crowded
		}
	}
	switch n, full := f.push(s.made); {
	case full:
		s.hub.cutOff(f)
	case s.hub.crowded(n) && !s.hub.crowded(n-1):
		crowded = append(crowded, f)
	}
	return crowded
}

// encode returns an event as feeds have it.
func (h *Hub) encode(e pipeline.Event) (*Event, error) {
	doc, err := h.config.Encode(e)
	if err != nil {
		return nil, err
	}
	return &Event{Sequence: e.Sequence, Type: e.Type, Doc: doc}, nil
}

// giveTime waits a moment for feeds with crowded buffers. A feed that is only waiting for a processor needs
// no more.
func (r *reader) giveTime(ctx context.Context, crowded []*Feed) {
	if len(crowded) == 0 {
		return
	}
	limit := time.NewTimer(r.hub.config.Patience)
	defer limit.Stop()
	for _, f := range crowded {
		for f.isCrowded() {
			select {
			case <-r.hub.room:
			case <-limit.C:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// followProgress hands out progress until ctx ends. Feeds do without it while it fails.
func (r *reader) followProgress(ctx context.Context) {
	for delay := firstDelay; ctx.Err() == nil; delay = min(2*delay, maxDelay) {
		reports, err := r.hub.config.Progress.WatchProgress(ctx)
		if err == nil {
			r.hub.recurring.Works(watchProgress)
			for p := range reports {
				r.report(p)
				delay = firstDelay
			}
		}
		if ctx.Err() == nil {
			r.hub.recurring.Failed(watchProgress, "error", err, "again", delay)
		}
		pause.For(ctx, delay)
	}
}

// report hands one report to the feeds of its video.
func (r *reader) report(p pipeline.Progress) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for f := range r.ofVideo[address{p.Project, p.Video}] {
		if f.options.Progress {
			f.report(&p)
		}
	}
}
