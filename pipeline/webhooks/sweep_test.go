package webhooks_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestNoDeliveryIsLost: events go to endpoints of which every third attempt fails, while the broker, the
// dispatcher and the sender are restarted. Each event reaches each endpoint, and the reference library accepts
// every request. With TEST_SWEEP, there are 10,000 deliveries and ten restarts.
func TestNoDeliveryIsLost(t *testing.T) {
	videos, restarts := 60, 2
	if os.Getenv("TEST_SWEEP") != "" {
		videos, restarts = 2500, 10
	}
	const receivers = 4
	r := newRig(t, webhooks.SenderConfig{})
	var hooks []*receiver
	secrets := map[*receiver]string{}
	for range receivers {
		v := newReceiver(t, func(n int, w http.ResponseWriter, q *http.Request) {
			if fails(q.Header.Get("webhook-id"), n) {
				w.WriteHeader([]int{500, 503, 429, 302, 404}[n%5])
			}
		})
		hooks = append(hooks, v)
		secrets[v] = r.endpoint(v.URL, "video.uploaded").Secrets[0].Value
	}
	ids := map[string]bool{}
	for part := range restarts + 1 {
		for i := range videos / (restarts + 1) {
			ids[r.uploaded(fmt.Sprintf("vid_%d_%d", part, i)).ID] = true
		}
		if part < restarts {
			r.restart()
		}
	}
	for _, v := range hooks {
		accepted := map[string]bool{}
		counts := map[string]int{}
		for len(accepted) < len(ids) {
			got := pipelinetest.Receive(t, fmt.Sprintf("deliveries, after %d of %d", len(accepted), len(ids)), v.got)
			if err := got.verify(secrets[v]); err != nil {
				t.Fatalf("the reference library refuses a delivery: %v", err)
			}
			counts[got.id]++
			if !ids[got.id] {
				t.Fatalf("%s was never told", got.id)
			}
			if !fails(got.id, counts[got.id]) {
				accepted[got.id] = true
			}
		}
	}
	settled(t, r)
	t.Logf("%d deliveries, %+v", receivers*len(ids), r.sender.Counts())
}

// fails decides by hash whether the n-th request of a delivery fails: three of ten do, and none after the sixth.
func fails(id string, n int) bool {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s/%d", id, n)
	return n <= 6 && h.Sum32()%10 < 3
}

