package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestFullLogIsEmptiedByDeletion checks that a server with a full event log says so and what to do, completes
// the videos that it accepted, and accepts others once some are deleted.
func TestFullLogIsEmptiedByDeletion(t *testing.T) {
	data := t.TempDir()
	onLog(t, data, bus.Config{EventsMaxBytes: 256 << 10}, func(*bus.Bus, jetstream.JetStream) {})
	p := startServe(t, binary, data)
	api := p.client()
	bad := filepath.Join(t.TempDir(), "bad.mp4")
	check(t, os.WriteFile(bad, []byte("no video at all, only a few words"), 0o600))
	upload := func(words int) (pipeline.VideoView, error) {
		return api.Upload(t.Context(), client.Upload{
			Path: bad, Metadata: map[string]string{"much": strings.Repeat("text", words)},
		})
	}
	var ids []string
	var refused *client.Error
	for _, words := range []int{4000, 0} {
		for range 100 {
			v, err := upload(words)
			if errors.As(err, &refused) {
				break
			}
			check(t, err)
			ids = append(ids, v.ID)
		}
	}
	if refused == nil || refused.Status != http.StatusInsufficientStorage || refused.Code != "log_full" ||
		!strings.Contains(refused.Remedy, "Delete videos") || len(ids) < 3 {
		t.Fatalf("after %d uploads: %+v", len(ids), refused)
	}
	status, checks := readyAnswer(t, p)
	if status != http.StatusServiceUnavailable || !strings.Contains(checks, "the event log has") {
		t.Errorf("/readyz: %d %s", status, checks)
	}
	for _, id := range ids {
		if end := awaitEnd(t, api, id); end.Status != pipeline.StateVideoRejected {
			t.Errorf("a video that was taken is %s: %+v", end.Status, end.Problem)
		}
	}
	for _, id := range ids {
		check(t, api.Delete(t.Context(), id))
	}
	pipelinetest.Until(t, "an upload is taken again", func() bool { _, err := upload(4000); return err == nil })
	pipelinetest.Until(t, "the server is ready again", func() bool { status, _ := readyAnswer(t, p); return status == http.StatusOK })
}

// readyAnswer asks /readyz.
func readyAnswer(t *testing.T, p *process) (status int, checks string) {
	t.Helper()
	answer, err := http.Get(p.url + "/readyz")
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(t, err)
	return answer.StatusCode, string(body)
}
