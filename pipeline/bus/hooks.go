package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// Hooks is what package webhooks keeps on the broker: endpoints in a bucket, attempts that are due in a
// queue, and records of deliveries. It is a webhooks.Bucket, Queue and Records, and safe for concurrent
// use.
type Hooks struct {
	b *Bus

	mu       sync.Mutex
	seen     uint64 // sequence of the last write of an endpoint that all has
	all      []webhooks.Endpoint
	consumer jetstream.Consumer // of the queue; nil until it is needed
}

// Hooks returns what the broker keeps for webhooks.
func (b *Bus) Hooks() *Hooks { return &Hooks{b: b} }

const (
	endpointKeys = "endpoint."
	healthKeys   = "health."
	hooksPrefix  = "$KV." + bucketHooks + "."
)

// key returns the key of a document about an endpoint. Names that are not one token have none.
func hookKey(kind, project, id string) (string, error) {
	if !pipeline.ValidName(project) || !pipeline.ValidName(id) {
		return "", pipeline.ErrNotFound
	}
	return kind + project + "." + id, nil
}

// AllEndpoints implements webhooks.Bucket. It reads the endpoints again only when one was written since.
func (h *Hooks) AllEndpoints(ctx context.Context) ([]webhooks.Endpoint, error) {
	last, err := h.b.message(ctx, streamHooks, want{LastOf: hooksPrefix + endpointKeys + ">"})
	if err != nil || last == nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if last.Sequence <= h.seen {
		return h.all, nil
	}
	all, seen, err := h.readEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	h.all, h.seen = all, max(seen, last.Sequence)
	return all, nil
}

// readEndpoints reads all endpoints, one request each, and the sequence of the last write among them.
func (h *Hooks) readEndpoints(ctx context.Context) (all []webhooks.Endpoint, seen uint64, err error) {
	for next := uint64(1); ; {
		m, err := h.b.message(ctx, streamHooks, want{Sequence: next, NextOf: hooksPrefix + endpointKeys + ">"})
		if err != nil || m == nil {
			return all, seen, err
		}
		next, seen = m.Sequence+1, m.Sequence
		if isRemoval(m) {
			continue
		}
		e, err := decodeEndpoint(m)
		if err != nil {
			h.b.log.Error("skip a webhook endpoint that cannot be read", "subject", m.Subject, "error", err)
			continue
		}
		all = append(all, e)
	}
}

func isRemoval(m *message) bool { return m.Header.Get("KV-Operation") != "" }

func decodeEndpoint(m *message) (e webhooks.Endpoint, err error) {
	if err := json.Unmarshal(m.Data, &e); err != nil {
		return e, fmt.Errorf("decode webhook endpoint: %w", err)
	}
	e.Revision = m.Sequence
	return e, nil
}

// document reads a document of the bucket; nil when there is none. revision is that of the last write, even
// one that removed it.
func (h *Hooks) document(ctx context.Context, key string) (m *message, revision uint64, err error) {
	m, err = h.b.message(ctx, streamHooks, want{LastOf: hooksPrefix + key})
	if err != nil || m == nil {
		return nil, 0, err
	}
	if isRemoval(m) {
		return nil, m.Sequence, nil
	}
	return m, m.Sequence, nil
}

// put writes a document after the revision that is there.
func (h *Hooks) put(ctx context.Context, key string, after uint64, doc any) (uint64, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return 0, err
	}
	return h.b.swapIn(ctx, streamHooks, documentOn(hooksPrefix+key, raw), after)
}

// Endpoint implements webhooks.Bucket.
func (h *Hooks) Endpoint(ctx context.Context, project, id string) (webhooks.Endpoint, error) {
	key, err := hookKey(endpointKeys, project, id)
	if err != nil {
		return webhooks.Endpoint{}, err
	}
	m, _, err := h.document(ctx, key)
	switch {
	case err != nil:
		return webhooks.Endpoint{}, fmt.Errorf("read webhook endpoint %s: %w", id, err)
	case m == nil:
		return webhooks.Endpoint{}, pipeline.ErrNotFound
	}
	return decodeEndpoint(m)
}

