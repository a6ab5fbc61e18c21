package bus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is an embedded server whose connections survive its restart.
type broker struct {
	t      *testing.T
	dir    string
	server atomic.Pointer[embedded.Server]
}

func (b *broker) InProcessConn() (net.Conn, error) {
	if s := b.server.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errors.New("the server is down")
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, dir: t.TempDir()}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	s, err := embedded.Start(within(b.t, 20*time.Second), embedded.Config{Dir: b.dir, Logger: testLog(b.t)})
	must(b.t, err)
	b.server.Store(s)
}

func (b *broker) stop() {
	if s := b.server.Swap(nil); s != nil {
		s.Shutdown()
	}
}

func (b *broker) connect() *nats.Conn {
	b.t.Helper()
	nc, err := b.server.Load().Conn(nats.InProcessServer(b), nats.ReconnectWait(20*time.Millisecond))
	must(b.t, err)
	b.t.Cleanup(nc.Close)
	return nc
}

func (b *broker) open(cfg Config) *Bus {
	b.t.Helper()
	cfg.Logger = testLog(b.t)
	bus, err := Open(within(b.t, 20*time.Second), b.connect(), cfg)
	must(b.t, err)
	return bus
}

func newBus(t *testing.T, cfg Config) *Bus { return newBroker(t).open(cfg) }

// within returns a context that ends the test's waiting with an error after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func soon(t *testing.T) context.Context { return within(t, 20*time.Second) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive returns what comes next.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // goroutines of the server may outlive the test for a moment
		w.t.Logf("%s", strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// event returns an event of a job of a video.
func event(t *testing.T, video, job string) pipeline.Event {
	t.Helper()
	e, err := pipeline.NewEvent("test", pipeline.JobStarted, pipeline.JobSubject("default", video, job), video,
		pipeline.Event{}, pipeline.JobEvent{Job: job})
	must(t, err)
	return e
}

func task(job string, p pipeline.Priority, cause uint64) pipeline.Task {
	return pipeline.Task{
		Project: "default", Video: "vid_1", Cause: cause,
		Job: pipeline.Job{Name: job, Step: "transcode", Worker: "transcode", Priority: p},
	}
}

func TestOpenTwice(t *testing.T) {
	b := newBroker(t)
	first := b.open(Config{})
	second := b.open(Config{EventsMaxBytes: defaultEventsMaxBytes})
	must(t, first.Healthy(soon(t)))
	must(t, second.Healthy(soon(t)))
}

func TestOpenNamesTheDifference(t *testing.T) {
	tests := []struct {
		name   string
		live   jetstream.StreamConfig
		config Config
		want   []string
	}{
		{"limit", jetstream.StreamConfig{
			Name: streamTasks, Subjects: []string{"task.>", "retry.>"},
			Retention: jetstream.WorkQueuePolicy, MaxMsgs: 10,
		}, Config{}, []string{"TASKS", "max messages is 10, want -1"}},
		{"retention and discard", jetstream.StreamConfig{
			Name: streamEvents, Subjects: []string{"video.>", "job.>"},
			Retention: jetstream.InterestPolicy, MaxBytes: 1 << 20,
		}, Config{}, []string{
			"EVENTS", "retention is Interest, want Limits", "discard is DiscardOld, want DiscardNew",
		}},
		{"no limit of the log", jetstream.StreamConfig{
			Name: streamEvents, Subjects: []string{"video.>", "job.>"}, Discard: jetstream.DiscardNew,
		}, Config{}, []string{"max bytes is unlimited"}},
		{"size of the log", jetstream.StreamConfig{
			Name: streamEvents, Subjects: []string{"video.>", "job.>"},
			Discard: jetstream.DiscardNew, MaxBytes: 1 << 20,
		}, Config{EventsMaxBytes: 1 << 21}, []string{"max bytes is 1048576, want 2097152"}},
		{"subjects", jetstream.StreamConfig{
			Name: streamDead, Subjects: []string{"dead.letters"}, Discard: jetstream.DiscardNew,
		}, Config{}, []string{"DEAD", "subjects is dead.letters, want dead.>"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			nc := newBroker(t).connect()
			js, err := jetstream.New(nc)
			must(t, err)
			_, err = js.CreateStream(soon(t), test.live)
			must(t, err)
			_, err = Open(soon(t), nc, test.config)
			if err == nil {
				t.Fatal("opened")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestOpenBringsStreamsUpToDate(t *testing.T) {
	b := newBroker(t)
	js, err := jetstream.New(b.connect())
	must(t, err)
	_, err = js.CreateStream(soon(t), jetstream.StreamConfig{
		Name: streamEvents, Subjects: []string{"job.>", "video.>"},
		Discard: jetstream.DiscardNew, MaxBytes: 1 << 20,
	})
	must(t, err)
	b.open(Config{})
	s, err := js.Stream(soon(t), streamEvents)
	must(t, err)
	if c := s.CachedInfo().Config; c.RePublish == nil || c.Duplicates != duplicateWindow || c.MaxBytes != 1<<20 {
		t.Errorf("stream is %+v", c)
	}
}

func TestConfigNamesTheBadField(t *testing.T) {
	for want, c := range map[string]Config{
		"Replicas":       {Replicas: 2},
		"EventsMaxBytes": {EventsMaxBytes: -1},
		"AckWait":        {AckWait: time.Millisecond},
		"Coordinators":   {Coordinators: -1},
		"timeout":        {PublishTimeout: -1},
		"Exclusive":      {Exclusive: true, Replicas: 3},
	} {
		_, err := Open(t.Context(), nil, c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v lacks %s", c, err, want)
		}
	}
}

func TestHealthyWithoutServer(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{PublishTimeout: 300 * time.Millisecond})
	b.stop()
	if err := bus.Healthy(soon(t)); err == nil {
		t.Error("healthy without a server")
	}
}
