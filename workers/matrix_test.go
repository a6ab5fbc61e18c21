package workers_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

// errDead is the result of all calls of a dead process.
var errDead = errors.New("the process is dead")

// mortal is the log, queue and store of a loop whose process dies at a certain point. From then on no call
// has an effect, as after kill -9.
type mortal struct {
	before string // the event or the act of the queue before which the process dies

	once sync.Once
	dead chan struct{} // closed when the process is dead
}

func mortalBefore(what string) *mortal { return &mortal{before: what, dead: make(chan struct{})} }

func (m *mortal) die() { m.once.Do(func() { close(m.dead) }) }

// dies is called before each act, and kills the process if this is the point.
func (m *mortal) dies(what string) error {
	if what == m.before {
		m.die()
	}
	select {
	case <-m.dead:
		return errDead
	default:
		return nil
	}
}

// in puts a loop into the process.
func (m *mortal) in(c *workers.Config) {
	c.Process = "mortal"
	c.Log, c.Tasks, c.Store = mortalLog{c.Log, m}, mortalTasks{c.Tasks, m}, mortalStore{c.Store, m}
}

type mortalLog struct {
	pipeline.Log
	m *mortal
}

func (l mortalLog) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if err := l.m.dies(string(e.Type)); err != nil {
		return 0, err
	}
	return l.Log.Append(ctx, e, after)
}

func (l mortalLog) Last(ctx context.Context, subjects ...string) ([]pipeline.Event, error) {
	if err := l.m.dies("last"); err != nil {
		return nil, err
	}
	return l.Log.Last(ctx, subjects...)
}

type mortalTasks struct {
	workers.Tasks
	m *mortal
}

func (q mortalTasks) NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (
	workers.Delivery, error,
) {
	if err := q.m.dies("next"); err != nil {
		<-ctx.Done()
		return nil, err
	}
	d, err := q.Tasks.NextAtLeast(ctx, worker, least)
	return mortalDelivery{d, q.m}, err
}

func (q mortalTasks) Schedule(ctx context.Context, t pipeline.Task, at time.Time) error {
	if err := q.m.dies("schedule"); err != nil {
		return err
	}
	return q.Tasks.Schedule(ctx, t, at)
}

func (q mortalTasks) DeadLetter(ctx context.Context, d pipeline.DeadLetter) error {
	if err := q.m.dies("letter"); err != nil {
		return err
	}
	return q.Tasks.DeadLetter(ctx, d)
}

type mortalDelivery struct {
	workers.Delivery
	m *mortal
}

func (d mortalDelivery) Extend(ctx context.Context) error {
	if err := d.m.dies("extend"); err != nil {
		return err
	}
	return d.Delivery.Extend(ctx)
}

func (d mortalDelivery) Ack(ctx context.Context) error {
	if err := d.m.dies("ack"); err != nil {
		return err
	}
	return d.Delivery.Ack(ctx)
}

func (d mortalDelivery) Return(ctx context.Context, delay time.Duration) error {
	if err := d.m.dies("return"); err != nil {
		return err
	}
	return d.Delivery.Return(ctx, delay)
}

type mortalStore struct {
	storage.Store
	m *mortal
}

func (s mortalStore) Put(ctx context.Context, key string, r io.Reader, o storage.PutOptions) (storage.Info,
	error) {
	if err := s.m.dies("put"); err != nil {
		return storage.Info{}, err
	}
	return s.Store.Put(ctx, key, r, o)
}

func (s mortalStore) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	if err := s.m.dies("list"); err != nil {
		return func(yield func(storage.Info, error) bool) { yield(storage.Info{}, err) }
	}
	return s.Store.List(ctx, prefix)
}