// PutEndpoint implements webhooks.Bucket.
func (h *Hooks) PutEndpoint(ctx context.Context, e webhooks.Endpoint) (webhooks.Endpoint, error) {
	key, err := hookKey(endpointKeys, e.Project, e.ID)
	if err != nil {
		return e, err
	}
	if e.Revision, err = h.put(ctx, key, e.Revision, e); err != nil {
		return e, fmt.Errorf("keep webhook endpoint %s: %w", e.ID, err)
	}
	return e, nil
}

// DeleteEndpoint implements webhooks.Bucket. An id is never used again, so nothing is left of its documents
// but the mark that they were removed.
func (h *Hooks) DeleteEndpoint(ctx context.Context, project, id string) error {
	for _, kind := range []string{endpointKeys, healthKeys} {
		key, err := hookKey(kind, project, id)
		if err != nil {
			return nil //nolint:nilerr // no endpoint has such a name
		}
		m := removalOf(hooksPrefix + key)
		if _, err := h.b.publish(ctx, m, jetstream.WithExpectStream(streamHooks)); err != nil {
			return fmt.Errorf("delete webhook endpoint %s: %w", id, err)
		}
	}
	return nil
}

// Health implements webhooks.Bucket.
func (h *Hooks) Health(ctx context.Context, project, id string) (health webhooks.Health, err error) {
	key, err := hookKey(healthKeys, project, id)
	if err != nil {
		return health, err
	}
	m, revision, err := h.document(ctx, key)
	if err != nil {
		return health, fmt.Errorf("read the health of webhook endpoint %s: %w", id, err)
	}
	if m != nil {
		if err := json.Unmarshal(m.Data, &health); err != nil {
			return health, fmt.Errorf("decode the health of webhook endpoint %s: %w", id, err)
		}
	}
	health.Revision = revision
	return health, nil
}

// PutHealth implements webhooks.Bucket.
func (h *Hooks) PutHealth(ctx context.Context, project, id string, health webhooks.Health) error {
	key, err := hookKey(healthKeys, project, id)
	if err == nil {
		_, err = h.put(ctx, key, health.Revision, health)
	}
	if err != nil {
		return fmt.Errorf("keep the health of webhook endpoint %s: %w", id, err)
	}
	return nil
}

// Push implements webhooks.Queue.
func (h *Hooks) Push(ctx context.Context, t webhooks.Task) error {
	m, err := hookMessage(t, hookSubject(t))
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%s/%d/%d", t.Delivery, t.Round, t.Attempt)
	_, err = h.b.publish(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(streamHookTasks))
	if err != nil {
		return fmt.Errorf("queue webhook delivery %s: %w", t.Delivery, err)
	}
	return nil
}

// PushAt implements webhooks.Queue. The message has no id: the server would take the task that a schedule
// becomes for a double of the schedule.
func (h *Hooks) PushAt(ctx context.Context, t webhooks.Task, at time.Time) error {
	m, err := hookMessage(t, "hookretry."+strings.TrimPrefix(hookSubject(t), "hook."))
	if err != nil {
		return err
	}
	m.Header.Set(jetstream.ScheduleHeader, "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set(jetstream.ScheduleTargetHeader, hookSubject(t))
	if _, err := h.b.publish(ctx, m, jetstream.WithExpectStream(streamHookTasks)); err != nil {
		return fmt.Errorf("schedule webhook delivery %s: %w", t.Delivery, err)
	}
	return nil
}

func hookSubject(t webhooks.Task) string {
	return "hook." + t.Project + "." + t.Endpoint + "." + t.Delivery
}

func hookMessage(t webhooks.Task, subject string) (*nats.Msg, error) {
	for _, name := range []string{t.Project, t.Endpoint, t.Delivery} {
		if !pipeline.ValidName(name) {
			return nil, fmt.Errorf("webhook delivery with invalid name %q", name)
		}
	}
	doc, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode webhook delivery %s: %w", t.Delivery, err)
	}
	return documentOn(subject, doc), nil
}

