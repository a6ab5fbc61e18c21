package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestMain fails when tests leave goroutines. It ignores the two of a stream's files that a server of a cluster
// forgets when it is shut down while it makes the stream; a server that still runs has many others.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

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
	s, err := embedded.Start(soon(b.t), embedded.Config{Dir: b.dir, Logger: testLog(b.t)})
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
	bus, err := Open(soon(b.t), b.connect(), cfg)
	must(b.t, err)
	return bus
}

func newBus(t *testing.T, cfg Config) *Bus { return newBroker(t).open(cfg) }

// soon returns a context for one wait.
func soon(t *testing.T) context.Context { return pipelinetest.Context(t) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive returns the next value.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	return pipelinetest.Receive(t, "what comes next", from)
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
		}, Config{}, []string{"TASKS", "max messages is 10, want unlimited"}},
		{"retention and discard", jetstream.StreamConfig{
			Name: streamEvents, Subjects: []string{"video.>", "job.>"},
			Retention: jetstream.InterestPolicy, MaxBytes: 1 << 20,
		}, Config{}, []string{
			"EVENTS", "retention is Interest, want Limits", "discard is DiscardOld, want DiscardNew",
		}},
		{"no limit of the log", jetstream.StreamConfig{
			Name: streamEvents, Subjects: []string{"video.>", "job.>"}, Discard: jetstream.DiscardNew,
		}, Config{}, []string{"max bytes is unlimited, want a limit"}},
		{"size of the log", jetstream.StreamConfig{
			Name: streamEvents, Subjects: []string{"video.>", "job.>"},
			Discard: jetstream.DiscardNew, MaxBytes: 1 << 20,
		}, Config{EventsMaxBytes: 1 << 21}, []string{"max bytes is 1 MiB, want 2 MiB"}},
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

// The error names what a stream lacks. Change changes it; Open changes nothing.
func TestChangeIsTheOnlyWayToChangeAStream(t *testing.T) {
	nc := newBroker(t).connect()
	js, err := jetstream.New(nc)
	must(t, err)
	_, err = js.CreateStream(soon(t), jetstream.StreamConfig{
		Name: streamEvents, Subjects: []string{"job.>", "video.>"}, Duplicates: time.Minute,
		Discard: jetstream.DiscardNew, MaxBytes: 1 << 20, MaxAge: time.Hour,
	})
	must(t, err)
	before := configOf(t, js, streamEvents)
	_, err = Open(soon(t), nc, Config{})
	if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "republish is none, want > to live.>") ||
		!strings.Contains(err.Error(), "max age is 1h, want unlimited") {
		t.Errorf("opened, or without naming the difference: %v", err)
	}
	all, err := Look(soon(t), nc, Config{EventsMaxBytes: 1 << 21})
	must(t, err)
	if len(all) != 10 || len(all[0].Differences) != 3 || all[0].Absent || !all[1].Absent {
		t.Fatalf("looked at %+v", all)
	}
	if after := configOf(t, js, streamEvents); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	must(t, Change(soon(t), nc, all[0]))
	_, err = Open(soon(t), nc, Config{})
	must(t, err)
	c := configOf(t, js, streamEvents)
	if c.RePublish == nil || c.Duplicates != time.Minute || c.MaxBytes != 1<<21 {
		t.Errorf("stream is %+v", c)
	}
}

func TestChangeRefusesWhatWouldLoseMessages(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	for i := range 10 {
		_, err := bus.Append(soon(t), event(t, "vid_1", fmt.Sprint("job-", i)), 0)
		must(t, err)
	}
	all, err := Look(soon(t), bus.nc, Config{EventsMaxBytes: 1024})
	must(t, err)
	if err := Change(soon(t), bus.nc, all[0]); err == nil || !strings.Contains(err.Error(), ", more than 1 KiB") {
		t.Errorf("made the log smaller than its contents: %v", err)
	}
	must(t, bus.js.DeleteStream(soon(t), streamTasks))
	_, err = bus.js.CreateStream(soon(t), jetstream.StreamConfig{Name: streamTasks, Subjects: []string{"task.>"}})
	must(t, err)
	all, err = Look(soon(t), bus.nc, Config{})
	must(t, err)
	err = Change(soon(t), bus.nc, all[1])
	if err == nil || !strings.Contains(err.Error(), "retention is Limits, want WorkQueue") {
		t.Errorf("changed a setting that the server cannot change: %v", err)
	}
	all, err = Look(soon(t), bus.nc, Config{EventsMaxBytes: 9 << 30})
	must(t, err)
	err = Change(soon(t), bus.nc, all...)
	if err == nil || !strings.HasPrefix(err.Error(), "nothing was changed: TASKS: retention is Limits") {
		t.Errorf("changed some settings, although others cannot be changed: %v", err)
	}
	if c := configOf(t, bus.js, streamEvents); c.MaxBytes != defaultEventsMaxBytes {
		t.Errorf("the log was changed to %d bytes before the tasks were looked at", c.MaxBytes)
	}
}

