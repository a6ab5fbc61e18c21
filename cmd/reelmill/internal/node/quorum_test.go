package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// runServer opens a server and runs it until the test ends. It returns the server and its URL.
func runServer(t *testing.T, c ServerConfig) (*Server, string) {
	t.Helper()
	c.Pipelines = defaultPipelines
	n := openPatiently(t, c)
	listener, address, err := Listen(t.Context(), "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Logf("run: %v", err) // without a quorum nothing ends well
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, address
}

// openPatiently opens a server, and retries until the cluster has room for the streams and they have leaders.
func openPatiently(t *testing.T, c ServerConfig) *Server {
	t.Helper()
	for ctx := pipelinetest.Context(t); ; {
		if n, err := OpenServer(ctx, c); err == nil {
			return n
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// readiness is an answer of /readyz.
type readiness struct {
	Status string
	Checks map[string]string
}

func askReady(t *testing.T, address string) (r readiness, status int) {
	t.Helper()
	answer, err := http.Get(address + "/readyz")
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(t, err)
	check(t, json.Unmarshal(body, &r))
	return r, answer.StatusCode
}

// awaitReady asks /readyz until it gives the wanted answer.
func awaitReady(t *testing.T, address string, status int) readiness {
	t.Helper()
	var r readiness
	pipelinetest.Until(t, fmt.Sprintf("/readyz answers %d", status), func() bool {
		var got int
		r, got = askReady(t, address)
		return got == status
	})
	return r
}

// warnings counts the lines at a level or above, by message.
type warnings struct {
	slog.Handler
	mu    sync.Mutex
	lines map[string]int
}

func newWarnings(level slog.Level) *warnings {
	return &warnings{
		Handler: slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level}), lines: map[string]int{},
	}
}

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[r.Message]++
	return nil
}

func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

func (w *warnings) counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[string]int{}
	for message, n := range w.lines {
		counts[message] = n
	}
	return counts
}

// TestNodeWithoutQuorumIsNotReadyAndLogsOnce checks that a node reports it at /readyz when two of its three
// NATS servers are gone, and that its loops log it once, however often they fail.
func TestNodeWithoutQuorumIsNotReadyAndLogsOnce(t *testing.T) {
	servers, urls := bustest.Cluster(t)
	log := newWarnings(slog.LevelWarn)
	n, address := runServer(t, ServerConfig{
		Config:  Config{Data: t.TempDir(), NATS: broker.At(urls), Replicas: 3, MinFree: 1, Logger: slog.New(log)},
		RunJobs: true,
	})
	awaitReady(t, address, http.StatusOK)
	for _, s := range servers[1:] {
		s.Shutdown()
		s.WaitForShutdown()
	}
	// At first the node may have no server: the last one is not the one that it was connected to.
	pipelinetest.Until(t, "/readyz tells of the quorum", func() bool {
		r, status := askReady(t, address)
		return status == http.StatusServiceUnavailable && r.Status == "unavailable" &&
			strings.Contains(r.Checks["bus"], "no quorum")
	})
	begun := time.Now()
	pipelinetest.Until(t, "the loops fail twenty times", func() bool {
		if r, status := askReady(t, address); status != http.StatusServiceUnavailable {
			t.Fatalf("/readyz answers %d without a quorum: %+v", status, r)
		}
		return n.bus.Withheld() >= 20
	})
	minutes := 1 + int(time.Since(begun)/time.Minute)
	for message, count := range log.counts() {
		if count > minutes+1 {
			t.Errorf("%q is logged %d times in %d minutes", message, count, minutes)
		}
	}
}

// TestNodeIsReadyOnceTheCatalogHasCaughtUp checks that a server is not ready while its read model lacks
// events from before its start.
func TestNodeIsReadyOnceTheCatalogHasCaughtUp(t *testing.T) {
	g, err := newGround(t.Context(), Config{Data: t.TempDir()}, false)
	check(t, err)
	n := &Server{ground: g}
	defer func() { check(t, n.Close()) }()
	check(t, n.openCatalog(t.Context()))
	m := &mill{tb: t, bus: n.bus}
	for i := range 3 {
		m.upload("p", fmt.Sprint("v", i))
	}
	if err := n.caughtUp(t.Context()); err == nil || !strings.Contains(err.Error(), "0 of 3 events") {
		t.Errorf("an empty catalog of three events: %v", err)
	}
	follow, stop := context.WithCancel(t.Context())
	err = n.bus.Follow(follow, 0, func(ctx context.Context, events []pipeline.Event) error {
		if events[len(events)-1].Sequence == 3 {
			stop()
		}
		return n.catalog.Apply(context.WithoutCancel(ctx), events)
	})
	check(t, ignoreCanceled(err))
	check(t, n.caughtUp(t.Context()))
	m.upload("p", "v3")
	check(t, n.caughtUp(t.Context())) // the event is only just written
}

// TestPaceOfTheReadModel checks that the read model may be late for seconds, but no longer.
func TestPaceOfTheReadModel(t *testing.T) {
	var p pace
	at := time.Now()
	for _, step := range []struct {
		applied, last uint64
		after         time.Duration
		late          bool
	}{
		{applied: 5, last: 9, late: true},                      // at the start
		{applied: 8, last: 12, after: time.Second, late: true}, // it lacks one of the 9 at the start
		{applied: 9, last: 12, after: 2 * time.Second},         // all of them
		{applied: 10, last: 20, after: 5 * time.Second},        // 12 are due within 7 s
		{applied: 11, last: 20, after: 30 * time.Second, late: true},
		{applied: 12, last: 20, after: 31 * time.Second},
		{applied: 20, last: 20, after: time.Hour},
	} {
		if err := p.check(step.applied, step.last, at.Add(step.after)); (err != nil) != step.late {
			t.Errorf("%+v: %v", step, err)
		}
	}
}
