package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// pausePrefix comes before the worker type in the subject of its pause.
const pausePrefix = "$KV." + bucketControl + ".pause."

// Pause makes all processes take no further task of a worker type, until Resume, also after restarts. Tasks
// that are with a process stay there, and the others wait: a task does not expire. A pause of a paused queue
// changes the reason. A process that is about to take a task may still take that one.
func (b *Bus) Pause(ctx context.Context, worker, reason string) (pipeline.Pause, error) {
	p := pipeline.Pause{Reason: reason, Since: time.Now().UTC()}
	if !pipeline.ValidName(worker) {
		return p, fmt.Errorf("pause %q: %w", worker, pipeline.ErrNotFound)
	}
	before, err := b.pauseOf(ctx, worker)
	if err != nil {
		return p, fmt.Errorf("pause %s: %w", worker, err)
	}
	if before != nil {
		p.Since = before.Since
	}
	doc, err := json.Marshal(p)
	if err == nil {
		_, err = b.publish(ctx, documentOn(pausePrefix+worker, doc), jetstream.WithExpectStream(streamControl))
	}
	if err != nil {
		return p, fmt.Errorf("pause %s: %w", worker, err)
	}
	return p, nil
}

// Resume ends a pause. It wakes all processes that run the worker type. A queue that is not paused stays as
// it is.
func (b *Bus) Resume(ctx context.Context, worker string) error {
	before, err := b.pauseOf(ctx, worker)
	if err == nil && before == nil {
		return nil
	}
	if err == nil {
		_, err = b.publish(ctx, removalOf(pausePrefix+worker), jetstream.WithExpectStream(streamControl))
	}
	if err == nil {
		// No subject of a task: every process looks at the queue.
		err = b.nc.Publish(bellPrefix+"task."+worker+".resumed", nil)
	}
	if err != nil {
		return fmt.Errorf("resume %s: %w", worker, err)
	}
	return nil
}

// removalOf returns the message that removes the key of a subject from its bucket.
func removalOf(subject string) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{"KV-Operation": {"DEL"}}}
}

// pauseOf returns the pause of a worker type; nil when it is not paused.
func (b *Bus) pauseOf(ctx context.Context, worker string) (*pipeline.Pause, error) {
	m, err := b.message(ctx, streamControl, want{LastOf: pausePrefix + worker})
	if err != nil || m == nil || isRemoval(m) {
		return nil, err
	}
	return decodePause(m)
}

func decodePause(m *message) (*pipeline.Pause, error) {
	var p pipeline.Pause
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return nil, fmt.Errorf("read the pause of %s: %w", strings.TrimPrefix(m.Subject, pausePrefix), err)
	}
	return &p, nil
}

// held reports whether the queue is paused. If it is, what waits is forgotten until the next look.
func (b *Bus) held(ctx context.Context, q *queue) (bool, error) {
	if !q.wantsAny() {
		return false, nil // there is nothing to take
	}
	p, err := b.pauseOf(ctx, q.worker)
	if err != nil || p == nil {
		return false, err
	}
	q.forget()
	return true, nil
}

// wantsAny reports whether something may wait of any project.
func (q *queue) wantsAny() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.turns {
		for _, s := range t.projects {
			if s.pulls > 0 {
				return true
			}
		}
	}
	return false
}

// forget clears the notes of what may wait: the next look finds it again.
func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.turns {
		for _, s := range t.projects {
			s.pulls = 0
		}
	}
}

// Queues returns the queue of each worker type that some process runs, that has tasks, or that is paused, by
// worker type. It makes the requests of Backlogs and of Present, and one for each type.
func (b *Bus) Queues(ctx context.Context) ([]pipeline.WorkerQueue, error) {
	present, err := b.Present(ctx)
	if err != nil {
		return nil, err
	}
	backlogs, err := b.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	taken, err := b.taken(ctx)
	if err != nil {
		return nil, err
	}
	pauses, err := b.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]*pipeline.WorkerQueue{}
	of := func(worker string) *pipeline.WorkerQueue {
		if all[worker] == nil {
			all[worker] = &pipeline.WorkerQueue{Worker: worker, Taken: taken[worker]}
		}
		return all[worker]
	}
	for worker, backlog := range backlogs {
		q := of(worker)
		q.Tasks, q.Oldest = backlog.Tasks, backlog.Oldest
	}
	for _, p := range present {
		r := pipeline.Runner{Process: p.Process, Version: p.Version, Slots: 1, Schema: p.Schema}
		if p.Slots != nil {
			r.Slots = *p.Slots
		}
		q := of(p.Type)
		q.Running = append(q.Running, r)
	}
	for worker, p := range pauses {
		of(worker).Pause = &p
	}
	queues := []pipeline.WorkerQueue{}
	for _, worker := range slices.Sorted(maps.Keys(all)) {
		queues = append(queues, *all[worker])
	}
	return queues, nil
}

// taken returns how many tasks of each worker type are with a process.
func (b *Bus) taken(ctx context.Context) (map[string]int, error) {
	stream, err := b.js.Stream(ctx, streamTasks)
	if err != nil {
		return nil, fmt.Errorf("count taken tasks: %w", err)
	}
	taken := map[string]int{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if parts := strings.Split(info.Config.FilterSubject, "."); len(parts) > 1 {
			taken[parts[1]] += info.NumAckPending
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("count taken tasks: %w", err)
	}
	return taken, nil
}

// Pauses returns the pauses by worker type, with a request for each.
func (b *Bus) Pauses(ctx context.Context) (map[string]pipeline.Pause, error) {
	pauses := map[string]pipeline.Pause{}
	for next := uint64(1); ; {
		m, err := b.message(ctx, streamControl, want{Sequence: next, NextOf: pausePrefix + ">"})
		if err == nil && m == nil {
			return pauses, nil
		}
		if err == nil && !isRemoval(m) {
			var p *pipeline.Pause
			if p, err = decodePause(m); err == nil {
				pauses[strings.TrimPrefix(m.Subject, pausePrefix)] = *p
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list paused queues: %w", err)
		}
		next = m.Sequence + 1
	}
}