// A single server keeps one copy. Check knows that before anything is changed, and says it once for all streams.
func TestChangeRefusesCopiesWithoutACluster(t *testing.T) {
	bus := newBus(t, Config{})
	all, err := Look(soon(t), bus.nc, Config{Replicas: 3, EventsMaxBytes: 9 << 30})
	must(t, err)
	err = Check(all...)
	want := "EVENTS, TASKS, DEAD, PROGRESS, KV_WORKERS, KV_WEBHOOKS, HOOKS, DELIVERIES, KV_CONTROL, KV_SECRETS: 3 copies need a cluster of NATS " +
		"servers, and the broker is a single one; let it join a cluster, or ask for one copy"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if changed := Change(soon(t), bus.nc, all...); changed == nil ||
		changed.Error() != "nothing was changed: "+want {
		t.Errorf("changed: %v", changed)
	}
	if c := configOf(t, bus.js, streamEvents); c.MaxBytes != defaultEventsMaxBytes {
		t.Errorf("the log has %d bytes", c.MaxBytes)
	}
}

// When the server refuses a change, the changes before it stay, those after it are not made, and the error
// tells them apart.
func TestChangeTellsHowFarItCame(t *testing.T) {
	bus := newBus(t, Config{})
	for _, name := range []string{streamEvents, streamDead, streamProgress} {
		c := configOf(t, bus.js, name)
		c.MaxAge = time.Hour
		_, err := bus.js.UpdateStream(soon(t), c)
		must(t, err)
	}
	all, err := Look(soon(t), bus.nc, Config{})
	must(t, err)
	must(t, bus.js.DeleteStream(soon(t), streamDead)) // somebody else changes something, too
	err = Change(soon(t), bus.nc, all...)
	if !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.HasPrefix(err.Error(), "change DEAD: ") ||
		!strings.Contains(err.Error(), "; changed: EVENTS; not changed: DEAD, PROGRESS; `reelmill streams show`") {
		t.Errorf("changed: %v", err)
	}
	log, progress := configOf(t, bus.js, streamEvents).MaxAge, configOf(t, bus.js, streamProgress).MaxAge
	if log != 0 || progress != time.Hour {
		t.Errorf("the log has a max age of %s, progress of %s", log, progress)
	}
}

func TestChangeWithoutAnAnswerIsInDoubt(t *testing.T) {
	bus := newBus(t, Config{})
	all, err := Look(soon(t), bus.nc, Config{EventsMaxBytes: 9 << 30})
	must(t, err)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	err = Change(canceled, bus.nc, all...)
	if !errors.Is(err, context.Canceled) ||
		!strings.HasSuffix(err.Error(), "canceled; perhaps changed: EVENTS; `reelmill streams show` shows what differs now") {
		t.Errorf("changed: %v", err)
	}
}

// Open uses a live consumer as it is, unless it keeps tasks or events from the bus.
func TestOpenTakesConsumersAsTheyAre(t *testing.T) {
	b := newBroker(t)
	first := b.open(Config{AckWait: time.Minute})
	must(t, first.Enqueue(soon(t), task("a", "", 0)))
	must(t, next(t, first).Ack(soon(t)))
	name := consumerName("transcode", pipeline.Normal, "default")
	second := b.open(Config{AckWait: 30 * time.Second})
	must(t, second.Enqueue(soon(t), task("b", "", 0)))
	must(t, next(t, second).Ack(soon(t)))
	c, err := second.js.Consumer(soon(t), streamTasks, name)
	must(t, err)
	live := c.CachedInfo().Config
	if live.AckWait != time.Minute {
		t.Errorf("the lease of a live consumer became %s", live.AckWait)
	}
	live.MaxDeliver = 1
	_, err = second.js.UpdateConsumer(soon(t), streamTasks, live)
	must(t, err)
	_, err = Open(soon(t), b.connect(), Config{AckWait: 30 * time.Second})
	if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "max deliver is 1, want unlimited") {
		t.Errorf("opened with a consumer that hands out each task once: %v", err)
	}
	all, err := Look(soon(t), second.nc, Config{AckWait: 30 * time.Second})
	must(t, err)
	for _, l := range all {
		must(t, Change(soon(t), second.nc, l))
	}
	b.open(Config{AckWait: 30 * time.Second})
}

// A worker that starts before its server creates neither log nor queue.
func TestJoinCreatesNoLog(t *testing.T) {
	b := newBroker(t)
	_, err := Open(soon(t), b.connect(), Config{Join: true})
	if !errors.Is(err, ErrAbsent) {
		t.Fatalf("opened: %v", err)
	}
	js, err := jetstream.New(b.connect())
	must(t, err)
	names := js.StreamNames(soon(t))
	for name := range names.Name() {
		t.Errorf("stream %s was made", name)
	}
	must(t, names.Err())
	b.open(Config{})
	b.open(Config{Join: true})
}

// configOf returns the settings of a live stream.
func configOf(t *testing.T, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	s, err := js.Stream(soon(t), name)
	must(t, err)
	return s.CachedInfo().Config
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
