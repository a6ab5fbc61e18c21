package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Backlog is the tasks of one worker type.
type Backlog struct {
	Tasks map[pipeline.Priority]int // waiting or taken; a missing priority has none
	// Oldest is when the oldest task that was never delivered was enqueued, or became due if it is a retry; zero
	// when none waits.
	Oldest time.Time
}

// Backlogs returns the backlog of each worker type that has tasks. It makes two requests, of which one lists
// the subject of every task (some 30 ms for 10,000 tasks), and one for each lane in which a task waits.
//
// Not guaranteed: a task that was returned, or whose lease ran out, does not count for Oldest.
func (b *Bus) Backlogs(ctx context.Context) (map[string]Backlog, error) {
	backlogs, lanes := map[string]Backlog{}, map[string]string{}
	there, err := b.subjects(ctx, streamTasks, "task.>")
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	for subject, n := range there {
		if _, _, ok := laneOf(subject); !ok {
			continue // no task: a look will move it to the dead letters
		}
		worker, p, lane := splitTask(subject)
		if backlogs[worker].Tasks == nil {
			backlogs[worker] = Backlog{Tasks: map[pipeline.Priority]int{}}
		}
		backlogs[worker].Tasks[p] += int(n)
		lanes[laneName(worker, p, lane)] = laneFilter(worker, p, lane)
	}
	if len(lanes) == 0 {
		return backlogs, nil
	}
	given, err := b.given(ctx)
	if err != nil {
		return nil, err
	}
	for name, filter := range lanes {
		m, err := b.message(ctx, streamTasks, want{Sequence: given[name] + 1, NextOf: filter})
		if err != nil {
			return nil, fmt.Errorf("look for the oldest task of %s: %w", name, err)
		}
		if m == nil {
			continue // everything in the lane is with a worker
		}
		worker, _, _ := splitTask(m.Subject)
		if of := backlogs[worker]; of.Oldest.IsZero() || m.Time.Before(of.Oldest) {
			of.Oldest = m.Time
			backlogs[worker] = of
		}
	}
	return backlogs, nil
}

// given returns the last sequence that was delivered in each lane, by the name of the lane's consumer.
func (b *Bus) given(ctx context.Context) (map[string]uint64, error) {
	stream, err := b.js.Stream(ctx, streamTasks)
	if err != nil {
		return nil, fmt.Errorf("list the lanes: %w", err)
	}
	given := map[string]uint64{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		given[info.Name] = info.Delivered.Stream
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the lanes: %w", err)
	}
	return given, nil
}

// ScheduledCount returns how many jobs have a retry that is not yet due.
func (b *Bus) ScheduledCount(ctx context.Context) (int, error) {
	n, err := b.countFrom(ctx, "retry.>", 1)
	if err != nil {
		return 0, fmt.Errorf("count schedules: %w", err)
	}
	return n, nil
}
