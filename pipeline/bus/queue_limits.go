package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// A project may have a limit of tasks of a worker type that are with all processes together (Config.AtOnce):
//
//  1. The limit is the most open acks of the project's consumers, so the server holds each priority to it.
//     Whoever pulls and finds another limit there changes it.
//  2. Before a pull, the open acks of all priorities are added up. When they reach the limit, the project is
//     held back: nobody pulls until a task of it has ended, which rings a bell, or until the next look.
//  3. Open acks are also those of tasks that were returned, or whose lease ran out, and that nobody has. So a
//     project that is held back is still pulled at looks, for those alone: the server delivers no others when
//     the consumer may have no more open acks than it has.
//
// Not guaranteed: when tasks of several priorities wait, processes that pull at the same moment may exceed
// the limit, by one task each.

// limitedWait is how long the server waits for a task of a project with a limit. When a limit is reached, it
// does not answer a pull for a task that was never delivered before it has waited.
const limitedWait = 10 * time.Millisecond

// ended is what stands for a video in the bell that says that a task of a project has ended. No id is like
// it.
const ended = "-ended-"

// limit is how many tasks of a project and worker type may be with all processes at once; 0: no limit.
type limit struct {
	tasks int
	known bool // false: this process does not know it yet, and leaves the consumer as it is
}

func (b *Bus) limitOf(project, worker string) limit {
	n, known := b.cfg.AtOnce(project, worker)
	return limit{max(n, 0), known}
}

// acks returns what the consumer has for the limit.
func (l limit) acks() int {
	if l.tasks == 0 {
		return unlimited
	}
	return l.tasks
}

// adjust changes how many open acks a live consumer may have.
func (b *Bus) adjust(ctx context.Context, c jetstream.Consumer, acks int) (jetstream.Consumer, error) {
	cfg := c.CachedInfo().Config
	if cfg.MaxAckPending == acks {
		return c, nil
	}
	cfg.MaxAckPending = acks
	changed, err := b.js.UpdateConsumer(ctx, streamTasks, cfg)
	if err != nil {
		return nil, fmt.Errorf("change the limit of consumer %s: %w", cfg.Name, err)
	}
	return changed, nil
}

// pullWithin takes at most one task of a project with a limit. When that is reached, it takes at most one
// that was delivered before, and that nobody has.
func (b *Bus) pullWithin(ctx context.Context, q *queue, s *share, l limit) (jetstream.Msg, error) {
	q.holdBack(s)
	r, err := b.running(ctx, s)
	if err != nil {
		return nil, err
	}
	acks, full := l.tasks, r.own+r.others >= l.tasks
	if full {
		if r.own == 0 || !q.probes(s, b.poll) {
			q.heldBack(s)
			return nil, nil
		}
		acks = min(r.own, acks)
	} else {
		q.release(s)
	}
	if s.consumer, err = b.adjust(ctx, s.consumer, acks); err != nil {
		return nil, err
	}
	var batch jetstream.MessageBatch
	if r.waiting > 0 {
		batch, err = s.consumer.Fetch(1, jetstream.FetchMaxWait(limitedWait))
	} else {
		batch, err = s.consumer.FetchNoWait(1)
	}
	if err != nil {
		return nil, err
	}
	m, err := b.received(batch, s)
	if full && err == nil && m == nil {
		q.heldBack(s)
	}
	return m, err
}

// running is how many tasks of a project's worker type have open acks, of one priority and of the others, and
// how many of the one were never delivered.
type running struct {
	own, others int
	waiting     uint64
}

// running refreshes what is known of the share's consumer, too.
func (b *Bus) running(ctx context.Context, s *share) (r running, err error) {
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return r, err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, b.cfg.PublishTimeout)
	defer cancel()
	info, err := s.consumer.Info(limited)
	if err != nil {
		return r, err
	}
	r.own, r.waiting = info.NumAckPending, info.NumPending
	for _, p := range pipeline.Priorities {
		if p == s.priority {
			continue
		}
		other, err := b.js.Consumer(limited, streamTasks, consumerName(s.worker, p, s.project))
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return r, fmt.Errorf("count the tasks of %s that run: %w", s.project, err)
		}
		r.others += other.CachedInfo().NumAckPending
	}
	return r, nil
}

// reached returns the limit of t's project and worker type if it is reached, and else 0.
func (b *Bus) reached(ctx context.Context, t pipeline.Task) (int, error) {
	l := b.limitOf(t.Project, t.Job.Worker)
	if l.tasks == 0 {
		return 0, nil
	}
	n := 0
	for _, p := range pipeline.Priorities {
		of := t
		of.Job.Priority = p
		info, err := b.consumerInfo(ctx, of)
		if err != nil {
			return 0, fmt.Errorf("count the tasks of %s that run: %w", t.Project, err)
		}
		if info != nil {
			n += info.NumAckPending
		}
	}
	if n < l.tasks {
		return 0, nil
	}
	return l.tasks, nil
}

// holdBack notes that a project is about to be held back, if nothing happens until heldBack.
func (q *queue) holdBack(s *share) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.held, s.freed = true, false
}

// heldBack notes that nobody is to pull the tasks of a project until one of them has ended, or the next look.
// If one has ended since holdBack, it is to be pulled again.
func (q *queue) heldBack(s *share) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.pulls = 0
	if s.freed {
		s.pulls = len(pullPauses) + 1 // the pull that is under way counts as one that found nothing
	}
}

// release notes that a project is not held back.
func (q *queue) release(s *share) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.held = false
}

// full reports whether a project is held back.
func (q *queue) full(p pipeline.Priority, project string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.turns[p].projects[project]
	return s != nil && s.held
}

// probes reports whether to pull the tasks of a project that is held back, for those that nobody has.
func (q *queue) probes(s *share, every time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(s.probed) < every {
		return false
	}
	s.probed = time.Now()
	return true
}

// freed notes that a task of a project has ended, so that one that is held back may be taken.
func (q *queue) freed(project string) {
	for _, p := range pipeline.Priorities {
		q.mu.Lock()
		s := q.turns[p].projects[project]
		held := s != nil && s.held
		if held {
			s.held, s.freed = false, true
		}
		q.mu.Unlock()
		if held {
			q.mark(p, project, 1)
		}
	}
}

// endedBell returns the subject of the bell that says that a task has ended.
func endedBell(t pipeline.Task) string {
	return bellPrefix + strings.Join([]string{
		"task", t.Job.Worker, string(pipeline.Normal), pipeline.Lane(t.Project), t.Project, ended, ended,
	}, ".")
}