// TestKilledAtEachStep: a sender that dies after any of its writes loses nothing, and makes no attempt more
// than the lost one again.
func TestKilledAtEachStep(t *testing.T) {
	for _, step := range []string{"record", "schedule", "ack"} {
		t.Run(step, func(t *testing.T) {
			v := newReceiver(t, answers(500, 500, 200))
			r := newRig(t, webhooks.SenderConfig{})
			r.halt()
			f := &faulty{Hooks: r.hooks, step: step}
			ctx, stop := context.WithCancel(t.Context())
			c := r.config
			c.Bucket, c.Queue, c.Records, c.Schedule = r.hooks, f, f, fast()
			c.Targets = r.sender.Targets
			sender := webhooks.NewSender(c)
			f.die = stop
			e := r.endpoint(v.URL, "*")
			task := webhooks.Task{
				Delivery: webhooks.DeliveryID("evt_1", e.ID), Project: project, Endpoint: e.ID, Event: "evt_1",
				Type: "video.ready", Body: []byte(`{"type":"video.ready","data":{"id":"vid_1"}}`), Attempt: 1,
			}
			must(t, r.hooks.Push(t.Context(), task))
			must(t, sender.Run(ctx)) // dies at the step
			r.restart()
			record := r.record(e, "evt_1", ended)
			if record.Status != webhooks.Succeeded || record.Done != 3 && step != "record" {
				t.Errorf("record %+v", record)
			}
			settled(t, r)
			if n := v.count("evt_1"); n > 4 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestKilledBeforeAFurtherRound: a process that dies after it has written that a delivery is sent again, and before it
// has queued the attempt, does not leave it pending.
func TestKilledBeforeAFurtherRound(t *testing.T) {
	var well atomic.Bool
	v := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := newRig(t, webhooks.SenderConfig{})
	e := r.endpoint(v.URL, "*")
	sent := r.uploaded("vid_1")
	record := r.record(e, sent.ID, ended)
	well.Store(true)
	r.halt()
	f := &faulty{Hooks: r.hooks, step: "push", die: func() {}}
	c := r.sender.SenderConfig
	c.Queue = f
	desk := &webhooks.Desk{Sender: webhooks.NewSender(c), LastSequence: r.bus.LastSequence}
	if _, err := desk.Redeliver(t.Context(), project, e.ID, record.ID); !errors.Is(err, context.Canceled) {
		t.Fatalf("the process did not die: %v", err)
	}
	due, later, err := r.bus.HookBacklog(t.Context())
	must(t, err)
	if due != 0 || later != 0 {
		t.Fatalf("%d due, %d later", due, later)
	}
	r.sweep = true
	r.restart()
	record = r.record(e, sent.ID, ended)
	settled(t, r)
	if record.Status != webhooks.Succeeded || record.Round != 1 || v.count(sent.ID) != 11 {
		t.Errorf("record %+v after %d requests", record, v.count(sent.ID))
	}
}

// TestKilledWhileManyAreSentAgain: whoever sends many deliveries again dies in the middle of them, after each kind of
// write. Each is sent once more, and no other one.
func TestKilledWhileManyAreSentAgain(t *testing.T) {
	const deliveries = 130 // more than a page
	for _, step := range []string{"record", "push"} {
		var well atomic.Bool
		v := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			if !well.Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		r := newRig(t, webhooks.SenderConfig{Schedule: webhooks.Schedule{Delays: []time.Duration{}}}) // one attempt
		e := r.endpoint(v.URL, "*")
		var ids []string
		for i := range deliveries {
			ids = append(ids, r.uploaded(fmt.Sprintf("vid_%d", i)).ID)
		}
		for _, id := range ids {
			r.record(e, id, ended)
		}
		well.Store(true)
		accepted := r.uploaded("vid_accepted").ID
		r.record(e, accepted, ended)
		r.halt()
		before := map[string]int{}
		for _, id := range ids {
			before[id] = v.count(id)
		}
		ctx, stop := context.WithCancel(t.Context())
		f := &faulty{Hooks: r.hooks, step: step, after: 50, die: stop}
		c := r.sender.SenderConfig
		c.Queue, c.Records = f, f
		sender := webhooks.NewSender(c)
		desk := &webhooks.Desk{Sender: sender, LastSequence: r.bus.LastSequence}
		q := webhooks.Query{Project: project, Endpoint: e.ID, Status: []webhooks.Status{webhooks.Failed, webhooks.Canceled}}
		if n, err := desk.RedeliverAll(ctx, q, true); n != deliveries || err != nil {
			t.Errorf("a dry run counted %d, %v", n, err)
		}
		if n, err := desk.RedeliverAll(ctx, q, false); n != deliveries || err != nil {
			t.Errorf("%d are sent again, %v", n, err)
		}
		must(t, sender.Run(ctx)) // dies in between
		r.sweep = true
		r.restart()
		for _, id := range ids {
			got := r.record(e, id, func(d webhooks.DeliveryRecord) bool { return d.Status == webhooks.Succeeded })
			if got.Round != 1 {
				t.Errorf("%s: %d rounds", id, got.Round)
			}
		}
		settled(t, r)
		for _, id := range ids {
			if n := v.count(id) - before[id]; n < 1 || n > 2 { // an attempt under way is made again
				t.Errorf("%s: %d requests", id, n)
			}
		}
		if n := v.count(accepted); n != 1 {
			t.Errorf("what was accepted came %d times", n)
		}
	}
}

// TestSweepLeavesWhatIsQueued: a pending delivery with an attempt that is due, under way or for later is not queued
// again, however often it is looked for.
func TestSweepLeavesWhatIsQueued(t *testing.T) {
	v := newReceiver(t, answers(500))
	r := newRig(t, webhooks.SenderConfig{Schedule: webhooks.Schedule{Delays: []time.Duration{time.Hour}}})
	e := r.endpoint(v.URL, "*")
	sent := r.uploaded("vid_1")
	r.record(e, sent.ID, func(d webhooks.DeliveryRecord) bool { return d.Done == 1 })
	pipelinetest.Until(t, "the next attempt to be scheduled", func() bool {
		_, later, err := r.bus.HookBacklog(t.Context())
		must(t, err)
		return later == 1
	})
	for range 3 {
		found, _, err := r.hooks.Unqueued(t.Context(), 0, time.Now().Add(time.Hour))
		must(t, err)
		if len(found) > 0 {
			t.Fatalf("found %+v", found)
		}
	}
}

// TestKilledBeforeTheNotice: a process that dies after it has disabled an endpoint, or in the middle of telling the
// others, tells each of them, once.
func TestKilledBeforeTheNotice(t *testing.T) {
	for _, told := range []int{0, 1} {
		v := newReceiver(t, answers(410))
		others := []*receiver{newReceiver(t, nil), newReceiver(t, nil)}
		r := newRig(t, webhooks.SenderConfig{})
		e := r.endpoint(v.URL, "video.*")
		for _, o := range others {
			r.endpoint(o.URL, webhooks.TypeDisabled)
		}
		r.halt()
		task := webhooks.Task{
			Delivery: webhooks.DeliveryID("evt_1", e.ID), Project: project, Endpoint: e.ID, Event: "evt_1",
			Type: "video.ready", Body: []byte(`{"type":"video.ready","data":{"id":"vid_1"}}`), Attempt: 1,
		}
		must(t, r.hooks.Push(t.Context(), task))
		ctx, stop := context.WithCancel(t.Context())
		f := &faulty{Hooks: r.hooks, step: "push", after: told, die: stop}
		c := r.sender.SenderConfig
		c.Queue = f
		must(t, webhooks.NewSender(c).Run(ctx)) // dies before it has told all
		r.sweep = true
		r.restart()
		for i, o := range others {
			got := pipelinetest.Receive(t, fmt.Sprintf("the notice to %d, of which %d were told", i, told), o.got)
			if got.kind != webhooks.TypeDisabled || got.body["id"] != e.ID {
				t.Errorf("the notice is %s", got.raw)
			}
		}
		pipelinetest.Until(t, "the end of the notice", func() bool {
			now, err := r.desk.Get(t.Context(), project, e.ID)
			must(t, err)
			return !now.Untold && !now.Enabled
		})
		settled(t, r)
		for i, o := range others {
			if len(o.got) > 0 {
				t.Errorf("%d got a second notice", i)
			}
		}
	}
}

// faulty is what a sender writes to. It dies instead of the first write of a kind.
type faulty struct {
	*bus.Hooks
	step  string
	after int // writes of the kind that succeed before; guarded by mu
	die   func()
	mu    sync.Mutex
}

func (f *faulty) fail(step string) error {
	if f.step != step {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.after > 0 {
		f.after--
		return nil
	}
	f.die()
	return context.Canceled
}

// PutRecord implements webhooks.Records.
func (f *faulty) PutRecord(ctx context.Context, r webhooks.DeliveryRecord) error {
	if err := f.fail("record"); err != nil {
		return err
	}
	return f.Hooks.PutRecord(ctx, r)
}

// Push implements webhooks.Queue.
func (f *faulty) Push(ctx context.Context, t webhooks.Task) error {
	if err := f.fail("push"); err != nil {
		return err
	}
	return f.Hooks.Push(ctx, t)
}

// PushAt implements webhooks.Queue.
func (f *faulty) PushAt(ctx context.Context, t webhooks.Task, at time.Time) error {
	if err := f.fail("schedule"); err != nil {
		return err
	}
	return f.Hooks.PushAt(ctx, t, at)
}

// Take implements webhooks.Queue.
func (f *faulty) Take(ctx context.Context, most int) ([]webhooks.Lease, error) {
	leases, err := f.Hooks.Take(ctx, most)
	for i, l := range leases {
		leases[i] = faultyLease{l, f}
	}
	return leases, err
}

// faultyLease is a lease whose ack may fail.
type faultyLease struct {
	webhooks.Lease
	f *faulty
}

// Ack implements webhooks.Lease.
func (l faultyLease) Ack(ctx context.Context) error {
	if err := l.f.fail("ack"); err != nil {
		return err
	}
	return l.Lease.Ack(ctx)
}
