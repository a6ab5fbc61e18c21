package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	// lookAll is the most tasks of a worker type that every look lists.
	lookAll = 1000
	// listShare says that listing a longer queue takes at most one of so many parts of the time.
	listShare = 50
	// lookCounts is of how many projects a look counts the tasks when it does not list them.
	lookCounts = 256
)

// look asks the server what the queue holds, and marks the projects that have a task, taken or not. It finds
// what rings no bell: tasks that were there before, leases that ran out, and returns with a delay. It moves
// messages whose subject is none of a task to the dead letters.
//
// It makes one request when the queue is empty, and two when it is short. Listing a long queue takes the
// server longer, 30 ms for 10,000 tasks. So a look lists it only after listShare times what that took, and
// when a stray rang a bell. Else it counts the tasks of projects that it knows from bells and listings.
func (b *Bus) look(ctx context.Context, q *queue) error {
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return err
	}
	defer unlink()
	all := "task." + q.worker + ".>"
	n, err := b.countFrom(linked, all, 1)
	if err != nil {
		return fmt.Errorf("look at the queue: %w", err)
	}
	switch list := q.mayList(n); {
	case n > 0 && list:
		err = b.list(linked, q, all)
	case n > 0:
		err = b.countKnown(linked, q)
	}
	if err != nil {
		return fmt.Errorf("look at the queue: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.looked = time.Now()
	for _, t := range q.turns {
		t.forget(b.idle)
	}
	return nil
}

// mayList reports whether this look lists a queue of n tasks. It resets that a stray rang a bell.
func (q *queue) mayList(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	stray := q.stray
	q.stray = false
	return n <= lookAll || stray || time.Since(q.listed) >= listShare*q.listing
}

// list marks the projects of the subjects that there are, and moves strays to the dead letters.
func (b *Bus) list(ctx context.Context, q *queue, filter string) error {
	begun := time.Now()
	subjects, err := b.subjects(ctx, streamTasks, filter)
	if err != nil {
		return err
	}
	type waits struct {
		priority pipeline.Priority
		project  string
	}
	found := map[waits]bool{}
	var strays []string
	for subject := range subjects {
		if p, project, ok := projectOf(subject); ok {
			found[waits{p, project}] = true
		} else {
			strays = append(strays, subject)
		}
	}
	for w := range found {
		q.mark(w.priority, w.project, 1)
	}
	q.mu.Lock()
	q.listed, q.listing = time.Now(), time.Since(begun)
	q.mu.Unlock()
	for _, subject := range strays {
		if err := b.moveStrays(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// countKnown marks those of the known projects that have a task: the lookCounts that were not counted for
// longest.
func (b *Bus) countKnown(ctx context.Context, q *queue) error {
	for _, s := range q.known(lookCounts) {
		n, err := b.countFrom(ctx, tasksFilter(s.worker, s.priority, s.project), 1)
		if err != nil {
			return err
		}
		if n > 0 {
			q.mark(s.priority, s.project, 1)
		}
	}
	return nil
}

// known returns up to n projects that are not to be pulled anyway, those that were not counted for longest.
// They count as counted now.
func (q *queue) known(n int) []*share {
	q.mu.Lock()
	defer q.mu.Unlock()
	var known []*share
	for _, t := range q.turns {
		for _, s := range t.projects {
			if s.pulls == 0 {
				known = append(known, s)
			}
		}
	}
	slices.SortFunc(known, func(a, b *share) int { return a.counted.Compare(b.counted) })
	known = known[:min(n, len(known))]
	for _, s := range known {
		s.counted = time.Now()
	}
	return known
}
