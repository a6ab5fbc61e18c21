package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
)

// isSetting reports whether err says which setting is wrong.
func isSetting(err error) bool {
	_, ok := errors.AsType[SettingError](err)
	return ok
}

// TestStoreSettings checks which folder a setting means, and what is refused.
func TestStoreSettings(t *testing.T) {
	data := t.TempDir()
	for store, c := range map[string]struct {
		folder  string
		want    string // in the error of opening it
		setting bool
	}{
		"":                          {folder: filepath.Join(data, "objects")},
		filepath.Join(data, "here"): {folder: filepath.Join(data, "here")},
		"ftp://host/folder":         {want: "neither a folder nor a bucket", setting: true},
		"S3://bucket":               {want: "neither a folder nor a bucket", setting: true},
		"s3:bucket":                 {want: "s3://bucket", setting: true},
		"s3://bucket?colour=red":    {want: `"colour"`, setting: true},
		"s3://bucket?endpoint=http://127.0.0.1:1": {want: "set REELMILL_S3_ACCESS_KEY and"},
	} {
		config := Config{Data: data, Store: store}
		if got := config.StoreFolder(); got != c.folder {
			t.Errorf("%q is the folder %q", store, got)
		}
		err := ProbeStore(t.Context(), config)
		if c.folder != "" {
			check(t, err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || isSetting(err) != c.setting {
			t.Errorf("%q: %v, want %q", store, err, c.want)
		}
	}
}

// fakeBucket is an S3 server that keeps nothing, and answers a GET with a status and a body.
type fakeBucket struct {
	*httptest.Server
	connections, deletes atomic.Int64
}

func newFakeBucket(t *testing.T, status int, body string) *fakeBucket {
	t.Helper()
	b := &fakeBucket{}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("Etag", `"x"`)
		switch r.Method {
		case http.MethodGet:
			w.WriteHeader(status)
			if _, err := io.WriteString(w, body); err != nil {
				t.Error(err)
			}
		case http.MethodDelete:
			b.deletes.Add(1)
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	b.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			b.connections.Add(1)
		case http.StateClosed, http.StateHijacked:
			b.connections.Add(-1)
		}
	}
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// TestProbeOfABucket checks that a probe reports what is wrong, and leaves neither its object nor a connection.
func TestProbeOfABucket(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, want string // want is empty when the bucket is good
	}{
		"good":           {http.StatusOK, "reelmill", ""},
		"other bytes":    {http.StatusOK, "REELMILL", "other bytes"},
		"no bytes":       {http.StatusOK, "", "other bytes"},
		"not to be read": {http.StatusForbidden, "<Error><Code>AccessDenied</Code></Error>", "Access Denied"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBucket(t, c.status, c.body)
			err := ProbeStore(t.Context(), Config{
				Store: "s3://bucket?path_style=true&endpoint=" + b.URL, S3AccessKey: secret.New("a"), S3SecretKey: secret.New("b"),
			})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if n := b.deletes.Load(); n != 1 {
				t.Errorf("the object was deleted %d times", n)
			}
			pipelinetest.Until(t, "all connections are closed", func() bool { return b.connections.Load() == 0 })
		})
	}
}

