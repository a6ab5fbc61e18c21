package node

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// cleanEvery is how often the store is searched for objects that nobody needs, and the rules of retention are
// followed.
const cleanEvery = time.Hour

// clean runs the janitor, and lets the store reclaim its own leftovers, every cleanEvery until ctx ends. The
// rules of retention come first, so that the rest is what they have left.
func (s *Server) clean(ctx context.Context) error {
	janitor := &pipeline.Janitor{Log: s.bus, Owners: s.bus, Shelf: shelf{s.objects}, Jumped: s.jumped}
	expirer := s.expirer()
	tick := time.NewTicker(cmp.Or(s.config.CleanEvery, cleanEvery))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.expire(ctx, expirer)
		deleted, err := janitor.Clean(ctx)
		s.metrics.cleaned.Add(float64(deleted))
		if r, ok := storage.As[storage.Reclaimer](s.objects); ok {
			_, failed := r.Reclaim(ctx, 24*time.Hour+s.jumped())
			err = errors.Join(err, failed)
		}
		if err != nil && ctx.Err() == nil {
			s.config.Logger.Warn("clean the store", "deleted", deleted, "error", err)
		}
	}
}

// expirer returns what follows the rules of retention.
func (s *Server) expirer() *pipeline.Expirer {
	return &pipeline.Expirer{
		Log: s.faults.log(s.bus), Videos: s.catalog, Rules: s.keys.Retention, Newest: s.catalog.Newest,
		Ran: func() time.Duration { return time.Since(s.opened) }, Jumped: s.jumped,
		Day: s.config.RetentionDay, Logger: s.config.Logger,
	}
}

// expire follows the rules of retention once.
func (s *Server) expire(ctx context.Context, x *pipeline.Expirer) {
	sources, videos, err := x.Expire(ctx)
	s.metrics.expired.WithLabelValues("source").Add(float64(sources))
	s.metrics.expired.WithLabelValues("video").Add(float64(videos))
	if err != nil && ctx.Err() == nil {
		s.config.Logger.Warn("follow the rules of retention", "sources", sources, "videos", videos, "error", err)
	}
}

// jumped returns how far the clock was set forward since the server was opened.
func (s *Server) jumped() time.Duration {
	now := time.Now()
	return forward(s.opened, now, now.Sub(s.opened))
}

// forward returns how far the clock was set forward between began and now: by how much more it moved than the
// process ran. The time in which the machine slept counts, too. A clock that was set back gives 0.
func forward(began, now time.Time, ran time.Duration) time.Duration {
	return max(0, now.Round(0).Sub(began.Round(0))-ran)
}

// shelf adapts a store to pipeline.Shelf.
type shelf struct{ storage.Store }

// Objects implements pipeline.Shelf.
func (s shelf) Objects(ctx context.Context, prefix string) iter.Seq2[pipeline.StoredObject, error] {
	return func(yield func(pipeline.StoredObject, error) bool) {
		for info, err := range s.List(ctx, prefix) {
			if !yield(pipeline.StoredObject{Key: info.Key, Modified: info.Modified}, err) {
				return
			}
		}
	}
}
