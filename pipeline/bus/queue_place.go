package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// Queued reports whether t's job has a schedule, or a task that will still be delivered. t may have any
// cause.
//
// It removes a task that its consumer has forgotten, and does not count it, so that it can be enqueued again.
// The server reports for each consumer up to which sequence everything is acknowledged; a task below that is
// never delivered again.
func (b *Bus) Queued(ctx context.Context, t pipeline.Task) (bool, error) {
	schedule, task, err := b.standing(ctx, t)
	if err != nil || schedule != nil || task == nil {
		return schedule != nil, err
	}
	info, err := b.consumerInfo(ctx, t)
	if err != nil {
		return true, fmt.Errorf("look at the consumer of %s: %w", t.Subject(), err)
	}
	if info == nil || task.Sequence > info.AckFloor.Stream {
		return true, nil
	}
	b.log.Error("the broker has forgotten a task that nobody has acknowledged", "subject", t.Subject(),
		"sequence", task.Sequence, "floor", info.AckFloor.Stream)
	if _, err := b.remove(ctx, streamTasks, task.Sequence); err != nil {
		return true, fmt.Errorf("remove %s: %w", t.Subject(), err)
	}
	return false, nil
}

// Due returns when the schedule of t's job becomes its task; the zero time when there is none. t may have any
// cause.
func (b *Bus) Due(ctx context.Context, t pipeline.Task) (time.Time, error) {
	if err := checkTask(t); err != nil {
		return time.Time{}, err
	}
	schedule, err := b.lastTask(ctx, retrySubject(t))
	if err != nil || schedule == nil {
		return time.Time{}, err
	}
	return dueAt(schedule)
}

// standing reads the schedule of t's job and then its task, so that it sees a schedule which becomes the
// task in between. Each is nil when there is none.
func (b *Bus) standing(ctx context.Context, t pipeline.Task) (schedule, task *message, err error) {
	if err := checkTask(t); err != nil {
		return nil, nil, err
	}
	if schedule, err = b.lastTask(ctx, retrySubject(t)); err != nil {
		return nil, nil, fmt.Errorf("look for %s: %w", retrySubject(t), err)
	}
	if task, err = b.lastTask(ctx, t.Subject()); err != nil {
		return nil, nil, fmt.Errorf("look for %s: %w", t.Subject(), err)
	}
	return schedule, task, nil
}

// Place returns where t's job is in the queue. t has the worker type and priority of the job's task, and any
// cause. It makes at most eight requests and reads no other task, however many wait.
//
// Not guaranteed: a task that was returned, or whose lease ran out, counts as Taken until somebody takes it
// again. Tasks that are enqueued or taken meanwhile may count or not.
func (b *Bus) Place(ctx context.Context, t pipeline.Task) (pipeline.Place, error) {
	var place pipeline.Place
	schedule, task, err := b.standing(ctx, t)
	if err != nil {
		return place, err
	}
	if schedule != nil && (task == nil || causeOf(task) < causeOf(schedule)) { // else it has become the task
		due, err := dueAt(schedule)
		if err != nil {
			return place, err
		}
		place.DueAt = &due
	}
	if task == nil {
		return place, nil
	}
	place.Queued = true
	untaken, err := b.untaken(ctx, t)
	if err != nil {
		return place, fmt.Errorf("place of %s: %w", t.Subject(), err)
	}
	if place.Taken = task.Sequence < untaken; place.Taken {
		return place, nil
	}
	_, p, _ := splitTask(t.Subject())
	filter := tasksFilter(t.Job.Worker, p, t.Project)
	waiting, err := b.countFrom(ctx, filter, untaken)
	if err != nil {
		return place, fmt.Errorf("place of %s: %w", t.Subject(), err)
	}
	rest, err := b.countFrom(ctx, filter, task.Sequence) // the task and what is behind it
	if err != nil {
		return place, fmt.Errorf("place of %s: %w", t.Subject(), err)
	}
	place.Ahead = max(waiting-rest, 0)
	place.Limit, err = b.reached(ctx, t)
	return place, err
}

// untaken returns the first sequence of t's project, worker type and priority that was never delivered.
func (b *Bus) untaken(ctx context.Context, t pipeline.Task) (uint64, error) {
	info, err := b.consumerInfo(ctx, t)
	if err != nil || info == nil {
		return 1, err
	}
	return info.Delivered.Stream + 1, nil
}

// consumerInfo returns the state of the consumer of t. It returns nil when there is none.
func (b *Bus) consumerInfo(ctx context.Context, t pipeline.Task) (*jetstream.ConsumerInfo, error) {
	worker, p, project := splitTask(t.Subject())
	var c jetstream.Consumer
	err := b.patiently(ctx, func(ctx context.Context) (err error) {
		c, err = b.js.Consumer(ctx, streamTasks, consumerName(worker, p, project))
		return err
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.CachedInfo(), nil
}

// splitTask returns the worker type, priority and project of a task's subject.
func splitTask(subject string) (worker string, p pipeline.Priority, project string) {
	parts := strings.SplitN(subject, ".", 6)
	return parts[1], pipeline.Priority(parts[2]), parts[4]
}

// causeOf returns the cause of a stored task, or 0 for a message that is no task.
func causeOf(m *message) uint64 {
	var t pipeline.Task
	if json.Unmarshal(m.Data, &t) != nil {
		return 0
	}
	return t.Cause
}

// dueAt returns when a schedule becomes a task.
func dueAt(schedule *message) (time.Time, error) {
	at, ok := strings.CutPrefix(schedule.Header.Get(jetstream.ScheduleHeader), "@at ")
	due, err := time.Parse(time.RFC3339Nano, at)
	if !ok || err != nil {
		return due, fmt.Errorf("%s: the schedule %q has no time", schedule.Subject, at)
	}
	return due, nil
}

// Withdraw removes the tasks of jobs, waiting or taken, and their schedules. Having none is no error. A
// worker that has such a task may acknowledge, extend or return it: nothing happens.
//
// Not guaranteed: that it removes a task that is enqueued, or becomes due, while it runs. Whoever takes that
// one sees in the log that nobody wants it.
func (b *Bus) Withdraw(ctx context.Context, project, video string, jobs ...string) error {
	if err := checkVideo(project, video); err != nil {
		return fmt.Errorf("withdraw: %w", err)
	}
	unwanted := map[string]bool{}
	for _, job := range jobs {
		if !pipeline.ValidName(job) {
			return fmt.Errorf("withdraw: invalid name %q of a job", job)
		}
		unwanted[job] = true
	}
	of := project + "." + video + ".*"
	for _, filter := range []string{"retry." + of, "task.*.*.*." + of} { // a schedule may yet become a task
		err := b.removeAll(ctx, streamTasks, filter, func(m *message) bool {
			return unwanted[m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]]
		})
		if err != nil {
			return fmt.Errorf("withdraw jobs of %s: %w", video, err)
		}
	}
	return nil
}