func (s mortalStore) Delete(ctx context.Context, key string) error {
	if err := s.m.dies("delete"); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

// TestCrashMatrix kills a loop at each point of an attempt; a second loop then continues.
func TestCrashMatrix(t *testing.T) {
	down := errors.New("the network is down")
	broken := pipeline.Fail(pipeline.CodeMalformed, "no such index")
	for row, test := range map[string]struct {
		before  string
		work    error // of the first attempt
		acts    []string
		end     pipeline.EventType
		attempt int
		lost    int
	}{
		"worker dies mid-job": {"put", nil, []string{"next", "next", "ack"}, pipeline.JobCompleted, 2, 1},
		"output stored, before completed": {
			"job.completed", nil, []string{"next", "next", "ack"}, pipeline.JobCompleted, 2, 1,
		},
		"completed, before ack": {"ack", nil, []string{"next", "next", "ack"}, pipeline.JobCompleted, 1, 0},
		"errored written, before its dead letter": {
			"letter", broken, []string{"next", "next", "letter", "ack"}, pipeline.JobErrored, 1, 0,
		},
		"dead letter stored, before ack": {
			"ack", broken, []string{"next", "letter", "next", "letter", "ack"}, pipeline.JobErrored, 1, 0,
		},
		"retrying written, before the timer": {
			"schedule", down, []string{"next", "next", "schedule", "ack"}, pipeline.JobRetrying, 1, 0,
		},
		"retry timer stored, ack lost": {
			"ack", down, []string{"next", "schedule", "next", "schedule", "ack"}, pipeline.JobRetrying, 1, 0,
		},
		"failed, before retrying": {
			"job.retrying", down, []string{"next", "next", "ack"}, pipeline.JobCompleted, 2, 1,
		},
	} {
		t.Run(row, func(t *testing.T) {
			r := newRig(t, brief)
			r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{3600} })
			m := mortalBefore(test.before)
			stop := r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
				result, err := publish(ctx, j)
				return result, errors.Join(err, test.work)
			}), m.in)
			<-m.dead
			stop()
			r.start(working(publish))
			r.done(test.acts...)
			_, data := r.last(test.end)
			if data.Attempt != test.attempt || data.Lost != test.lost {
				t.Errorf("%+v", data)
			}
			outputs := 0
			if data.Result != nil {
				outputs = len(data.Result.Outputs)
			}
			if got := r.keys(); len(got) != outputs || outputs == 1 && got[0] != data.Result.Outputs[0].Key {
				t.Errorf("the store has %v, the event %+v", got, data.Result)
			}
			if r.queued() != (test.end == pipeline.JobRetrying) {
				t.Errorf("queued: %v", r.queued())
			}
		})
	}
	t.Run("hangs past its lease and returns", hangs)
	t.Run("retry timer stored, ack lost, and the retry runs", retryRuns)
}

// hangs: a process is stopped (SIGSTOP) while it works, and continues after another has done the job. Its
// result is refused, its output is removed, and it acknowledges nothing.
func hangs(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue()
	r.broken["watch"] = errors.New("stopped")
	begun, resume := make(chan struct{}), make(chan struct{})
	l, stop := r.loop(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		result, err := publish(context.WithoutCancel(ctx), j)
		close(begun)
		<-resume
		return result, err
	}), unhurried)
	<-begun
	r.start(working(publish), func(c *workers.Config) { c.Process = "other" })
	r.done("next", "next", "ack")
	close(resume)
	stop()
	_, data := r.last(pipeline.JobCompleted)
	if data.Process != "other" || data.Attempt != 2 || data.Lost != 1 {
		t.Errorf("%+v", data)
	}
	if got := r.keys(); len(got) != 1 || got[0] != data.Result.Outputs[0].Key {
		t.Errorf("the store has %v, the event %+v", got, data.Result.Outputs)
	}
	if got, want := l.Stats()["test"], (workers.Counts{Started: 1, Dropped: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	r.done("next", "next", "ack")
}

// retryRuns: the first message is delivered again while the retry that its timer scheduled runs. It is stale,
// and does not touch the live run.
func retryRuns(t *testing.T) {
	r := newRig(t, brief)
	r.enqueue(func(j *pipeline.Job) { j.Retry = []pipeline.Seconds{0.05} })
	m := mortalBefore("ack")
	stop := r.start(working(func(context.Context, job) (pipeline.Result, error) {
		return pipeline.Result{}, errors.New("the network is down")
	}), m.in)
	<-m.dead
	stop()
	r.start(working(func(ctx context.Context, j job) (pipeline.Result, error) {
		r.until("the stale duplicate", func(acts []string) bool { return slices.Contains(acts, "ack") })
		return publish(ctx, j)
	}), func(c *workers.Config) { c.Slots, c.Heartbeat = map[string]int{"test": 2}, 100*time.Millisecond })
	r.until("the end", func(acts []string) bool {
		e, err := r.bus.Last(t.Context(), pipeline.JobSubject("p", "v", "j"))
		return err == nil && e[0].Type == pipeline.JobCompleted && acts[len(acts)-1] == "ack"
	})
	if _, data := r.last(pipeline.JobCompleted); data.Attempt != 2 || data.Lost != 0 || data.Failed != 1 {
		t.Errorf("%+v", data)
	}
}
