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

// ready makes the checks of /readyz, by name: nil, or what is wrong. They run side by side, so that one that
// hangs delays no other.
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
	if dir := s.config.StoreFolder(); dir != "" {
		if err := writable(dir, "the store"); err != nil {
			return err
		}
	}
	_, err := s.objects.Stat(ctx, "readyz")
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// caughtUp returns an error when the read model is damaged, or too far behind the log to answer from.
func (s *Server) caughtUp(ctx context.Context) error {
	if damage := s.catalog.Damage(); damage != nil {
		return fmt.Errorf("%w; or restart the server, which does so itself", damage)
	}
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

// pace judges whether the read model keeps up with the log. At first it must apply all events that the log
// had at the first check; after that, all that the log had lateAfter ago.
type pace struct {
	mu   sync.Mutex
	mark uint64    // the last event of the log
	at   time.Time // when that was; zero until the first mark is reached
	made bool
}

// check returns an error when the read model is late. applied and last are the sequences that it has applied
// and that the log has.
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

// logWell returns an error when the event log has lost events or is nearly full.
func (s *Server) logWell(ctx context.Context) error {
	return errors.Join(s.logWhole(ctx), s.logRoom(ctx))
}

// logRoom returns pipeline.CodeLogFull when the event log is too full for uploads. Videos under way can still
// end then.
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

// logWhole returns an error when the log has lost events.
func (s *Server) logWhole(ctx context.Context) error { return loss.OfRunning(s.watch.Ask(ctx)) }

// watchLog checks the log for losses until ctx ends.
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
