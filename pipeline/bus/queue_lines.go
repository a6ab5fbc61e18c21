package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// queue is the tasks of one worker type, as this process knows them. Callers wait in lines, one line for
// each least priority that they take:
//
//  1. The first caller of a line (line.turn) takes. When there is nothing, it waits for the line's own bell.
//     So a bell wakes one caller of a line, not all, and no caller hears the bell of another line.
//  2. A project's share notes that something may wait before any bell rings, and the note is for whoever
//     looks first. So when a caller is woken and leaves, or takes something else, the next one misses
//     nothing.
//  3. Lines take turns at the server (pulling), for the time of a take and not while they wait. They share
//     what they find: there is one look at the queue in a poll interval, however many lines wait.
type queue struct {
	worker  string
	lines   [3]line       // as pipeline.Priorities, by the least priority
	pulling chan struct{} // held during requests to the server; guards consumers and line.taken

	mu      sync.Mutex
	turns   map[pipeline.Priority]*turns
	looked  time.Time     // the time of the last look
	listed  time.Time     // the time of the last look that listed the queue
	listing time.Duration // how long that took
	stray   bool          // a message came whose subject is none of a task
}

// line is the callers that take the same priorities.
type line struct {
	turn  chan struct{} // held by the first caller
	bell  chan struct{}
	taken int
}

// queue returns the queue of a worker type. The first call subscribes to its bell.
func (b *Bus) queue(worker string) (*queue, error) {
	if !pipeline.ValidName(worker) {
		return nil, fmt.Errorf("take a task: invalid worker type %q", worker)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if q, ok := b.queues[worker]; ok {
		return q, nil
	}
	q := &queue{
		worker: worker, pulling: make(chan struct{}, 1), turns: map[pipeline.Priority]*turns{},
	}
	for i, p := range pipeline.Priorities {
		q.turns[p] = &turns{worker: worker, priority: p, projects: map[string]*share{}}
		q.lines[i] = line{turn: make(chan struct{}, 1), bell: make(chan struct{}, 1)}
	}
	_, err := b.nc.Subscribe(bellPrefix+"task."+worker+".>", func(m *nats.Msg) {
		q.rang(strings.TrimPrefix(m.Subject, bellPrefix))
	})
	if err != nil {
		return nil, fmt.Errorf("take a task of %s: listen: %w", worker, err)
	}
	b.queues[worker] = q
	return q, nil
}

// rang notes that a task may wait on a subject. A subject that is none of a task makes the next take list the
// queue.
func (q *queue) rang(subject string) {
	p, project, ok := projectOf(subject)
	switch {
	case ok && strings.HasSuffix(subject, ended):
		q.freed(project)
		return
	case ok && q.full(p, project):
		return
	case ok:
		q.mark(p, project, len(pullPauses)+1)
		return
	}
	q.mu.Lock()
	q.stray = true
	q.mu.Unlock()
	for i := range q.lines {
		ring(q.lines[i].bell)
	}
}

// mark notes that something may wait of a project, to be pulled until that many pulls found nothing. It wakes
// the lines that take the priority. It begins with those that take no lower one, so that the others stay free
// for the rest.
func (q *queue) mark(p pipeline.Priority, project string, pulls int) {
	q.mu.Lock()
	q.turns[p].mark(project, pulls)
	q.mu.Unlock()
	for i := slices.Index(pipeline.Priorities, p); i < len(q.lines); i++ {
		ring(q.lines[i].bell)
	}
}

// projectOf returns the priority and project of a task's subject. ok is false when it is none of a task, or
// has another lane than the project's.
func projectOf(subject string) (p pipeline.Priority, project string, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 7 {
		return "", "", false
	}
	p, project = pipeline.Priority(parts[2]), parts[4]
	ok = slices.Contains(pipeline.Priorities, p) && pipeline.ValidName(project) &&
		parts[3] == pipeline.Lane(project)
	return p, project, ok
}

// due reports whether to look at the whole queue now.
func (q *queue) due(poll time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stray || time.Since(q.looked) >= poll
}

// pause returns how long to wait for a bell before the next take of these priorities: until the next pull,
// or the next look.
func (q *queue) pause(poll time.Duration, served []pipeline.Priority) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stray {
		return 0
	}
	next := q.looked.Add(poll)
	for _, p := range served {
		for _, s := range q.turns[p].projects {
			if s.pulls > 0 && s.again.Before(next) {
				next = s.again
			}
		}
	}
	return max(0, time.Until(next))
}

// wait returns at the line's next bell, after the pause, or when ctx ends.
func (l *line) wait(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-l.bell:
	case <-t.C:
	case <-ctx.Done():
	}
}

// order returns the priorities of a line in the order for this take.
func (l *line) order(served []pipeline.Priority) []pipeline.Priority {
	if l.taken%bulkEvery < bulkEvery-1 {
		return served
	}
	reversed := slices.Clone(served)
	slices.Reverse(reversed)
	return reversed
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