// TestListen checks the URL of a listener, and that only a badly written address blames the setting.
func TestListen(t *testing.T) {
	taken, _, err := Listen(t.Context(), "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	for address, setting := range map[string]bool{
		"": true, ":": true, "127.0.0.1:": true, "127.0.0.1": true, "8080": true, "::1:8080": true, "127.0.0.1:99999": true,
		taken.Addr().String(): false,
	} {
		l, _, err := Listen(t.Context(), address)
		if err == nil {
			check(t, l.Close())
		}
		if err == nil || isSetting(err) != setting || setting && !strings.Contains(err.Error(), "such as 127.0.0.1:8080") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"127.0.0.1:0", ":0", "0.0.0.0:0"} {
		l, url, err := Listen(t.Context(), address)
		check(t, err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		check(t, errors.Join(err, l.Close()))
		if url != "http://127.0.0.1:"+port {
			t.Errorf("%s is %s", address, url)
		}
	}
}

// TestLoopback checks who may see the metrics beside the API.
func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false,
		"localhost:1": false, ":1": false, "127.0.0.1": false, "": false,
	} {
		if got := Loopback(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

// TestReserve checks how much of a disk uploads leave free, and that an unknown disk is not a full one.
func TestReserve(t *testing.T) {
	const gib = 1 << 30
	for total, want := range map[int64]int64{
		0: 2 * gib, gib: 2 * gib, 20 * gib: 2 * gib, 100 * gib: 10 * gib, 200 * gib: 20 * gib, 4096 * gib: 20 * gib,
	} {
		if got := (&Disk{}).Reserve(total); got != want {
			t.Errorf("%d of %d GiB are left free", got/gib, total/gib)
		}
	}
	if got := (&Disk{MinFree: 5}).Reserve(100 * gib); got != 5 {
		t.Errorf("%d bytes are left free, want 5", got)
	}
	evicted := 0
	evict := []func(){func() { evicted++ }}
	check(t, (&Disk{Dir: t.TempDir(), MinFree: 1, evict: evict}).FreeSpace())
	gone := &Disk{Dir: filepath.Join(t.TempDir(), "gone"), evict: evict}
	if err := gone.FreeSpace(); !errors.Is(err, os.ErrNotExist) || errors.Is(err, storage.ErrFull) || evicted != 0 {
		t.Errorf("of a disk that is gone: %v, and %d evictions", err, evicted)
	}
}

// TestOpenServerLeavesNothingOpen checks that a server that cannot be opened frees its folder.
func TestOpenServerLeavesNothingOpen(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	good := ServerConfig{Config: Config{Data: data, MinFree: 1}, Pipelines: defaultPipelines}
	bad := errors.New("no such worker")
	for name, spoil := range map[string]func(*ServerConfig){
		"pipelines": func(c *ServerConfig) {
			c.Pipelines = func(pipeline.Planner) (map[string]pipeline.Pipeline, error) { return nil, bad }
		},
		"store":             func(c *ServerConfig) { c.Store = "ftp://x" },
		"store is a file":   func(c *ServerConfig) { c.Store = file },
		"slots":             func(c *ServerConfig) { c.RunJobs, c.Slots = true, map[string]int{"nobody": 1} },
		"data is in a file": func(c *ServerConfig) { c.Data = filepath.Join(file, "data") },
	} {
		c := good
		spoil(&c)
		if n, err := OpenServer(t.Context(), c); err == nil {
			t.Errorf("%s: it opened", name)
			check(t, n.Close())
		}
		n, err := OpenServer(t.Context(), good)
		if err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		check(t, n.Close())
	}
}

// TestRunEndsWithItsParts checks that a server ends, with the error, when a part cannot go on.
func TestRunEndsWithItsParts(t *testing.T) {
	for name, breakIt := range map[string]func(*Server, net.Listener) error{
		"listener":   func(_ *Server, l net.Listener) error { return l.Close() },
		"connection": func(n *Server, _ net.Listener) error { n.broker.Conn.Close(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			n, err := OpenServer(t.Context(), ServerConfig{
				Config: Config{Data: t.TempDir(), MinFree: 1}, Pipelines: defaultPipelines, RunJobs: true,
			})
			check(t, err)
			l, address, err := Listen(t.Context(), "127.0.0.1:0")
			check(t, err)
			done := make(chan error, 1)
			go func() { done <- n.Run(t.Context(), l) }()
			awaitReady(t, address, http.StatusOK)
			check(t, breakIt(n, l))
			if err := pipelinetest.Receive(t, "the end of the server", done); err == nil {
				t.Error("it ended without an error")
			}
			check(t, n.Close())
		})
	}
}

// TestWorkerWaitsForTheServer checks that a worker without streams waits, and that it then runs and ends.
func TestWorkerWaitsForTheServer(t *testing.T) {
	s := bustest.Start(t, &server.Options{JetStream: true})
	config := func(log *slog.Logger) WorkerConfig {
		return WorkerConfig{Config: Config{Data: t.TempDir(), NATS: broker.At(s.ClientURL()), Logger: log}}
	}
	told := func(do func()) *slog.Logger { return slog.New(&onWarning{newWarnings(slog.LevelWarn), do}) }

	ctx, cancel := context.WithCancel(t.Context())
	if w, err := OpenWorker(ctx, config(told(cancel))); !errors.Is(err, bus.ErrAbsent) && !errors.Is(err, context.Canceled) {
		t.Errorf("stopped while it waits: %v, %v", w, err)
	}
	w, err := OpenWorker(t.Context(), config(told(func() {
		g, err := newGround(t.Context(), Config{Data: t.TempDir(), NATS: broker.At(s.ClientURL())}, false)
		if err != nil {
			t.Error(err)
			return
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})))
	check(t, err)
	defer func() { check(t, w.Close()) }()
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	pipelinetest.Until(t, "the worker is announced", func() bool {
		present, err := w.bus.Workers(t.Context())
		check(t, err)
		return present["inspect"] == 1
	})
	cancel()
	check(t, ignoreCanceled(pipelinetest.Receive(t, "the end of the worker", done)))

	taken, _, err := Listen(t.Context(), "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	w.config.MetricsListen = taken.Addr().String()
	if err := w.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "metrics: ") {
		t.Errorf("with a taken address for metrics: %v", err)
	}
}

// onWarning is a log that does something at the first warning.
type onWarning struct {
	*warnings
	do func()
}

// Handle implements slog.Handler.
func (w *onWarning) Handle(ctx context.Context, r slog.Record) error {
	if err := w.warnings.Handle(ctx, r); err != nil {
		return err
	}
	if w.counts()[r.Message] == 1 {
		w.do()
	}
	return nil
}

// TestMetricsHaveTheirOwnAddress checks that they are served there, and nothing else is.
func TestMetricsHaveTheirOwnAddress(t *testing.T) {
	address := pipelinetest.FreeAddress(t)
	runServer(t, ServerConfig{Config: Config{Data: t.TempDir(), MinFree: 1, MetricsListen: address}})
	status := func(path string) int {
		answer, err := http.Get(fmt.Sprintf("http://%s%s", address, path))
		if err != nil {
			return 0
		}
		check(t, answer.Body.Close())
		return answer.StatusCode
	}
	pipelinetest.Until(t, "metrics are served", func() bool { return status("/metrics") == http.StatusOK })
	for _, path := range []string{"/", "/v1/videos", "/readyz"} {
		if got := status(path); got != http.StatusNotFound {
			t.Errorf("%s: %d", path, got)
		}
	}
}
