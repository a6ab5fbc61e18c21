package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestFullLogIsEmptiedByDeletion: a server whose event log is full says so and what to do, ends the videos
// that it took, and takes others once some are deleted.
func TestFullLogIsEmptiedByDeletion(t *testing.T) {
	data := t.TempDir()
	smallLog(t, data, 256<<10)
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

// smallLog makes the event log of a data folder, with a limit.
func smallLog(t *testing.T, data string, limit int64) {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: broker.Dir(data)})
	check(t, err)
	defer server.Shutdown()
	conn, err := server.Conn()
	check(t, err)
	defer conn.Close()
	_, err = bus.Open(t.Context(), conn, bus.Config{Exclusive: true, EventsMaxBytes: limit})
	check(t, err)
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
