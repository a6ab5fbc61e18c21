package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// ready answers the checks of /readyz by name: nil, or what is wrong. They are made side by side: one that
// hangs leaves the others their time.
func (s *Server) ready(ctx context.Context) map[string]error {
	var mu sync.Mutex
	var all sync.WaitGroup
	checks := map[string]error{}
	for name, check := range map[string]func(context.Context) error{
		"broker":  func(context.Context) error { return s.broker.Healthy() },
		"bus":     s.bus.Healthy,
		"disk":    func(context.Context) error { return s.disk.FreeSpace() },
		"catalog": s.caughtUp,
		"store":   s.storeAnswers,
		"log":     s.logWell,
	} {
		all.Go(func() {
			err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			checks[name] = err
		})
	}
	all.Wait()
	return checks
}

func (s *Server) storeAnswers(ctx context.Context) error {
	_, err := s.objects.Stat(ctx, "readyz")
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// caughtUp says how far the read model is behind the log, if it is too far to answer with it.
func (s *Server) caughtUp(ctx context.Context) error {
	applied, err := s.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	last, err := s.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	return s.pace.check(applied, last, time.Now())
}

// lateAfter is how long the read model may take to apply an event.
const lateAfter = 10 * time.Second

// pace judges whether the read model keeps up with the log: at the first check it must have all that the log
// had then, and from then on what the log had lateAfter ago.
type pace struct {
	mu   sync.Mutex
	mark uint64    // what the log had
	at   time.Time // when; zero at the first check
	made bool
}

// check says how far the read model is behind, given what it has applied and what the log has.
func (p *pace) check(applied, last uint64, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.made {
		p.mark, p.made = last, true
	}
	if applied >= p.mark {
		p.mark, p.at = last, now
		return nil
	}
	if now.Sub(p.at) < lateAfter {
		return nil
	}
	return fmt.Errorf("the read model has applied %d of %d events: it is catching up", applied, last)
}

// logWell says what the event log has lost, or that it is nearly full.
func (s *Server) logWell(ctx context.Context) error {
	return errors.Join(s.logWhole(ctx), s.logRoom(ctx))
}

// logRoom says pipeline.CodeLogFull when the event log is so full that uploads are refused, while the videos
// under way can still end.
func (s *Server) logRoom(ctx context.Context) error { return s.bus.Fits(ctx, pipeline.VideoUploaded) }

// openWatch refuses a log that has lost events.
func (s *Server) openWatch(ctx context.Context) error {
	s.watch = loss.NewWatch(loss.NewCheck(s.bus, s.catalog, broker.LogPlace(s.config.NATS, s.config.Data)))
	s.watch.Look(ctx)
	lost, err := s.watch.Known()
	if lost != nil {
		err = fmt.Errorf("%w; nothing was started. To do: %s", lost, lost.Remedy())
	}
	return err
}

// logWhole says what the log has lost.
func (s *Server) logWhole(ctx context.Context) error { return loss.OfRunning(s.watch.Ask(ctx)) }

// watchLog looks at the log until ctx ends.
func (s *Server) watchLog(ctx context.Context) error {
	const what = "see that the event log is whole"
	s.watch.Run(ctx, func() {
		if err := loss.OfRunning(s.watch.Known()); err != nil {
			s.recurring.Failed(what, "error", err)
		} else {
			s.recurring.Works(what)
		}
	})
	return nil
}
