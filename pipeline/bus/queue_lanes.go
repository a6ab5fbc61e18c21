package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// queue is the tasks of one worker type, as this process knows them. Its callers stand in lines, one for each
// least priority that they take:
//
//  1. The first of a line (line.turn) takes, and when there is nothing it waits for the line's own bell: a
//     bell wakes one caller of a line, not all, and none hears a bell that was for another line.
//  2. What may wait is noted in the lanes before any bell rings, and is for whoever looks first. So one who
//     was woken and leaves, or takes something else, leaves nothing behind that the next one misses.
//  3. Lines take turns at the server (pulling), for as long as a take lasts and not while they wait. They
//     share what they find: a queue is looked at once in a poll, however many lines wait.
type queue struct {
	worker  string
	lines   [3]line       // as pipeline.Priorities, by the least priority
	pulling chan struct{} // held while the server is asked; guards what follows, and line.taken

	cursors map[pipeline.Priority]int // the lane that is next, by priority

	mu     sync.Mutex
	looked time.Time                                   // when look was last done
	lanes  map[pipeline.Priority]*[pipeline.Lanes]lane // the looks of each
	stray  bool                                        // a task came that stands in no lane
}

// line is the callers who take the same priorities.
type line struct {
	turn  chan struct{} // held by the first
	bell  chan struct{}
	taken int
}

// lane is the tasks of one worker type and priority in one lane.
type lane struct {
	consumer jetstream.Consumer // nil until something was known to wait here; guarded by queue.pulling
	looks    int                // how often it is still to be pulled without success; guarded by queue.mu
	again    time.Time          // no pull before; guarded by queue.mu
}

// echoes are the pauses before a lane is pulled again after a bell. The server rings before its consumers
// have counted the task (stream.go, processJetStreamMsgWithBatch: the copy goes out, then another goroutine
// signals the consumers), so a pull that follows the bell closely may find nothing.
//
// The last of them is for a machine so busy that the other goroutine has to wait.
var echoes = []time.Duration{ // by how many looks are left
	500 * time.Millisecond, 50 * time.Millisecond, 5 * time.Millisecond,
}

