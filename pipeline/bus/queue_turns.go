package bus

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// turns is the projects that have, or lately had, tasks of one worker type and priority, as this process
// knows them, and says whose turn it is:
//
//  1. Each project has a time on a clock of its own, that of its next turn.
//  2. The project with the earliest time has the turn. Of equal ones it is the one that had none for longest.
//  3. A take sets the clock to the time of its project, and that of the project a turn later. A turn is the
//     shorter, the higher the project's weight is: a project of weight 3 has three turns in the time of one.
//  4. No time is before the clock. So a project that had no tasks for a while has its turn now, and has saved
//     up none.
type turns struct {
	worker   string
	priority pipeline.Priority
	clock    int64
	takes    uint64
	projects map[string]*share
}

// share is the tasks of one project in its turns.
type share struct {
	worker   string
	priority pipeline.Priority
	project  string

	consumer jetstream.Consumer // nil until a task may wait here; guarded by queue.pulling

	// All others are guarded by queue.mu.
	pulls   int       // how many more pulls may find nothing
	again   time.Time // the next pull is not before
	turn    int64     // the time of the next turn
	taken   uint64    // the number of its last take; 0 before the first
	named   time.Time // when a bell or a look named it last
	counted time.Time // when its tasks were counted last
	held    bool      // its limit is reached: a further task that waits is no reason to pull
	freed   bool      // one of its tasks has ended since held was set
	probed  time.Time // when it was pulled last while it was held back
}

// turnTime is the time of a turn of a project of weight 1. Many weights divide it.
const turnTime = 720_720

// pullPauses are the pauses before a project's tasks are pulled again after a bell. The server rings before
// its consumers have counted the task (stream.go, processJetStreamMsgWithBatch: it sends the copy, then
// another goroutine signals the consumers), so a pull soon after the bell may find nothing.
//
// The longest is for a machine so busy that the other goroutine has to wait.
var pullPauses = []time.Duration{ // by how many pulls are left
	500 * time.Millisecond, 50 * time.Millisecond, 5 * time.Millisecond,
}

// mark notes that something may wait of a project, to be pulled until that many pulls found nothing.
func (t *turns) mark(project string, pulls int) {
	s := t.projects[project]
	if s == nil {
		s = &share{worker: t.worker, priority: t.priority, project: project}
		t.projects[project] = s
	}
	s.named = time.Now()
	if pulls > s.pulls {
		s.pulls, s.again = pulls, time.Time{}
	}
}

// wants reports whether to pull now.
func (s *share) wants() bool { return s.pulls > 0 && !time.Now().Before(s.again) }

// missed notes that a pull found nothing.
func (s *share) missed() {
	if s.pulls = max(s.pulls-1, 0); s.pulls > 0 {
		s.again = time.Now().Add(pullPauses[s.pulls-1])
	}
}

// order returns the projects to pull now, the one that has the turn first.
func (t *turns) order() []*share {
	var ready []*share
	for _, s := range t.projects {
		if s.wants() {
			s.turn = max(s.turn, t.clock)
			ready = append(ready, s)
		}
	}
	slices.SortFunc(ready, func(a, b *share) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.taken, b.taken),
			strings.Compare(a.project, b.project))
	})
	return ready
}

// took notes that a task of a project was taken. The turn is rounded up, so that a project has never more of
// them in the time of a turn than its weight.
func (t *turns) took(s *share, weight int) {
	weight = max(weight, 1)
	t.takes++
	t.clock, s.taken = s.turn, t.takes
	s.turn += int64((turnTime + weight - 1) / weight)
}

// forget removes the projects that nothing has named for a time.
func (t *turns) forget(after time.Duration) {
	for name, s := range t.projects {
		if s.pulls == 0 && time.Since(s.named) > after {
			delete(t.projects, name)
		}
	}
}

// order returns the projects of a priority to pull now, the one that has the turn first.
func (q *queue) order(p pipeline.Priority) []*share {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.turns[p].order()
}

// wants reports whether to pull the tasks of a project now.
func (q *queue) wants(s *share) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return s.wants()
}

// missed notes that a pull of a project's tasks found nothing.
func (q *queue) missed(s *share) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.missed()
}

// took notes that a task of a project was taken.
func (q *queue) took(s *share, weight int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turns[s.priority].took(s, weight)
}

// takeFrom takes a task of a project, if one may wait. It returns nil when there is none.
func (b *Bus) takeFrom(ctx context.Context, q *queue, s *share) (*Delivery, error) {
	for q.wants(s) {
		m, err := b.pull(ctx, q, s)
		if err != nil {
			return nil, err
		}
		if m == nil {
			q.missed(s)
			return nil, nil
		}
		d, err := b.decodeDelivery(m)
		if err == nil {
			q.took(s, b.cfg.Weight(s.project))
			d.limited = b.limitOf(s.project, s.worker).tasks > 0
			return d, nil
		}
		if err := b.moveToLetters(ctx, m, err); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
