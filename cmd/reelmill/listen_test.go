package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// between is a proxy before a server, which keeps what was asked for.
type between struct {
	url string

	mu    sync.Mutex
	asked []string // paths with their parameters, of GET
	busy  bool     // answer 429 to whoever reads events
}

// standBetween starts a proxy before a server.
func standBetween(t *testing.T, server string) *between {
	t.Helper()
	to, err := url.Parse(server)
	check(t, err)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	b := &between{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && b.turnsAway(r.URL) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "later", http.StatusTooManyRequests)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	b.url = proxy.URL
	return b
}

func (b *between) turnsAway(u *url.URL) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, u.RequestURI())
	return b.busy && strings.HasPrefix(u.Path, "/v1/events")
}

func (b *between) setBusy(busy bool) { b.mu.Lock(); b.busy = busy; b.mu.Unlock() }

// has returns how many requests were as ok says.
func (b *between) has(ok func(uri string) bool) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, uri := range b.asked {
		if ok(uri) {
			n++
		}
	}
	return n
}

// TestListenWaitsForABusyServer: a server that has too much to do (429) does not end listen. It waits, and gets what
// comes then by the event stream.
func TestListenWaitsForABusyServer(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	proxy := standBetween(t, p.url)
	proxy.setBusy(true)
	receiver, got := hear(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs, done := new(pipelinetest.Buffer), make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"listen", "--forward-to", receiver, "--after", "0", "--server", proxy.url}, io.Discard, errs)
	}()
	pipelinetest.Until(t, "listen to be told to wait", func() bool {
		if len(done) > 0 {
			t.Fatalf("listen ended with %v", <-done)
		}
		return strings.Contains(errs.String(), "does not answer")
	})
	proxy.setBusy(false)
	uploadText(t, p.url)
	if first := pipelinetest.Receive(t, "an event", got); first.kind != "video.uploaded" {
		t.Errorf("got %s", first.kind)
	}
	uploadText(t, p.url)
	pipelinetest.Receive(t, "another event", got)
	streams := proxy.has(func(uri string) bool { return strings.HasPrefix(uri, "/v1/events/stream") })
	if streams == 0 {
		t.Errorf("listen did not follow the event stream, but asked for %q", proxy.asked)
	}
	cancel()
	if err := <-done; exitCode(err) != exitInterrupted {
		t.Errorf("listen ended with %v", err)
	}
}

// TestListenSendsWhatWas: listen sends the video as it was just after each event, as an endpoint gets it, and its id
// alone when it is deleted since.
func TestListenSendsWhatWas(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	api := client.New(p.url, nil)
	uploadText(t, p.url)
	var videos []pipeline.VideoView
	for v, err := range api.Videos(t.Context(), client.ListOptions{}) {
		check(t, err)
		videos = append(videos, v)
	}
	if len(videos) != 1 {
		t.Fatalf("%d videos", len(videos))
	}
	_, err := api.Cancel(t.Context(), videos[0].ID)
	check(t, err)
	listen := func(want ...string) {
		t.Helper()
		receiver, got := hear(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- run(ctx, []string{"listen", "--forward-to", receiver, "--after", "0", "--server", p.url}, io.Discard, io.Discard)
		}()
		for _, status := range want {
			event := pipelinetest.Receive(t, "the video when it was "+status, got)
			var body struct{ Data struct{ Status string } }
			check(t, json.Unmarshal(event.body, &body))
			if body.Data.Status != status || event.video != videos[0].ID {
				t.Errorf("%s has status %q, want %q", event.kind, body.Data.Status, status)
			}
		}
		cancel()
		<-done
	}
	listen("queued", "canceled")
	check(t, api.Delete(t.Context(), videos[0].ID))
	listen("") // video.deleted; the other events are gone
}

// TestUploadWaitsByALongPoll: while nothing happens to a video, upload --wait asks for it once, and the server answers
// when it is time.
func TestUploadWaitsByALongPoll(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	proxy := standBetween(t, p.url)
	file := filepath.Join(t.TempDir(), "film.mp4")
	check(t, os.WriteFile(file, []byte("no video"), 0o600))
	err := run(t.Context(), []string{"upload", file, "--wait=ready", "--timeout", "10s", "--server", proxy.url}, io.Discard, io.Discard)
	if _, ok := errors.AsType[*goesOnError](err); !ok {
		t.Fatalf("upload ended with %v", err)
	}
	video := func(uri string) bool {
		return strings.HasPrefix(uri, "/v1/videos/vid_") && !strings.Contains(uri, "/events")
	}
	if n := proxy.has(func(uri string) bool { return video(uri) && strings.Contains(uri, "wait=30s") }); n == 0 {
		t.Errorf("there was no long poll, but %q", proxy.asked)
	}
	if n := proxy.has(func(uri string) bool { return video(uri) && !strings.Contains(uri, "wait=") }); n > 4 {
		t.Errorf("upload asked %d times: %q", n, proxy.asked)
	}
}