// queue returns the queue of a worker type, and listens to its doorbell from the first time on.
func (b *Bus) queue(worker string) (*queue, error) {
	if !pipeline.ValidName(worker) {
		return nil, fmt.Errorf("take a task: unusable worker type %q", worker)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if q, ok := b.queues[worker]; ok {
		return q, nil
	}
	q := &queue{
		worker: worker, pulling: make(chan struct{}, 1),
		cursors: map[pipeline.Priority]int{}, lanes: map[pipeline.Priority]*[pipeline.Lanes]lane{},
	}
	for i, p := range pipeline.Priorities {
		q.lanes[p] = new([pipeline.Lanes]lane)
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

// rang notes that something may wait on a task subject; one that is in no lane has the queue looked at.
func (q *queue) rang(subject string) {
	if p, n, ok := laneOf(subject); ok {
		q.mark(p, n, len(echoes)+1)
		return
	}
	q.mu.Lock()
	q.stray = true
	q.mu.Unlock()
	for i := range q.lines {
		ring(q.lines[i].bell)
	}
}

// mark notes that something may wait in a lane, which is pulled until that many pulls found nothing, and
// wakes the lines that take it: those that take nothing less first, so that the others stay free for the
// rest.
func (q *queue) mark(p pipeline.Priority, n, looks int) {
	q.mu.Lock()
	if l := &q.lanes[p][n]; looks > l.looks {
		l.looks, l.again = looks, time.Time{}
	}
	q.mu.Unlock()
	for i := slices.Index(pipeline.Priorities, p); i < len(q.lines); i++ {
		ring(q.lines[i].bell)
	}
}

// laneOf returns the priority and lane of a task subject.
func laneOf(subject string) (p pipeline.Priority, n int, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 7 {
		return "", 0, false
	}
	p = pipeline.Priority(parts[2])
	n, err := strconv.Atoi(parts[3])
	ok = err == nil && slices.Contains(pipeline.Priorities, p) && n >= 0 && n < pipeline.Lanes &&
		strconv.Itoa(n) == parts[3]
	return p, n, ok
}

// wants reports whether a lane is to be pulled now.
func (q *queue) wants(p pipeline.Priority, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[p][n]
	return l.looks > 0 && !time.Now().Before(l.again)
}

// missed notes that a pull of a lane found nothing.
func (q *queue) missed(p pipeline.Priority, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[p][n]
	if l.looks = max(l.looks-1, 0); l.looks > 0 {
		l.again = time.Now().Add(echoes[l.looks-1])
	}
}

// due reports whether the whole queue is to be looked at.
func (q *queue) due(poll time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stray || time.Since(q.looked) >= poll
}

// pause returns how long to wait for a bell before the next take of those priorities: until a lane is pulled
// again, or until the next look.
func (q *queue) pause(poll time.Duration, served []pipeline.Priority) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stray {
		return 0
	}
	next := q.looked.Add(poll)
	for _, p := range served {
		for i := range q.lanes[p] {
			if l := &q.lanes[p][i]; l.looks > 0 && l.again.Before(next) {
				next = l.again
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

// order returns the priorities that a line takes in the order of this take.
func (l *line) order(served []pipeline.Priority) []pipeline.Priority {
	if l.taken%bulkEvery < bulkEvery-1 {
		return served
	}
	reversed := slices.Clone(served)
	slices.Reverse(reversed)
	return reversed
}

// lookAll is how many tasks of a type may be there for look to read their subjects: those of more take too
// long to do so every two seconds.
const lookAll = 1000

// look asks what the queue holds, and marks the lanes that hold something: a task, or one that is leased and
// may be so no more. It finds what rings no bell: what was there before, leases that ran out, and returns
// with a delay. A message that stands in no lane is moved to the dead letters; in a long queue, only when it
// rang a bell.
//
// It is one request when the queue is empty, two when it is short, and else one for each lane.
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
	switch stray := q.tookStray(); {
	case n > lookAll && !stray:
		err = b.lookAtLanes(linked, q)
	case n > 0:
		err = b.lookAtSubjects(linked, q, all)
	}
	if err != nil {
		return fmt.Errorf("look at the queue: %w", err)
	}
	q.mu.Lock()
	q.looked = time.Now()
	q.mu.Unlock()
	return nil
}

// tookStray reports whether a bell rang for a task that stands in no lane, and forgets it.
func (q *queue) tookStray() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	stray := q.stray
	q.stray = false
	return stray
}

// lookAtLanes marks the lanes that hold something.
func (b *Bus) lookAtLanes(ctx context.Context, q *queue) error {
	for _, p := range pipeline.Priorities {
		for i := range pipeline.Lanes {
			if q.wants(p, i) {
				continue
			}
			filter := laneFilter(q.worker, p, strconv.Itoa(i))
			n, err := b.countFrom(ctx, filter, 1)
			if err != nil {
				return err
			}
			if n > 0 {
				q.mark(p, i, 1)
			}
		}
	}
	return nil
}

// lookAtSubjects marks the lanes of the subjects that there are, and moves strays to the dead letters.
func (b *Bus) lookAtSubjects(ctx context.Context, q *queue, filter string) error {
	subjects, err := b.subjects(ctx, streamTasks, filter)
	if err != nil {
		return err
	}
	var strays []string
	for subject := range subjects {
		if p, n, ok := laneOf(subject); ok {
			q.mark(p, n, 1)
		} else {
			strays = append(strays, subject)
		}
	}
	for _, subject := range strays {
		if err := b.moveStrays(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// consumer returns the durable consumer of a lane, and creates it when it was not asked for before. Attempts
// are counted in the event log, so there is no limit of deliveries; a limit of open acks would let slow jobs
// block others.
func (b *Bus) consumer(ctx context.Context, q *queue, p pipeline.Priority, n int,
) (jetstream.Consumer, error) {
	l := &q.lanes[p][n]
	if l.consumer != nil {
		return l.consumer, nil
	}
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, b.cfg.PublishTimeout)
	defer cancel()
	name := laneName(q.worker, p, strconv.Itoa(n))
	cfg := b.laneConfig(q.worker, p, n)
	c, err := b.ensureConsumer(limited, streamTasks, cfg)
	for n := 1; n < tries && isAPI(err, codeConsumerCreate); n++ {
		// A consumer of that name was deleted, and the server did not wait for its last write, which went to
		// the new one's file. What was begun is gone by now.
		b.recurring.Failed("create a consumer", "consumer", name, "error", err)
		c, err = b.ensureConsumer(limited, streamTasks, cfg)
	}
	if isAPI(err, codeFilterNotUnique) {
		// An earlier version had one consumer for all lanes. What it holds is delivered again.
		old := q.worker + "_" + string(p)
		err = b.js.DeleteConsumer(limited, streamTasks, old)
		if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
			b.log.Info("replace a consumer of an earlier version", "consumer", old, "by", name)
			c, err = b.ensureConsumer(limited, streamTasks, cfg)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", name, err)
	}
	l.consumer = c
	return c, nil
}

// laneConfig is the consumer of a lane.
func (b *Bus) laneConfig(worker string, p pipeline.Priority, n int) jetstream.ConsumerConfig {
	name := laneName(worker, p, strconv.Itoa(n))
	return jetstream.ConsumerConfig{
		Name: name, Durable: name, Description: fmt.Sprintf("Tasks of %s, %s, lane %d", worker, p, n),
		FilterSubject: laneFilter(worker, p, strconv.Itoa(n)),
		AckPolicy:     jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1,
	}
}

// laneName is the name of the consumer of a lane.
func laneName(worker string, p pipeline.Priority, lane string) string {
	return worker + "_" + string(p) + "_" + lane
}

// laneFilter matches the task subjects of a lane.
func laneFilter(worker string, p pipeline.Priority, lane string) string {
	return "task." + worker + "." + string(p) + "." + lane + ".>"
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
