package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(pipelinetest.Context(t), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func TestServerKeepsWhatItAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "broker")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a request has 5 s without a deadline
	defer cancel()
	for round := range uint64(3) {
		s := start(t, dir)
		if err := s.Healthy(); err != nil {
			t.Error(err)
		}
		if c := s.server.JetStreamConfig(); !c.SyncAlways || c.MaxStore != maxStore {
			t.Errorf("JetStream runs with %+v", c)
		}
		nc, err := s.Conn()
		if err != nil {
			t.Fatal(err)
		}
		if nc.MaxPayload() != MaxPayload {
			t.Errorf("payload of %d bytes", nc.MaxPayload())
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(ctx, "s", bytes.Repeat([]byte("x"), MaxPayload-1024))
		if err != nil {
			t.Fatal(err)
		}
		if ack.Sequence != round+1 {
			t.Errorf("sequence %d in round %d", ack.Sequence, round)
		}
		nc.Close()
		s.Shutdown()
		s.Shutdown()
		if err := s.Healthy(); err == nil {
			t.Error("healthy after Shutdown")
		}
	}
}

func TestServerHasNoPort(t *testing.T) {
	if a := start(t, t.TempDir()).server.Addr(); a != nil {
		t.Errorf("listens on %s", a)
	}
}

func TestFolderIsOfOneServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	_, err := Start(t.Context(), Config{Dir: dir})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "data folder of its own") {
		t.Errorf("second start: %v", err)
	}
	s.Shutdown()
	start(t, dir)
}

func TestStartSaysWhyNot(t *testing.T) {
	if _, err := Start(t.Context(), Config{}); err == nil {
		t.Error("started without a folder")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Dir: file}); err == nil {
		t.Error("started in a file")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log pipelinetest.Buffer
	_, err := Start(t.Context(), Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("start beside a file in the way: %v", err)
	}
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("log %q lacks the reason", log.String())
	}
	if err := os.Remove(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	start(t, dir) // the failed start let go of the folder
}

// TestSlowStartSaysWhatItReads: whoever waits for a start learns that it reads all messages, and how many it has
// read; a fast start says nothing.
func TestSlowStartSaysWhatItReads(t *testing.T) {
	dir := t.TempDir()
	size := len(read(t, filled(t, dir)))
	for slow, want := range map[time.Duration]string{
		time.Hour: "", 1: fmt.Sprintf("messages=10 bytes=%d of=%d\n", size, size),
	} {
		var log pipelinetest.Buffer
		s, err := Start(pipelinetest.Context(t), Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)), Slow: slow})
		if err != nil {
			t.Fatal(err)
		}
		s.Shutdown()
		lines := strings.Count(log.String(), "reads all messages")
		if !strings.Contains(log.String(), want) || lines != min(1, len(want)) {
			t.Errorf("slow after %s: %q", slow, log.String())
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Start(ctx, Config{Dir: dir}); err == nil {
		s.Shutdown() // it was ready before it looked at ctx
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	start(t, dir)
}
