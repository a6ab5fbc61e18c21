package workers_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/workers"
)

// Leases of these tests: patient never expires. brief is for tests that wait until it expires; it is longer
// on a busy machine, since a process that gets no CPU time for so long loses its lease.
const (
	patient = time.Hour
	brief   = 2 * time.Second
)

// rig is a real broker and a real store; it records what loops do with the queue.
type rig struct {
	t     *testing.T
	bus   *bus.Bus
	lease time.Duration
	store *disk.Store
	close func() // called at the end of the test, or before

	mu      sync.Mutex
	acts    []string // calls of the queue, in order
	changed chan struct{}
	letters []pipeline.DeadLetter
	task    pipeline.Task // of the last delivery
	broken  map[string]error
}

func newRig(t *testing.T, lease time.Duration) *rig {
	t.Helper()
	if lease == brief {
		lease = pipelinetest.Slowly(brief)
	}
	return openRig(t, t.TempDir(), bus.Config{AckWait: lease})
}

// beat is the time between heartbeats: 50 ms, or longer if a brief lease is longer.
func (r *rig) beat() time.Duration {
	if r.lease == patient {
		return brief / beatsOfLease
	}
	return r.lease / beatsOfLease
}

// beatsOfLease is how many heartbeats there are in a brief lease.
const beatsOfLease = 40

// openRig returns a rig with its broker and store in dir, which may hold those of an earlier rig.
func openRig(t *testing.T, dir string, c bus.Config) *rig {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(dir, "broker")})
	must(t, err)
	closed := make(chan struct{})
	conn, err := server.Conn(nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	must(t, err)
	b, err := bus.Open(t.Context(), conn, c)
	must(t, err)
	store, err := disk.Open(filepath.Join(dir, "store"))
	must(t, err)
	r := &rig{t: t, bus: b, lease: c.AckWait, store: store, changed: make(chan struct{}), broken: map[string]error{}}
	r.close = sync.OnceFunc(func() {
		conn.Close()
		<-closed
		server.Shutdown()
		must(t, store.Close())
	})
	t.Cleanup(r.close)
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// queue is the bus as a loop's Tasks; it records calls.
type queue struct{ *rig }

func (q queue) NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (workers.Delivery,
	error,
) {
	d, err := q.bus.NextAtLeast(ctx, worker, least)
	if err != nil {
		return d, err
	}
	q.mu.Lock()
	q.task = d.Task()
	q.mu.Unlock()
	return watched{d, q.rig}, q.act("next")
}

func (q queue) Schedule(ctx context.Context, t pipeline.Task, at time.Time) error {
	return errors.Join(q.bus.Schedule(ctx, t, at), q.act("schedule"))
}

func (q queue) DeadLetter(ctx context.Context, d pipeline.DeadLetter) error {
	q.mu.Lock()
	q.letters = append(q.letters, d)
	q.mu.Unlock()
	return errors.Join(q.bus.DeadLetter(ctx, d), q.act("letter"))
}

func (q queue) Watch(ctx context.Context, subjects ...string) (<-chan struct{}, error) {
	if err := q.loses("watch"); err != nil {
		return nil, err
	}
	return q.bus.Watch(ctx, subjects...)
}

func (q queue) Progress(ctx context.Context, project string, p pipeline.Progress) error {
	return q.bus.Progress(ctx, project, p)
}

type watched struct {
	*bus.Delivery
	r *rig
}

func (d watched) Extend(ctx context.Context) error {
	return errors.Join(d.Delivery.Extend(ctx), d.r.act("extend"))
}

func (d watched) Ack(ctx context.Context) error {
	if err := d.r.loses("ack"); err != nil {
		return errors.Join(err, d.r.act("ack")) // on its way
	}
	return errors.Join(d.Delivery.Ack(ctx), d.r.act("ack"))
}

func (d watched) Return(ctx context.Context, delay time.Duration) error {
	return errors.Join(d.Delivery.Return(ctx, delay), d.r.act("return"))
}

// loses returns the error that a test set for an act, once, before the act.
func (r *rig) loses(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.broken[what]
	delete(r.broken, what)
	return err
}

// act records an act, and returns the error that a test set for it, once.
func (r *rig) act(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acts = append(r.acts, what)
	close(r.changed)
	r.changed = make(chan struct{})
	err := r.broken[what]
	delete(r.broken, what)
	return err
}

// done waits until the acts, without heartbeats, are want.
func (r *rig) done(want ...string) {
	r.t.Helper()
	r.until(strings.Join(want, " "), func(acts []string) bool {
		acts = slices.DeleteFunc(acts, func(a string) bool { return a == "extend" })
		return slices.Equal(acts, want)
	})
}

// until waits until ok accepts the acts.
func (r *rig) until(what string, ok func(acts []string) bool) {
	r.t.Helper()
	limit := pipelinetest.Context(r.t).Done()
	for {
		r.mu.Lock()
		acts, changed := slices.Clone(r.acts), r.changed
		r.mu.Unlock()
		if ok(slices.Clone(acts)) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("did %v, want %s", acts, what)
		}
	}
}

