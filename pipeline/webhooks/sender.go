package webhooks

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// SenderConfig configures a Sender. Bucket, Queue, Records and Targets are required.
type SenderConfig struct {
	Bucket  Bucket
	Queue   Queue
	Records Records
	Targets map[Kind]Target
	// Schedule says when failed attempts are made again.
	Schedule Schedule
	// Slots is how many attempts are under way at once; 64 when 0. PerHost is how many of them at one host;
	// 8 when 0.
	Slots, PerHost int
	// Timeout of one attempt; 15 s when 0, which Standard Webhooks recommends.
	Timeout time.Duration
	// GiveUp is for how long every attempt must fail before an endpoint is disabled; 5 days when 0.
	GiveUp time.Duration
	// Lease is how long a task stays with a process that does not renew it; MaxLease when 0 or longer.
	Lease time.Duration
	// Now is the clock of records, of signatures' secrets and of GiveUp; time.Now when nil.
	Now func() time.Time
	// Logger logs what fails; nil logs nothing.
	Logger *slog.Logger
}

// MaxLease is the longest lease of a task. It is short, since a task whose taker was cut off from the
// broker waits for as long.
const MaxLease = 20 * time.Second

func (c SenderConfig) withDefaults() SenderConfig {
	c.Slots = cmp.Or(c.Slots, 64)
	c.PerHost = cmp.Or(c.PerHost, 8)
	c.Timeout = cmp.Or(c.Timeout, 15*time.Second)
	c.GiveUp = cmp.Or(c.GiveUp, 5*24*time.Hour)
	c.Lease = min(cmp.Or(c.Lease, MaxLease), MaxLease)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Counts are how attempts of this process ended, and what it disabled. They never fall.
type Counts struct {
	Accepted, Failed, Turned uint64 // Turned: tasks that went back because their host had no room
	Exhausted                uint64 // deliveries without a further attempt
	Gone, Failing            uint64 // endpoints that were disabled, by reason
}

// Sender makes the attempts that are due. Any number may run, anywhere.
type Sender struct {
	SenderConfig
	gates     *gates
	recurring *pipeline.Recurring

	accepted, failed, turned, exhausted, gone, failing atomic.Uint64
}

// NewSender returns a sender. Run starts it.
func NewSender(c SenderConfig) *Sender {
	c = c.withDefaults()
	return &Sender{
		SenderConfig: c, gates: newGates(c.Slots, c.PerHost), recurring: &pipeline.Recurring{Logger: c.Logger},
	}
}

// Counts returns what has happened so far.
func (s *Sender) Counts() Counts {
	return Counts{
		Accepted: s.accepted.Load(), Failed: s.failed.Load(), Turned: s.turned.Load(),
		Exhausted: s.exhausted.Load(), Gone: s.gone.Load(), Failing: s.failing.Load(),
	}
}

// stopTime is how long attempts under way may take once a sender stops. Those that take longer are cut off,
// and made again.
const stopTime = 2 * time.Second

// Run makes attempts until ctx ends, and leaves no goroutine behind.
func (s *Sender) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTime, stop) })()
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, s.Slots)
	for ctx.Err() == nil {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		<-free
		leases, err := s.Queue.Take(ctx, s.Slots-len(free))
		if err != nil && ctx.Err() == nil {
			s.recurring.Failed("take webhook deliveries", "error", err)
			pause.For(ctx, time.Second)
			continue
		}
		s.recurring.Works("take webhook deliveries")
		for _, l := range leases {
			free <- struct{}{}
			running.Go(func() {
				defer func() { <-free }()
				s.handle(work, l)
			})
		}
	}
	return nil
}

// handle deals with one task. What it cannot write, the next delivery of the task writes.
func (s *Sender) handle(ctx context.Context, l Lease) {
	if err := s.judge(ctx, l); err != nil && ctx.Err() == nil {
		t := l.Task()
		s.recurring.Failed("leave a webhook delivery for later", "delivery", t.Delivery, "endpoint", t.Endpoint,
			"error", err)
		if err := l.Return(ctx, 2*time.Second); err != nil {
			s.recurring.Failed("return a webhook delivery", "error", err)
		}
		return
	} else if err != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = l.Return(last, 0) // it stops: if this fails too, the lease ends by itself
		return
	}
	s.recurring.Works("leave a webhook delivery for later")
}

