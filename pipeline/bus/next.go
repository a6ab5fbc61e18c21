package bus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	bellPrefix = "bell."
	// pollInterval is how often a queue is looked at when no bell rings: what is delivered again rings none.
	pollInterval = time.Second
	// bulkEvery is how often a take begins with the lowest priority, so that it moves under any load.
	bulkEvery = 8
)

// Next waits for a task of a worker type and takes it: nobody else gets it for Config.AckWait, which Extend
// begins anew. It returns ctx.Err() when ctx ends, and an error when the connection is closed for good; what
// else fails is logged and tried again. Tasks of high priority come first, then normal, then bulk; every
// eighth take begins with bulk. Callers may be many: each gets a task of its own.
//
// A message that is no task, or stands on another subject than its own, is moved to the dead letters as it
// is.
func (b *Bus) Next(ctx context.Context, worker string) (*Delivery, error) {
	q, err := b.queue(worker)
	if err != nil {
		return nil, err
	}
	// One caller pulls at a time: a bell wakes one of them, not all, and an idle process polls once a second.
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for quiet := 0; ctx.Err() == nil; quiet++ {
		d, err := b.take(ctx, q)
		switch {
		case d != nil:
			return d, nil
		case b.nc.IsClosed():
			return nil, fmt.Errorf("take a task of %s: %w", worker, nats.ErrConnectionClosed)
		case err != nil && ctx.Err() == nil:
			b.log.Warn("take a task", "worker", worker, "error", err)
		}
		pause := b.poll
		if quiet < len(echoes) {
			pause = echoes[quiet]
		}
		if q.wait(ctx, pause) {
			quiet = -1
		}
	}
	return nil, ctx.Err()
}

// echoes are the pauses before looking again after a bell, and at first. The server rings before its
// consumers have counted the task (stream.go, processJetStreamMsgWithBatch: the copy goes out, then another
// goroutine signals the consumers), so a look that follows the bell closely may find nothing.
var echoes = []time.Duration{5 * time.Millisecond, 50 * time.Millisecond}

// queue is the tasks of one worker type.
type queue struct {
	worker string
	turn   chan struct{} // held by the caller that pulls; guards what follows
	bell   chan struct{}

	consumers map[pipeline.Priority]jetstream.Consumer
	taken     int
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
		worker: worker, turn: make(chan struct{}, 1), bell: make(chan struct{}, 1),
		consumers: map[pipeline.Priority]jetstream.Consumer{},
	}
	_, err := b.nc.Subscribe(bellPrefix+"task."+worker+".>", func(*nats.Msg) { ring(q.bell) })
	if err != nil {
		return nil, fmt.Errorf("take a task of %s: listen: %w", worker, err)
	}
	b.queues[worker] = q
	return q, nil
}

// wait returns at the next bell, after the pause, or when ctx ends, and whether it was the bell.
func (q *queue) wait(ctx context.Context, pause time.Duration) (rang bool) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-q.bell:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// order returns the priorities in the order of this take.
func (q *queue) order() []pipeline.Priority {
	if q.taken%bulkEvery == bulkEvery-1 {
		return []pipeline.Priority{pipeline.Bulk, pipeline.High, pipeline.Normal}
	}
	return pipeline.Priorities
}

// take looks for a task once; nil when there is none.
func (b *Bus) take(ctx context.Context, q *queue) (*Delivery, error) {
	var failed error
	for _, p := range q.order() {
		m, err := b.pull(ctx, q, p)
		if err != nil {
			failed = err
			continue // another priority may have another leader
		}
		if m == nil {
			continue
		}
		d, err := decodeDelivery(m)
		if err == nil {
			q.taken++
			return d, nil
		}
		if err := b.bury(ctx, m, err); err != nil {
			failed = err
			continue
		}
		ring(q.bell) // there may be a task behind it: look again at once
	}
	return nil, failed
}

// pull takes at most one message of a priority, without waiting for one.
func (b *Bus) pull(ctx context.Context, q *queue, p pipeline.Priority) (jetstream.Msg, error) {
	c, err := b.consumer(ctx, q, p)
	if err != nil {
		return nil, err
	}
	batch, err := c.FetchNoWait(1)
	if err != nil {
		return nil, err
	}
	// Not cut short by ctx: a message on its way would be lost for AckWait. The fetch ends by itself within a
	// second.
	m, ok := <-batch.Messages()
	if ok {
		return m, nil
	}
	if err := batch.Error(); err != nil {
		delete(q.consumers, p) // it may be gone: asked for anew, it is there or created
		return nil, err
	}
	return nil, nil
}

