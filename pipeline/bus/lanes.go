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

// queue is the tasks of one worker type, as this process knows them.
type queue struct {
	worker string
	turn   chan struct{} // held by the caller that pulls; guards what follows
	bell   chan struct{}

	cursors map[pipeline.Priority]int // the lane that is next, by priority
	taken   int
	looked  time.Time // when look was last done

	mu    sync.Mutex
	lanes map[pipeline.Priority]*[pipeline.Lanes]lane // the looks of each
	stray bool                                        // a task came that stands in no lane
}

// lane is the tasks of one worker type and priority in one lane.
type lane struct {
	consumer jetstream.Consumer // nil until something was known to wait here; guarded by queue.turn
	looks    int                // how often it is still to be pulled without success; guarded by queue.mu
}

// echoes are the pauses before a lane is pulled again after a bell. The server rings before its consumers
// have counted the task (stream.go, processJetStreamMsgWithBatch: the copy goes out, then another goroutine
// signals the consumers), so a pull that follows the bell closely may find nothing.
var echoes = []time.Duration{50 * time.Millisecond, 5 * time.Millisecond} // by how many looks are left

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
		worker: worker, turn: make(chan struct{}, 1), bell: make(chan struct{}, 1),
		cursors: map[pipeline.Priority]int{}, lanes: map[pipeline.Priority]*[pipeline.Lanes]lane{},
	}
	for _, p := range pipeline.Priorities {
		q.lanes[p] = new([pipeline.Lanes]lane)
	}
	_, err := b.nc.Subscribe(bellPrefix+"task."+worker+".>", func(m *nats.Msg) {
		q.rang(strings.TrimPrefix(m.Subject, bellPrefix))
		ring(q.bell)
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
	defer q.mu.Unlock()
	q.stray = true
}

// mark notes that something may wait in a lane: it is pulled until that many pulls found nothing.
func (q *queue) mark(p pipeline.Priority, n, looks int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[p][n]
	l.looks = max(l.looks, looks)
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

// wants reports whether a lane is to be pulled.
func (q *queue) wants(p pipeline.Priority, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lanes[p][n].looks > 0
}

// missed notes that a pull of a lane found nothing.
func (q *queue) missed(p pipeline.Priority, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[p][n]
	l.looks = max(l.looks-1, 0)
}

// due reports whether the whole queue is to be looked at.
func (q *queue) due(poll time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stray || time.Since(q.looked) >= poll
}

// pause returns how long to wait for a bell before the next take: until a lane is pulled again, or until the
// next look.
func (q *queue) pause(poll time.Duration) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	looks := 0
	for _, lanes := range q.lanes {
		for i := range lanes {
			looks = max(looks, lanes[i].looks)
		}
	}
	switch {
	case q.stray || looks > len(echoes):
		return 0
	case looks > 0:
		return echoes[looks-1]
	}
	return time.Until(q.looked.Add(poll))
}

// wait returns at the next bell, after the pause, or when ctx ends.
func (q *queue) wait(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-q.bell:
	case <-t.C:
	case <-ctx.Done():
	}
}

// order returns the priorities in the order of this take.
func (q *queue) order() []pipeline.Priority {
	if q.taken%bulkEvery == bulkEvery-1 {
		return []pipeline.Priority{pipeline.Bulk, pipeline.High, pipeline.Normal}
	}
	return pipeline.Priorities
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
	q.looked = time.Now()
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

// lookAtSubjects marks the lanes of the subjects that there are, and buries what stands in none.
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
		if err := b.buryStray(ctx, subject); err != nil {
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
	cfg := jetstream.ConsumerConfig{
		Name: name, Durable: name, Description: fmt.Sprintf("Tasks of %s, %s, lane %d", q.worker, p, n),
		FilterSubject: laneFilter(q.worker, p, strconv.Itoa(n)),
		AckPolicy:     jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1,
	}
	c, err := b.js.CreateOrUpdateConsumer(limited, streamTasks, cfg)
	if isAPI(err, codeFilterNotUnique) {
		// An earlier version had one consumer for all lanes. What it holds is delivered again.
		old := q.worker + "_" + string(p)
		err = b.js.DeleteConsumer(limited, streamTasks, old)
		if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
			b.log.Info("replace a consumer of an earlier version", "consumer", old, "by", name)
			c, err = b.js.CreateOrUpdateConsumer(limited, streamTasks, cfg)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", name, err)
	}
	l.consumer = c
	return c, nil
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
