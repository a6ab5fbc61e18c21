package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// told is a request to a receiver.
type told struct {
	header http.Header
	body   []byte
	kind   string
	video  string
}

// hear starts a receiver that accepts everything.
func hear(t *testing.T) (url string, got chan told) {
	t.Helper()
	got = make(chan told, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var m struct {
			Type string
			Data struct{ ID string }
		}
		if err = errors.Join(err, json.Unmarshal(raw, &m)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got <- told{r.Header.Clone(), raw, m.Type, m.Data.ID}
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func verify(t *testing.T, secret string, got told) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	check(t, err)
	if err := v.Verify(got.body, got.header); err != nil {
		t.Errorf("the reference library refuses %s: %v", got.kind, err)
	}
}

// uploadText uploads a file that is no video, which is enough for video.uploaded.
func uploadText(t *testing.T, server string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "film.mp4")
	check(t, os.WriteFile(file, []byte("no video "+t.Name()), 0o600))
	command(t, "upload", file, "--server", server)
}

func unmarshal[T any](t *testing.T, line string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return v
}

// TestWebhooksCommands uses each command against a real server and a real receiver.
func TestWebhooksCommands(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers", "--webhook-allow-private", "--min-free", "1")
	url, got := hear(t)
	webhook := func(args ...string) string {
		return command(t, append(append([]string{"webhooks"}, args...), "--server", p.url)...)
	}
	if out := webhook("list"); !strings.Contains(out, "There are no endpoints") {
		t.Errorf("list: %s", out)
	}
	made := unmarshal[webhooks.EndpointView](t, webhook("create", "--url", url+"/in", "--events", "video.uploaded,job.*", "--json"))
	uploadText(t, p.url)
	first := pipelinetest.Receive(t, "video.uploaded", got)
	verify(t, made.Secret, first)
	if first.kind != "video.uploaded" || !strings.HasPrefix(first.video, "vid_") {
		t.Errorf("got %s", first.body)
	}
	for _, args := range [][]string{{"list"}, {"get", made.ID}} {
		if out := webhook(args...); !strings.Contains(out, made.ID) || strings.Contains(out, "whsec_") {
			t.Errorf("%v: %s", args, out)
		}
	}
	webhook("test", made.ID, "--type", "video.ready")
	if next := pipelinetest.Receive(t, "the test", got); next.kind != "video.ready" {
		t.Errorf("got %s", next.body)
	}
	command(t, "trigger", "job.errored", "--server", p.url)
	if next := pipelinetest.Receive(t, "the triggered event", got); next.kind != "job.errored" {
		t.Errorf("got %s", next.body)
	}
	if err := run(t.Context(), []string{"trigger", "video.ready", "--server", p.url}, io.Discard, io.Discard); err == nil {
		t.Error("nobody wants video.ready, and trigger says nothing")
	}
	var all []webhooks.DeliveryRecord
	pipelinetest.Until(t, "the delivery to be recorded", func() bool {
		all = unmarshal[[]webhooks.DeliveryRecord](t, webhook("deliveries", made.ID, "--types", "video.uploaded", "--json"))
		return len(all) == 1 && all[0].Status == webhooks.Succeeded
	})
	webhook("redeliver", made.ID, all[0].ID)
	again := pipelinetest.Receive(t, "the delivery again", got)
	if again.header.Get("webhook-id") != first.header.Get("webhook-id") || !bytes.Equal(again.body, first.body) {
		t.Errorf("got %s", again.body)
	}
	if out := webhook("redeliver", made.ID, "--after", "2020-01-01T00:00:00Z", "--status", "succeeded", "--dry-run"); !strings.Contains(out, "3") {
		t.Errorf("dry run: %s", out)
	}
	rotated := unmarshal[webhooks.EndpointView](t, webhook("rotate", made.ID, "--json"))
	uploadText(t, p.url)
	both := pipelinetest.Receive(t, "a delivery after the rotation", got)
	verify(t, made.Secret, both)
	verify(t, rotated.Secret, both)
	if out := webhook("update", made.ID, "--disable"); !strings.Contains(out, "disabled") {
		t.Errorf("update: %s", out)
	}
	webhook("delete", made.ID)
	err := run(t.Context(), []string{"webhooks", "get", made.ID, "--server", p.url}, io.Discard, io.Discard)
	if exitCode(err) != exitNotFound {
		t.Errorf("get of a deleted endpoint: %v", err)
	}
}

// TestListenForwardsAndResumes: listen forwards what comes after its start, signed, through a restart of the
// server, each event once.
func TestListenForwardsAndResumes(t *testing.T) {
	data, address := t.TempDir(), pipelinetest.FreeAddress(t)
	serve := func() *process {
		return start(t, binary, "serve", "--data", data, "--listen", address, "--no-workers", "--min-free", "1")
	}
	p := serve()
	uploadText(t, p.url) // before listen begins
	url, got := hear(t)
	secret := webhooks.NewSecret()
	t.Setenv("REELMILL_LISTEN_SECRET", secret)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errs, done := new(pipelinetest.Buffer), new(pipelinetest.Buffer), make(chan error, 1)
	go func() {
		args := []string{"listen", "--forward-to", url, "--events", "video.*", "--json", "--server", p.url}
		done <- run(ctx, args, out, errs)
	}()
	pipelinetest.Until(t, "listen to begin", func() bool { return strings.Contains(errs.String(), "Forward events after") })
	uploadText(t, p.url)
	first := pipelinetest.Receive(t, "an event", got)
	verify(t, secret, first)
	p.stop(t)
	pipelinetest.Until(t, "listen to miss the server", func() bool { return strings.Contains(errs.String(), "does not answer") })
	p = serve()
	uploadText(t, p.url)
	second := pipelinetest.Receive(t, "an event after the restart", got)
	verify(t, secret, second)
	if first.video == second.video || first.kind != "video.uploaded" || second.kind != "video.uploaded" {
		t.Errorf("got %s and %s", first.body, second.body)
	}
	pipelinetest.Until(t, "two lines", func() bool { return strings.Count(out.String(), "\n") == 2 })
	cancel()
	if err := <-done; exitCode(err) != exitInterrupted {
		t.Errorf("listen ended with %v", err)
	}
	if line := out.String(); !strings.Contains(line, `"status":200`) || len(got) > 0 || strings.Contains(line+errs.String(), secret) {
		t.Errorf("printed %s%s, and %d more came", line, errs, len(got))
	}
}