// consumer returns the durable consumer of a worker type and priority, and creates it when it was not asked
// for before. Attempts are counted in the event log, so there is no limit of deliveries; a limit of open acks
// would let slow jobs block others.
func (b *Bus) consumer(ctx context.Context, q *queue, p pipeline.Priority) (jetstream.Consumer, error) {
	if c, ok := q.consumers[p]; ok {
		return c, nil
	}
	linked, unlink, err := b.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, b.cfg.PublishTimeout)
	defer cancel()
	name := q.worker + "_" + string(p)
	c, err := b.js.CreateOrUpdateConsumer(limited, streamTasks, jetstream.ConsumerConfig{
		Name: name, Durable: name, Description: "Tasks of " + q.worker + ", " + string(p),
		FilterSubject: "task." + q.worker + "." + string(p) + ".>",
		AckPolicy:     jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", name, err)
	}
	q.consumers[p] = c
	return c, nil
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Delivery is a task that this process holds until AckWait has passed since it was taken or last extended.
type Delivery struct {
	msg      jetstream.Msg
	task     pipeline.Task
	sequence uint64
}

func decodeDelivery(m jetstream.Msg) (*Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	d := &Delivery{msg: m, sequence: meta.Sequence.Stream}
	if err := json.Unmarshal(m.Data(), &d.task); err != nil {
		return nil, fmt.Errorf("decode task: %w", err)
	}
	if err := checkTask(d.task); err != nil {
		return nil, err
	}
	if s := d.task.Subject(); s != m.Subject() {
		return nil, fmt.Errorf("a task of %s stands on %s", s, m.Subject())
	}
	return d, nil
}

// Task returns what is to be done.
func (d *Delivery) Task() pipeline.Task { return d.task }

// Sequence returns the message's place in the stream. It is the same when the message is delivered again, and
// no other message has it.
func (d *Delivery) Sequence() uint64 { return d.sequence }

// Extend begins the lease anew. It does not wait for the server, so nil does not say that the lease was still
// held.
func (d *Delivery) Extend(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.msg.InProgress()
}

// Ack removes the task, and returns when the server has confirmed it. The server takes the ack of a lease
// that has run out, too: who must know that it is still in charge compares and swaps first. Acking again does
// nothing.
func (d *Delivery) Ack(ctx context.Context) error {
	err := d.msg.DoubleAck(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("ack task %d: %w", d.sequence, err)
	}
	return nil
}

// Return gives the task back: it is delivered again at once, to whoever asks first. An idle process asks
// within a second.
func (d *Delivery) Return(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.msg.Nak()
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("return task %d: %w", d.sequence, err)
	}
	return nil
}

// Headers of a message that was moved to the dead letters as it was.
const (
	headerProblem = "Reelmill-Problem" // why it is no task
	headerSubject = "Reelmill-Subject" // where it stood
)

// bury moves a message that is no task to the dead letters, unchanged but for two headers, and removes it.
func (b *Bus) bury(ctx context.Context, m jetstream.Msg, why error) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	dead := nats.NewMsg(buriedSubject(m.Subject(), meta.Sequence.Stream))
	dead.Data = m.Data()
	for name, values := range m.Headers() {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") { // those would act on this stream
			dead.Header[name] = values
		}
	}
	dead.Header.Set(headerProblem, strconv.QuoteToASCII(why.Error()))
	dead.Header.Set(headerSubject, m.Subject())
	if err := b.publishDead(ctx, dead); err != nil {
		return err
	}
	b.log.Error("a message of the task queue is no task; moved to the dead letters",
		"subject", m.Subject(), "dead", dead.Subject, "error", why)
	return m.DoubleAck(ctx)
}

// buriedSubject is dead.<type>.<project>.<video>.<job>.<sequence>, from the tokens of the message's subject;
// one that has other tokens is kept whole, encoded, in the job's place.
func buriedSubject(subject string, sequence uint64) string {
	n := strconv.FormatUint(sequence, 10)
	parts := strings.Split(subject, ".")
	if len(parts) == 7 {
		return strings.Join([]string{"dead", parts[1], parts[4], parts[5], parts[6], n}, ".")
	}
	return "dead.unknown.unknown.unknown." + base64.RawURLEncoding.EncodeToString([]byte(subject)) + "." + n
}
