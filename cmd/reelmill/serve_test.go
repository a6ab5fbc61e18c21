package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestServeSaysThatTheDiskIsFull checks that a server that is not ready says where it listens, what is wrong
// and what to do.
func TestServeSaysThatTheDiskIsFull(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out bytes.Buffer
	data := t.TempDir()
	log, ended := &pipelinetest.Buffer{}, make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--min-free", "100TiB"}, &out, log)
	}()
	pipelinetest.Until(t, "a warning", func() bool { return strings.Contains(log.String(), "not ready") })
	for _, part := range []string{"level=WARN", "http://127.0.0.1:", "storage is full", "uploads leave 100 TiB", "--min-free"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in the log:\n%s", part, log)
		}
	}
	_, listens, _ := strings.Cut(log.String(), "http://")
	address, _, _ := strings.Cut(listens, " ")
	lines, _ := examine(t, "--data", data, "--listen", address)
	wantLine(t, lines, "address", "FAIL", "is not ready: disk: ")
	stop()
	pipelinetest.Receive(t, "the end", ended)
	if out.Len() > 0 {
		t.Errorf("it said that it is ready: %s", &out)
	}
}

// TestAnnounceWarnsAndGoesOn checks that a late server still prints the ready line.
func TestAnnounceWarnsAndGoesOn(t *testing.T) {
	log := &pipelinetest.Buffer{}
	var after atomic.Int64 // requests after the warning
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if strings.Contains(log.String(), "not ready") && after.Add(1) > 3 {
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, err := w.Write([]byte(`{"checks":{"bus":"ok","disk":"full"}}`))
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	var out, errOut bytes.Buffer
	check(t, announce(t.Context(), server.Client(), streams{&out, &errOut}, server.URL, slog.New(slog.NewTextHandler(log, nil))))
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "not ready: disk: full") {
		t.Errorf("%d lines are logged:\n%s", n, log)
	}
	var ready readyLine
	if err := json.Unmarshal(out.Bytes(), &ready); err != nil || !ready.Ready || ready.URL != server.URL {
		t.Errorf("the ready line is %s: %v", &out, err)
	}
}
