package webhooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
	"github.com/reelmill/reelmill/workers/webhook"
)

// clock is a clock that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// rig is a broker with a dispatcher and a sender, which can be stopped and started again.
type rig struct {
	t     *testing.T
	dir   string
	clock clock
	// config is that of the senders; the rig fills in the rest.
	config webhooks.SenderConfig
	// sweep starts a Sweeper that does not wait until a record has an age: it may double an attempt.
	sweep bool

	broker  *embedded.Server
	conn    *nats.Conn
	bus     *bus.Bus
	hooks   *bus.Hooks
	sender  *webhooks.Sender
	desk    *webhooks.Desk
	stop    context.CancelFunc
	done    chan error
	running int // parts that tell done
}

// fast are delays between attempts for tests.
func fast() webhooks.Schedule {
	var delays []time.Duration
	for range 9 {
		delays = append(delays, time.Millisecond)
	}
	return webhooks.Schedule{Delays: delays}
}

func newRig(t *testing.T, c webhooks.SenderConfig) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "broker"), config: c}
	r.start()
	t.Cleanup(r.close)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	r.broker, err = embedded.Start(pipelinetest.Context(r.t), embedded.Config{Dir: r.dir})
	must(r.t, err)
	conn, err := r.broker.Conn()
	must(r.t, err)
	r.conn = conn
	r.bus, err = bus.Open(pipelinetest.Context(r.t), conn, bus.Config{Exclusive: true})
	must(r.t, err)
	r.hooks = r.bus.Hooks()
	c := r.config
	c.Logger = slog.New(slog.NewTextHandler(r.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Bucket, c.Queue, c.Records, c.Now = r.hooks, r.hooks, r.hooks, r.clock.now
	if c.Targets == nil {
		c.Targets = map[webhooks.Kind]webhooks.Target{
			webhooks.Web: webhook.NewPoster(webhook.PosterConfig{
				AllowPrivate: true, Now: r.clock.now, Timeout: c.Timeout,
			}),
			webhooks.NATS: r.hooks,
		}
	}
	if c.Schedule.Delays == nil {
		c.Schedule = fast()
	}
	r.sender = webhooks.NewSender(c)
	r.desk = &webhooks.Desk{Sender: r.sender, LastSequence: r.bus.LastSequence}
	dispatcher := &webhooks.Dispatcher{
		Log: r.bus, Bucket: r.hooks, Queue: r.hooks, Records: r.hooks, PublicURL: "https://video.example.org",
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.done, r.running = stop, make(chan error, 3), 2
	go func() {
		r.done <- r.bus.Dispatch(ctx, bus.Dispatching{Handle: dispatcher.Handle, GiveUp: dispatcher.GiveUp, Tries: 3})
	}()
	go func() { r.done <- r.sender.Run(ctx) }()
	if r.sweep {
		sweeper := &webhooks.Sweeper{Sender: r.sender, Leftovers: r.hooks, Every: 50 * time.Millisecond, Age: -1}
		r.running++
		go func() { r.done <- sweeper.Run(ctx) }()
	}
}

// halt stops the dispatcher and the sender.
func (r *rig) halt() {
	r.t.Helper()
	if r.stop == nil {
		return
	}
	r.stop()
	for range r.running {
		if err := <-r.done; err != nil && !errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
	}
	r.stop = nil
}

func (r *rig) close() {
	r.halt()
	if r.broker != nil {
		r.conn.Close()
		r.broker.Shutdown()
		r.broker = nil
	}
}

func (r *rig) restart() { r.t.Helper(); r.close(); r.start() }

// endpoint makes a web endpoint.
func (r *rig) endpoint(url string, events ...string) webhooks.Endpoint {
	r.t.Helper()
	e, err := r.desk.Create(r.t.Context(), webhooks.Endpoint{
		Project: pipeline.DefaultProject, Kind: webhooks.Web, URL: url, Events: events, Enabled: true,
	})
	must(r.t, err)
	return e
}

// tell appends an event after the last one of its subject.
func (r *rig) tell(kind pipeline.EventType, subject string, data any) pipeline.Event {
	r.t.Helper()
	_, video, _, err := pipeline.Address(subject)
	must(r.t, err)
	last, err := r.bus.Last(r.t.Context(), subject)
	must(r.t, err)
	e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, data)
	must(r.t, err)
	e.Sequence, err = r.bus.Append(r.t.Context(), e, last[0].Sequence)
	must(r.t, err)
	return e
}

const project = pipeline.DefaultProject

// uploaded appends the event of an upload.
func (r *rig) uploaded(video string) pipeline.Event {
	r.t.Helper()
	return r.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, video), pipeline.Upload{
		Source: pipeline.Object{Filename: "film.mp4", Size: 7}, Title: "Film", Passthrough: "order 4",
	})
}

// record waits until a record is as ok wants it.
func (r *rig) record(e webhooks.Endpoint, event string, ok func(webhooks.DeliveryRecord) bool) webhooks.DeliveryRecord {
	r.t.Helper()
	var got webhooks.DeliveryRecord
	defer func() {
		if r.t.Failed() {
			due, later, err := r.bus.HookBacklog(context.Background())
			r.t.Logf("the record is %+v; %d due, %d later, %v; %+v", got, due, later, err, r.sender.Counts())
		}
	}()
	pipelinetest.Until(r.t, "the record of "+event, func() bool {
		var err error
		got, err = r.hooks.Record(r.t.Context(), project, e.ID, webhooks.DeliveryID(event, e.ID))
		if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			r.t.Fatal(err)
		}
		return err == nil && ok(got)
	})
	return got
}

func ended(r webhooks.DeliveryRecord) bool { return r.Status != webhooks.Pending }

// request is what a receiver got.
type request struct {
	id, kind string
	body     map[string]any
	header   http.Header
	raw      []byte
}

// receiver is a web server that keeps what it gets.
type receiver struct {
	*httptest.Server
	got chan request

	mu     sync.Mutex
	answer func(n int, w http.ResponseWriter, r *http.Request) // n: of the delivery's requests, from 1
	counts map[string]int
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	v := &receiver{got: make(chan request, 100_000), answer: answer, counts: map[string]int{}}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	return v
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	q := request{id: r.Header.Get("webhook-id"), header: r.Header.Clone(), raw: raw}
	var m struct {
		Type string         `json:"type"`
		Data map[string]any `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q.kind, q.body = m.Type, m.Data
	v.mu.Lock()
	v.counts[q.id]++
	n := v.counts[q.id]
	v.mu.Unlock()
	v.got <- q
	if v.answer != nil {
		v.answer(n, w, r)
	}
}

// count returns how many requests with an id came.
func (v *receiver) count(id string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts[id]
}

// verify checks a request with the reference library.
func (q request) verify(secret string) error {
	w, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return w.Verify(q.raw, q.header)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func answers(statuses ...int) func(int, http.ResponseWriter, *http.Request) {
	return func(n int, w http.ResponseWriter, _ *http.Request) {
		status := statuses[min(n, len(statuses))-1]
		w.Header().Set("X-Receiver", fmt.Sprint(n))
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "answer %d", n)
	}
}