// judge reads the record of a task's delivery and does what is due: an attempt, the schedule of the next
// one, or nothing, because the task is of the past.
func (s *Sender) judge(ctx context.Context, l Lease) error {
	t := l.Task()
	if t.Again != nil {
		return s.order(ctx, l)
	}
	r, err := s.Records.Record(ctx, t.Project, t.Endpoint, t.Delivery)
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		r = recordOf(t, s.Now())
	case err != nil:
		return err
	case r.Round > t.Round, r.Round == t.Round && (r.Status != Pending || r.Done > t.Attempt):
		return l.Ack(ctx) // another round began, it has ended, or a later attempt was made
	case r.Round == t.Round && r.Done == t.Attempt:
		return s.arm(ctx, l, r) // this attempt was made, and its task came again
	}
	e, err := s.Bucket.Endpoint(ctx, t.Project, t.Endpoint)
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		return s.cancel(ctx, l, r, "the endpoint was deleted")
	case err != nil:
		return err
	case !e.Enabled:
		return s.cancel(ctx, l, r, "the endpoint is disabled")
	}
	target := s.Targets[e.Kind]
	if target == nil {
		return s.cancel(ctx, l, r, fmt.Sprintf("this server does not deliver to endpoints of kind %s", e.Kind))
	}
	leave, again := s.gates.enter(target.Host(e))
	if leave == nil {
		s.turned.Add(1)
		return l.Return(ctx, again)
	}
	return s.attempt(ctx, l, r, e, target, leave)
}

// cancel ends a delivery without an attempt.
func (s *Sender) cancel(ctx context.Context, l Lease, r DeliveryRecord, why string) error {
	r.Round, r.Status, r.Reason, r.Next, r.UpdatedAt = l.Task().Round, Canceled, why, nil, s.Now().UTC()
	if err := s.Records.PutRecord(ctx, r); err != nil && !errors.Is(err, pipeline.ErrConflict) {
		return err
	}
	return l.Ack(ctx)
}

// attempt makes one attempt and writes what came of it.
func (s *Sender) attempt(ctx context.Context, l Lease, r DeliveryRecord, e Endpoint, to Target,
	leave func(silent bool),
) error {
	t := l.Task()
	o, began, took, err := s.send(ctx, l, e, t, to)
	leave(o.Silent)
	if err != nil {
		return err
	}
	r.add(t, o, began, took)
	s.settle(&r, t, o)
	if err := s.Records.PutRecord(ctx, r); err != nil {
		return err // on a conflict too: the next delivery of the task finds what was written
	}
	s.count(o, r)
	if err := s.judgeEndpoint(ctx, e, o); err != nil {
		s.recurring.Failed("note the health of a webhook endpoint", "endpoint", e.ID, "error", err)
	}
	return s.arm(ctx, l, r)
}

// send makes one attempt, and renews the lease meanwhile. An attempt that the end of ctx cut off is an
// error.
func (s *Sender) send(ctx context.Context, l Lease, e Endpoint, t Task, to Target,
) (o Outcome, began time.Time, took time.Duration, err error) {
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var beat sync.WaitGroup
	defer beat.Wait()
	defer cancel()
	beat.Go(func() {
		for pause.For(limited, s.Lease/3) {
			if err := l.Extend(limited); err != nil {
				s.recurring.Failed("renew the lease of a webhook delivery", "error", err)
			}
		}
	})
	began, start := s.Now(), time.Now()
	o = to.Send(limited, e, t)
	return o, began, time.Since(start), ctx.Err()
}

// settle decides what follows from an outcome.
func (s *Sender) settle(r *DeliveryRecord, t Task, o Outcome) {
	now := s.Now().UTC()
	r.UpdatedAt, r.Next, r.Reason = now, nil, ""
	delay, more := s.Schedule.Delay(t.Attempt, o.RetryAfter)
	switch {
	case o.Accepted:
		r.Status = Succeeded
	case o.Gone:
		r.Status, r.Reason = Failed, "the receiver answered 410 Gone: it wants no more"
	case o.Final:
		r.Status, r.Reason = Failed, o.Error
	case !more:
		r.Status, r.Reason = Failed, "no attempt is left"
	default:
		at := now.Add(delay)
		r.Status, r.Next = Pending, &at
	}
}

// arm queues the next attempt if one is due, and removes the task.
func (s *Sender) arm(ctx context.Context, l Lease, r DeliveryRecord) error {
	if r.Status == Pending && r.Next != nil {
		next := l.Task()
		next.Attempt = r.Done + 1
		if err := s.pushNext(ctx, next, r); err != nil {
			return err
		}
	}
	return l.Ack(ctx)
}