// hookSenders is the name of the durable consumer of Take.
const hookSenders = "senders"

func (b *Bus) hookConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: hookSenders, Durable: hookSenders, Description: "Attempts at webhook deliveries",
		FilterSubject: "hook.>",
		AckPolicy:     jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: min(b.cfg.AckWait, webhooks.MaxLease), MaxDeliver: -1, MaxAckPending: -1,
	}
}

// Take implements webhooks.Queue.
func (h *Hooks) Take(ctx context.Context, most int) ([]webhooks.Lease, error) {
	for ctx.Err() == nil {
		leases, err := h.take(ctx, most)
		if err != nil {
			h.mu.Lock()
			h.consumer = nil // it may be gone: the next take finds or creates it
			h.mu.Unlock()
			return nil, err
		}
		if len(leases) > 0 {
			return leases, nil
		}
	}
	return nil, ctx.Err()
}

// take takes what is there, or waits a while for one task.
func (h *Hooks) take(ctx context.Context, most int) ([]webhooks.Lease, error) {
	linked, unlink, err := h.b.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer unlink()
	limited, cancel := context.WithTimeout(linked, fetchWait)
	defer cancel()
	c, err := h.senders(limited)
	if err != nil {
		return nil, err
	}
	batch, err := c.FetchNoWait(most)
	if err != nil {
		return nil, err
	}
	leases, err := h.collect(ctx, batch)
	if err != nil || len(leases) > 0 {
		return leases, err
	}
	batch, err = c.Fetch(1, jetstream.FetchContext(limited), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return nil, err
	}
	return h.collect(ctx, batch)
}

func (h *Hooks) senders(ctx context.Context) (jetstream.Consumer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.consumer != nil {
		return h.consumer, nil
	}
	c, err := h.b.ensureConsumer(ctx, streamHookTasks, h.b.hookConfig())
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", hookSenders, err)
	}
	h.consumer = c
	return c, nil
}

// collect reads the messages of a fetch. One that is no task is removed, and logged.
func (h *Hooks) collect(ctx context.Context, batch jetstream.MessageBatch) ([]webhooks.Lease, error) {
	var leases []webhooks.Lease
	for m := range batch.Messages() {
		var t webhooks.Task
		if err := json.Unmarshal(m.Data(), &t); err != nil || hookSubject(t) != m.Subject() {
			h.b.log.Error("drop a webhook delivery that cannot be read", "subject", m.Subject(), "error", err)
			if err := m.Term(); err != nil {
				return leases, err
			}
			continue
		}
		leases = append(leases, hookLease{m, t})
	}
	err := batch.Error()
	if err != nil && len(leases) == 0 && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, err
	}
	return leases, nil
}

// hookLease is a webhooks.Lease.
type hookLease struct {
	msg  jetstream.Msg
	task webhooks.Task
}

// Task implements webhooks.Lease.
func (l hookLease) Task() webhooks.Task { return l.task }

// Extend implements webhooks.Lease.
func (l hookLease) Extend(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.msg.InProgress()
}

// Ack implements webhooks.Lease.
func (l hookLease) Ack(ctx context.Context) error {
	err := l.msg.DoubleAck(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("ack webhook delivery %s: %w", l.task.Delivery, err)
	}
	return nil
}

// Return implements webhooks.Lease.
func (l hookLease) Return(ctx context.Context, delay time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := l.msg.NakWithDelay(delay)
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("return webhook delivery %s: %w", l.task.Delivery, err)
	}
	return nil
}

// HookBacklog returns how many attempts at webhook deliveries are due or under way, and how many are
// scheduled for later.
func (b *Bus) HookBacklog(ctx context.Context) (due, later int, err error) {
	if due, err = b.countIn(ctx, streamHookTasks, "hook.>", 1); err == nil {
		later, err = b.countIn(ctx, streamHookTasks, "hookretry.>", 1)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count webhook deliveries: %w", err)
	}
	return due, later, nil
}