// start runs a loop with the worker; stop stops it, waits for it, and checks that its scratch is empty.
func (r *rig) start(w worker, change ...func(*workers.Config)) (stop func()) {
	r.t.Helper()
	_, stop = r.loop(w, change...)
	return stop
}

// loop is start for tests that also use the loop.
func (r *rig) loop(w worker, change ...func(*workers.Config)) (l *workers.Loop, stop func()) {
	r.t.Helper()
	var log bytes.Buffer
	c := workers.Config{
		Log: r.bus, Tasks: queue{r}, Store: r.store, Registry: registryOf(w),
		Scratch: filepath.Join(r.t.TempDir(), "scratch"),
		Slots:   map[string]int{"test": 1}, Interactive: map[string]int{"test": 0},
		Process: "rig", Heartbeat: r.beat(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	l, err := workers.NewLoop(c)
	must(r.t, err)
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		if left, err := os.ReadDir(c.Scratch); err != nil || len(left) != 0 {
			r.t.Errorf("scratch holds %v, %v", left, err)
		}
		if r.t.Failed() {
			r.t.Log(log.String())
		}
	})
	r.t.Cleanup(stop)
	return l, stop
}

// enqueue stores the first task of a job.
func (r *rig) enqueue(change ...func(*pipeline.Job)) pipeline.Task {
	r.t.Helper()
	j := pipeline.Job{Name: "j", Step: "s", Worker: "test", Retry: []pipeline.Seconds{0.1, 0.1, 0.1}}
	for _, f := range change {
		f(&j)
	}
	t := pipeline.Task{
		Project: "p", Video: "v", Job: j, EventID: "evt_cause",
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	must(r.t, r.bus.Enqueue(r.t.Context(), t))
	return t
}

// last returns the last event of the task's job, which must be of type want.
func (r *rig) last(want pipeline.EventType) (pipeline.Event, pipeline.JobEvent) {
	r.t.Helper()
	return r.lastOf("j", want)
}

// lastOf is last of another job.
func (r *rig) lastOf(job string, want pipeline.EventType) (pipeline.Event, pipeline.JobEvent) {
	r.t.Helper()
	events, err := r.bus.Last(r.t.Context(), pipeline.JobSubject("p", "v", job))
	must(r.t, err)
	if events[0].Type != want {
		r.t.Fatalf("the job is %s, want %s: %s", events[0].Type, want, events[0].Data)
	}
	fold, err := pipeline.FoldJob(events[0])
	must(r.t, err)
	return events[0], fold.Data
}

// append writes the next event of the task's job, as another process would.
func (r *rig) append(t pipeline.EventType, task pipeline.Task, after uint64, data pipeline.JobEvent) uint64 {
	r.t.Helper()
	data.Job = task.Job.Name
	return r.say(t, task.JobSubject(), after, data)
}

// say appends an event to a subject.
func (r *rig) say(t pipeline.EventType, subject string, after uint64, data any) uint64 {
	r.t.Helper()
	e, err := pipeline.NewEvent("test", t, subject, "v", pipeline.Event{}, data)
	must(r.t, err)
	seq, err := r.bus.Append(r.t.Context(), e, after)
	must(r.t, err)
	return seq
}

// queued reports whether the job has a task or a schedule.
func (r *rig) queued() bool {
	r.t.Helper()
	r.mu.Lock()
	task := r.task
	r.mu.Unlock()
	is, err := r.bus.Queued(r.t.Context(), task)
	must(r.t, err)
	return is
}

// keys returns the keys of the video's objects in the store.
func (r *rig) keys() []string {
	r.t.Helper()
	var keys []string
	for info, err := range r.store.List(r.t.Context(), "videos/v/") {
		must(r.t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

// publish makes and publishes one output, as a good worker does.
func publish(ctx context.Context, j workers.Job[params]) (pipeline.Result, error) {
	file := filepath.Join(j.Dir, "out")
	if err := os.WriteFile(file, []byte("film"), 0o600); err != nil {
		return pipeline.Result{}, err
	}
	o, err := j.Publish(ctx, file, pipeline.Output{Name: "film", Kind: pipeline.KindVideo, Path: "film.mp4"})
	return pipeline.Result{Outputs: []pipeline.Output{o}}, err
}