// pushNext queues the next attempt at a pending delivery for its time.
func (s *Sender) pushNext(ctx context.Context, next Task, r DeliveryRecord) error {
	delay := max(0, r.Next.Sub(s.Now()))
	return s.Queue.PushAt(ctx, next, time.Now().Add(delay))
}

func (s *Sender) count(o Outcome, r DeliveryRecord) {
	if o.Accepted {
		s.accepted.Add(1)
		return
	}
	s.failed.Add(1)
	if r.Status == Failed {
		s.exhausted.Add(1)
	}
}

// maxConflicts bounds how often a change is made again because another process changed the same document.
const maxConflicts = 8

// judgeEndpoint notes whether an endpoint fails, and disables one that wants no more, or that failed for
// too long.
func (s *Sender) judgeEndpoint(ctx context.Context, e Endpoint, o Outcome) error {
	if o.Gone {
		return s.disable(ctx, e, ReasonGone, "The receiver answered 410 Gone: it wants no more deliveries.")
	}
	for range maxConflicts {
		h, err := s.Bucket.Health(ctx, e.Project, e.ID)
		if err != nil {
			return err
		}
		if o.Accepted {
			if h.FailingSince.IsZero() {
				return nil
			}
			h.FailingSince, h.FailedAt = time.Time{}, time.Time{}
		} else {
			changed, since := h.failed(s.Now().UTC())
			if since >= s.GiveUp {
				return s.disable(ctx, e, ReasonFailing, fmt.Sprintf(
					"Every attempt has failed since %s; the last one: %s.", pipeline.Clock(h.FailingSince), o.Error))
			}
			if !changed {
				return nil
			}
		}
		if err := s.Bucket.PutHealth(ctx, e.Project, e.ID, h); !errors.Is(err, pipeline.ErrConflict) {
			return err
		}
	}
	return pipeline.ErrConflict
}

// disable disables an endpoint, unless it was changed since the attempt began, and tells the others of the
// project.
func (s *Sender) disable(ctx context.Context, e Endpoint, code, detail string) error {
	now := s.Now().UTC().Truncate(time.Millisecond)
	e.Enabled, e.UpdatedAt, e.Disabled, e.Untold = false, now, &Reason{Code: code, Detail: detail, At: now}, true
	e, err := s.Bucket.PutEndpoint(ctx, e)
	if errors.Is(err, pipeline.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	if code == ReasonGone {
		s.gone.Add(1)
	} else {
		s.failing.Add(1)
	}
	s.Logger.Warn("a webhook endpoint was disabled", "endpoint", e.ID, "project", e.Project, "reason", code,
		"detail", detail, "to_do", "mend the receiver, then: reelmill webhooks update "+e.ID+" --enable")
	return s.tell(ctx, e)
}

// tell queues a message about a disabled endpoint for the other endpoints of its project that want it, then
// notes that it did. A process that dies in between leaves Untold, and a Sweeper does it again: the id is
// derived, so that nobody gets it twice.
func (s *Sender) tell(ctx context.Context, disabled Endpoint) error {
	all, err := s.Bucket.AllEndpoints(ctx)
	if err != nil {
		return err
	}
	at := disabled.Disabled.At
	body, err := reportOf(TypeDisabled, at, ViewOf(disabled, Health{}, at))
	if err != nil {
		return err
	}
	name := "disabled/" + disabled.ID + "/" + at.Format(time.RFC3339Nano)
	id := pipeline.DerivedID("evt", sha256.Sum256([]byte(name)))
	for _, to := range all {
		if to.Project == disabled.Project && to.ID != disabled.ID && to.Wants(TypeDisabled) {
			if err := s.Queue.Push(ctx, newTask(to, id, TypeDisabled, body, at)); err != nil {
				return err
			}
		}
	}
	disabled.Untold = false
	_, err = s.Bucket.PutEndpoint(ctx, disabled)
	if errors.Is(err, pipeline.ErrConflict) {
		return nil // somebody changed it: a Sweeper looks whether it is still untold
	}
	return err
}

// reportOf returns the body of a message that is no event of the log.
func reportOf(kind string, at time.Time, data any) (json.RawMessage, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(pipeline.Report{
		Type: pipeline.EventType(kind), Timestamp: at.UTC().Truncate(time.Microsecond), Data: raw,
	})
}
