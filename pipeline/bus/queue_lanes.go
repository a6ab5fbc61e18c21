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

// queue is the tasks of one worker type, as this process knows them. Callers wait in lines, one line for each
// least priority that they take:
//
//  1. The first caller of a line (line.turn) takes. When there is nothing, it waits for the line's own bell.
//     So a bell wakes one caller of a line, not all, and no caller hears the bell of another line.
//  2. A lane notes that something may wait before any bell rings, and the note is for whoever looks first. So
//     when a caller is woken and leaves, or takes something else, the next one misses nothing.
//  3. Lines take turns at the server (pulling), for the time of a take and not while they wait. They share
//     what they find: there is one look at the queue in a poll interval, however many lines wait.
type queue struct {
	worker  string
	lines   [3]line       // as pipeline.Priorities, by the least priority
	pulling chan struct{} // held during requests to the server; guards cursors and line.taken

	cursors map[pipeline.Priority]int // the next lane, by priority

	mu     sync.Mutex
	looked time.Time                                   // the time of the last look
	lanes  map[pipeline.Priority]*[pipeline.Lanes]lane // by priority
	stray  bool                                        // a task came whose subject is in no lane
}

// line is the callers that take the same priorities.
type line struct {
	turn  chan struct{} // held by the first caller
	bell  chan struct{}
	taken int
}

// lane is the tasks of one worker type and priority in one lane.
type lane struct {
	consumer jetstream.Consumer // nil until a task may wait here; guarded by queue.pulling
	pulls    int                // how many more pulls may find nothing; guarded by queue.mu
	again    time.Time          // the next pull is not before; guarded by queue.mu
}

// pullPauses are the pauses before a lane is pulled again after a bell. The server rings before its consumers
// have counted the task (stream.go, processJetStreamMsgWithBatch: it sends the copy, then another goroutine
// signals the consumers), so a pull soon after the bell may find nothing.
//
// The longest is for a machine so busy that the other goroutine has to wait.
var pullPauses = []time.Duration{ // by how many pulls are left
	500 * time.Millisecond, 50 * time.Millisecond, 5 * time.Millisecond,
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

// rang notes that a task may wait on a subject. A subject that is in no lane makes the next take look at the
// queue.
func (q *queue) rang(subject string) {
	if p, n, ok := laneOf(subject); ok {
		q.mark(p, n, len(pullPauses)+1)
		return
	}
	q.mu.Lock()
	q.stray = true
	q.mu.Unlock()
	for i := range q.lines {
		ring(q.lines[i].bell)
	}
}

// mark notes that something may wait in a lane, to be pulled until that many pulls found nothing. It wakes
// the lines that take the priority. It begins with those that take no lower one, so that the others stay
// free for the rest.
func (q *queue) mark(p pipeline.Priority, n, pulls int) {
	q.mu.Lock()
	if l := &q.lanes[p][n]; pulls > l.pulls {
		l.pulls, l.again = pulls, time.Time{}
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

// wants reports whether to pull a lane now.
func (q *queue) wants(p pipeline.Priority, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[p][n]
	return l.pulls > 0 && !time.Now().Before(l.again)
}

// missed notes that a pull of a lane found nothing.
func (q *queue) missed(p pipeline.Priority, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[p][n]
	if l.pulls = max(l.pulls-1, 0); l.pulls > 0 {
		l.again = time.Now().Add(pullPauses[l.pulls-1])
	}
}

// due reports whether to look at the whole queue now.
func (q *queue) due(poll time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stray || time.Since(q.looked) >= poll
}

// pause returns how long to wait for a bell before the next take of these priorities: until the next pull of
// a lane, or the next look.
func (q *queue) pause(poll time.Duration, served []pipeline.Priority) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stray {
		return 0
	}
	next := q.looked.Add(poll)
	for _, p := range served {
		for i := range q.lanes[p] {
			if l := &q.lanes[p][i]; l.pulls > 0 && l.again.Before(next) {
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

// order returns the priorities of a line in the order for this take.
func (l *line) order(served []pipeline.Priority) []pipeline.Priority {
	if l.taken%bulkEvery < bulkEvery-1 {
		return served
	}
	reversed := slices.Clone(served)
	slices.Reverse(reversed)
	return reversed
}

// lookAll is the most tasks of a worker type of which look reads the subjects. Reading more every two seconds
// takes too long.
const lookAll = 1000

// look asks the server what the queue holds, and marks the lanes that hold a task, taken or not. It finds
// what rings no bell: tasks that were there before, leases that ran out, and returns with a delay. It moves
// messages whose subject is in no lane to the dead letters; in a long queue, only when one rang a bell.
//
// It makes one request when the queue is empty, two when it is short, and else one for each lane.
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

// tookStray reports whether a bell rang for a subject that is in no lane, and resets that.
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

// consumer returns the durable consumer of a lane, and creates it if necessary. It has no limit of
// deliveries, because the event log counts attempts, and no limit of open acks, because slow jobs would
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
		// A consumer of that name was deleted. The server did not wait for its last write, which went into the
		// new consumer's file. By now the file is gone.
		b.recurring.Failed("create a consumer", "consumer", name, "error", err)
		c, err = b.ensureConsumer(limited, streamTasks, cfg)
	}
	if isAPI(err, codeFilterNotUnique) {
		// An earlier version had one consumer for all lanes. The tasks that it holds are delivered again.
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

// laneConfig returns what the consumer of a lane must be.
func (b *Bus) laneConfig(worker string, p pipeline.Priority, n int) jetstream.ConsumerConfig {
	name := laneName(worker, p, strconv.Itoa(n))
	return jetstream.ConsumerConfig{
		Name: name, Durable: name, Description: fmt.Sprintf("Tasks of %s, %s, lane %d", worker, p, n),
		FilterSubject: laneFilter(worker, p, strconv.Itoa(n)),
		AckPolicy:     jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1,
	}
}

// laneName returns the name of the consumer of a lane.
func laneName(worker string, p pipeline.Priority, lane string) string {
	return worker + "_" + string(p) + "_" + lane
}

// laneFilter returns a filter that matches the task subjects of a lane.
func laneFilter(worker string, p pipeline.Priority, lane string) string {
	return "task." + worker + "." + string(p) + "." + lane + ".>"
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
