package bus

import (
	"context"
	"encoding/json"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// Others rely on the document and its key, byte for byte.
func TestPresenceOnTheWire(t *testing.T) {
	slots := 2
	full := Presence{
		Type: "transcode", Version: "v1.4.0", Process: "host-7/4711", Slots: &slots,
		Schema: json.RawMessage(`{"type":"object"}`),
	}
	for want, p := range map[string]Presence{
		`{"type":"transcode","version":"v1.4.0","process":"host-7/4711","slots":2,"schema":{"type":"object"}}`: full,
		`{"type":"audio","version":"","process":"a"}`:                                                          {Type: "audio", Process: "a"},
	} {
		if doc, err := json.Marshal(p); err != nil || string(doc) != want {
			t.Errorf("%s, %v; want %s", doc, err, want)
		}
	}
	if key := full.key(); key != "transcode-441d1ab870397f97" {
		t.Errorf("key %s", key)
	}
}

// A worker outside this repository announces itself by one publish. A document with mistakes hides no other one.
func TestForeignPresence(t *testing.T) {
	bus := newBus(t, Config{})
	for key, doc := range map[string]string{
		"python-1": `{"type":"subtitles","process":"py-1","language":"python"}`,
		"broken-1": `{`, "broken-2": `{"type":"a.b","process":"p"}`, "broken-3": `{"type":"audio"}`,
	} {
		_, err := bus.js.Publish(soon(t), "$KV.WORKERS."+key, []byte(doc))
		must(t, err)
	}
	present, err := bus.Present(soon(t))
	must(t, err)
	if len(present) != 1 || present[0].Type != "subtitles" || present[0].Process != "py-1" || present[0].Slots != nil {
		t.Errorf("present are %+v", present)
	}
}

// A list that breaks off is an error: what it lacks would count as gone.
func TestPresentBreaksOff(t *testing.T) {
	updates := make(chan jetstream.KeyValueEntry)
	close(updates)
	if present, err := newBus(t, Config{}).collect(soon(t), updates); err == nil {
		t.Errorf("present are %v, without an error", present)
	}
}

func TestWorkersCountsProcesses(t *testing.T) {
	bus := newBus(t, Config{})
	workersAre(t, bus, nil)
	for _, p := range []Presence{
		{Type: "transcode", Process: "a"}, {Type: "audio", Process: "a"}, {Type: "audio", Process: "b"},
		{Type: "audio", Process: "b", Version: "again"},
	} {
		must(t, bus.Announce(soon(t), p))
	}
	workersAre(t, bus, map[string]int{"transcode": 1, "audio": 2})
	for _, bad := range []Presence{{Type: "a.b", Process: "a"}, {Type: "audio"}} {
		if err := bus.Announce(soon(t), bad); err == nil {
			t.Errorf("announced %+v", bad)
		}
	}
}

func workersAre(t *testing.T, bus *Bus, want map[string]int) {
	t.Helper()
	if workers, err := bus.Workers(soon(t)); err != nil || !maps.Equal(workers, want) {
		t.Errorf("workers %v, %v; want %v", workers, err, want)
	}
}

// A server that restarts under a living bus forgets what it kept in memory; the next Announce brings it back.
func TestAnnounceBringsBackWhatARestartForgot(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	b.stop()
	b.start()
	js, err := jetstream.New(b.connect())
	must(t, err)
	if _, err := js.Stream(soon(t), streamProgress); err == nil {
		t.Log("the server kept a stream in memory over its restart")
	}
	receiveConnected(t, bus)
	if _, ok, err := bus.LastProgress(soon(t), "default", "vid_1", "a"); ok || err != nil {
		t.Errorf("progress %t, %v", ok, err)
	}
	workersAre(t, bus, nil)
	must(t, bus.Announce(soon(t), Presence{Type: "audio", Process: "a"}))
	workersAre(t, bus, map[string]int{"audio": 1})
	must(t, bus.Progress(soon(t), "default", pipeline.Progress{Video: "vid_1", Job: "a"}))
	waitForProgress(t, bus, 0)
}

func TestKeepAnnouncing(t *testing.T) {
	bus := newBus(t, Config{})
	during(t, func(ctx context.Context) {
		bus.KeepAnnouncing(ctx, []Presence{{Type: "audio", Process: "a"}, {Type: "idle", Process: "a"}})
	})
	pipelinetest.Until(t, "both worker types", func() bool {
		workers, err := bus.Workers(soon(t))
		must(t, err)
		return len(workers) == 2
	})
}

// Slots adds up the slots of this process, as it knows them, and those that other processes announced.
func TestSlots(t *testing.T) {
	bus := newBus(t, Config{})
	n := func(slots int) *int { return &slots }
	own := []Presence{{Type: "slices", Process: "self", Slots: n(2)}}
	for _, p := range []Presence{
		{Type: "slices", Process: "a", Slots: n(3)},
		{Type: "slices", Process: "b"}, // does not say
		{Type: "other", Process: "a", Slots: n(0)},
		{Type: "other", Process: "c", Slots: n(-4)},
		{Type: "slices", Process: "self", Slots: n(9)}, // announced earlier, and known better
	} {
		must(t, bus.Announce(soon(t), p))
	}
	var s, none Slots
	during(t, func(ctx context.Context) { s.Run(ctx, bus, own) })
	during(t, func(ctx context.Context) { none.Run(ctx, bus, nil) })
	pipelinetest.Until(t, "the slots of all", func() bool { return s.Of("slices") == 2+3+1 && s.Of("other") == 0 })
	pipelinetest.Until(t, "those of others", func() bool { return none.Of("slices") == 3+1+9 })
}

// Of does not wait for a broker that is silent, and makes no request to it.
func TestSlotsComeFromMemory(t *testing.T) {
	bus, requests := newSilentBus(t)
	slots := 2
	var s Slots
	began := time.Now()
	if n := s.Of("slices"); n != 0 {
		t.Errorf("%d slots before anybody counted", n)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the broker was asked %d times", n)
	}
	during(t, func(ctx context.Context) {
		s.Run(ctx, bus, []Presence{{Type: "slices", Process: "self", Slots: &slots}})
	})
	pipelinetest.Until(t, "a request in the background", func() bool { return requests.Load() > 0 })
	for range 1000 {
		if n := s.Of("slices"); n != 2 {
			t.Fatalf("%d slots while the broker is silent", n)
		}
	}
	pipelinetest.Promptly(t, "a thousand questions", began, 100*time.Millisecond)
}

// newSilentBus returns a bus whose broker never answers, and the number of requests to it.
func newSilentBus(t *testing.T) (*Bus, *atomic.Int64) {
	t.Helper()
	s := bustest.Start(t, &server.Options{DontListen: true})
	nc, err := nats.Connect("", nats.InProcessServer(s))
	must(t, err)
	t.Cleanup(nc.Close)
	var requests atomic.Int64
	_, err = nc.Subscribe("$JS.API.>", func(*nats.Msg) { requests.Add(1) })
	must(t, err)
	must(t, nc.Flush())
	bus, err := Attach(nc, Config{Logger: testLog(t)})
	must(t, err)
	return bus, &requests
}

// during runs run until the test ends.
func during(t *testing.T, run func(context.Context)) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// Whatever others announce, a presence that is accepted has a type and a process, and can be encoded.
func FuzzDecodePresence(f *testing.F) {
	for _, doc := range []string{`{"type":"audio","process":"a"}`, `{"type":"a.b","process":"a"}`, `null`, `[]`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := decodePresence(doc)
		if err != nil {
			return
		}
		if !pipeline.ValidName(p.Type) || p.Process == "" || p.slots() < 0 {
			t.Errorf("took %+v", p)
		}
		if _, err := json.Marshal(p); err != nil {
			t.Error(err)
		}
	})
}
