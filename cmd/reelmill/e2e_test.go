package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/s3/s3test"
	"github.com/reelmill/reelmill/workers/workertest"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver is a webhook receiver that accepts only what the reference library verifies.
type receiver struct {
	*httptest.Server
	got chan pipeline.Message
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{got: make(chan pipeline.Message, 16)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if err := verifier.Verify(body, req.Header); err != nil {
			t.Errorf("webhook signature: %v", err)
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		var m pipeline.Message
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("webhook body: %v", err)
		}
		r.got <- m
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

// bucket starts an S3 server, gives the programs of the test its keys, and returns the --store in it.
func bucket(t *testing.T) string {
	t.Helper()
	c := s3test.StartGateway(t)
	t.Setenv("REELMILL_S3_ACCESS_KEY", c.AccessKey.Reveal())
	t.Setenv("REELMILL_S3_SECRET_KEY", c.SecretKey.Reveal())
	return fmt.Sprintf("s3://%s/store?endpoint=%s&region=%s&path_style=true&create_bucket=true",
		c.Bucket, c.Endpoint, c.Region)
}

// TestEndToEnd uploads a video to the running program and follows it to its end, on each kind of store.
func TestEndToEnd(t *testing.T) {
	for _, store := range []string{"disk", "s3"} {
		t.Run(store, func(t *testing.T) {
			hooks := newReceiver(t)
			t.Setenv("REELMILL_WEBHOOK_SECRET", testSecret)
			args := []string{"--webhook-allow-private"}
			if store == "s3" {
				args = append(args, "--store", bucket(t))
			}
			data := t.TempDir()
			p := startServe(t, binary, data, args...)
			endToEnd(t, p, hooks)
			emptyScratch(t, data)
			p.stop(t)
		})
	}
}

func endToEnd(t *testing.T, p *process, hooks *receiver) {
	api := p.client()
	source := clip(t, "holiday film.mp4", 8, "640x360", 15)
	view, err := api.Upload(t.Context(), client.Upload{
		Path: source, Watermark: "text:ReelMill", Metadata: map[string]string{"album": "2026"}, Passthrough: "42",
		WebhookURL: hooks.URL + "/hook",
	})
	if err != nil {
		t.Fatal(err)
	}
	if view.Status.Terminal() || view.Filename != "holiday film.mp4" {
		t.Errorf("answer of the upload: %+v", view)
	}
	checkStory(t, view.ID, events(t, api, view.ID))
	end := awaitEnd(t, api, view.ID)
	if end.Status != pipeline.StateVideoReady || !end.Playable || end.Progress != 100 {
		t.Fatalf("end: %+v\n%s", end, p.stderr)
	}
	checkPlayback(t, p.url+"/play/"+view.ID+"/", end)
	checkTold(t, hooks, view.ID)
}

// checkTold checks that the receiver gets the webhooks of playable and of ready, in any order.
func checkTold(t *testing.T, hooks *receiver, video string) {
	t.Helper()
	want := map[pipeline.EventType]pipeline.VideoState{
		pipeline.VideoPlayable: pipeline.StateVideoProcessing, pipeline.VideoReady: pipeline.StateVideoReady,
	}
	for len(want) > 0 {
		m := pipelinetest.Receive(t, "a webhook", hooks.got)
		status, ok := want[m.Type]
		if !ok || m.Data.ID != video || m.Data.Passthrough != "42" || m.Data.Status != status || !m.Data.Playable {
			t.Fatalf("webhook: %+v", m)
		}
		delete(want, m.Type)
	}
}

// checkStory checks that the events are in causal order, with correlation and causation.
func checkStory(t *testing.T, video string, all []pipeline.Event) {
	t.Helper()
	position := map[string]int{}
	ids := map[string]bool{}
	trace := ""
	for i, e := range all {
		var data pipeline.JobEvent
		_ = e.Decode(&data) // video events have no such fields
		key := string(e.Type)
		if strings.HasPrefix(key, "job.") {
			key += " " + data.Worker
		}
		if _, seen := position[key]; !seen {
			position[key] = i
		}
		if e.CorrelationID != video {
			t.Errorf("%s has correlation id %s", e.Type, e.CorrelationID)
		}
		if i == 0 {
			trace = strings.Split(e.TraceParent, "-")[1]
		} else if !ids[e.CausationID] {
			t.Errorf("%s %s was caused by %s, which did not come before", e.Type, e.Subject, e.CausationID)
		}
		if !strings.Contains(e.TraceParent, trace) {
			t.Errorf("%s left the trace: %s", e.Type, e.TraceParent)
		}
		if i > 0 && e.Sequence <= all[i-1].Sequence {
			t.Errorf("%s at %d after %d", e.Type, e.Sequence, all[i-1].Sequence)
		}
		ids[e.ID] = true
	}
	order := []string{"video.uploaded", "job.completed inspect", "video.inspected"}
	for _, worker := range []string{"transcode", "thumbnail", "audio", "watermark"} {
		order = append(order, "job.started "+worker)
		if position["job.completed "+worker] == 0 {
			t.Errorf("no completed job of %s", worker)
		}
	}
	for _, key := range append(order, "video.playable", "video.ready") {
		if _, ok := position[key]; !ok {
			t.Errorf("no %s among %d events", key, len(all))
		}
	}
	for _, later := range order[3:] {
		if position[later] < position["video.inspected"] {
			t.Errorf("%s before video.inspected", later)
		}
	}
	if position["video.ready"] != len(all)-1 && len(all) > 0 {
		rest := all[position["video.ready"]+1:]
		isOther := func(e pipeline.Event) bool { return !strings.Contains(e.Subject, ".notify") }
		if slices.ContainsFunc(rest, isOther) {
			t.Errorf("events after video.ready: %v", rest)
		}
	}
}

// checkPlayback decodes every rendition as a player would, and checks that it is as long as the source.
func checkPlayback(t *testing.T, base string, end pipeline.VideoView) {
	t.Helper()
	master := string(get(t, base+end.Manifest))
	variants := 0
	for line := range strings.Lines(master) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		variants++
		checkDecodes(t, base+line, end.Media.Duration)
	}
	if variants == 0 {
		t.Errorf("no variant in\n%s", master)
	}
	for path, want := range map[string]string{
		"thumbnail.jpg": "image/jpeg", "storyboard.vtt": "text/vtt",
		"watermarked.mp4": "video/mp4", "audio.m4a": "audio/mp4",
	} {
		answer, err := http.Head(base + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), want) {
			t.Errorf("%s: %s %s", path, answer.Status, answer.Header.Get("Content-Type"))
		}
	}
	if got := get(t, base+"storyboard.vtt"); !bytes.HasPrefix(got, []byte("WEBVTT")) {
		t.Errorf("storyboard: %.80q", got)
	}
}

// checkDecodes decodes the stream at url whole, and compares its length to want seconds within 2%.
func checkDecodes(t *testing.T, url string, want float64) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", url, "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("decode %s: %v\n%s", url, err, out)
	}
	raw, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration",
		"-of", "csv=p=0", url).Output()
	if err != nil {
		t.Fatalf("probe %s: %v", url, err)
	}
	got, err := strconv.ParseFloat(strings.TrimSpace(string(raw)), 64)
	if err != nil || got < want-max(0.5, want*0.02) || got > want+max(0.5, want*0.02) {
		t.Errorf("%s lasts %s s, the source %.2f s", url, raw, want)
	}
}

// TestBadInput checks that each bad file ends with its code, in one attempt, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	write := func(name string, body []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, err := os.ReadFile(clip(t, "good.mp4", 3, "320x240", 25))
	if err != nil {
		t.Fatal(err)
	}
	sound := workertest.Clip(t, "sound.mp4", "-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac")
	playlist := "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
	p := startServe(t, binary, data, "--max-upload", "1MiB")
	api := p.client()

	for _, c := range []struct {
		name, file string
		want       pipeline.Code
	}{
		{"text", write("text.mp4", []byte(strings.Repeat("this is no video\n", 100))), pipeline.CodeNotVideo},
		{"truncated", write("cut.mp4", good[:len(good)/2]), pipeline.CodeMalformed},
		{"audio only", sound, pipeline.CodeNoVideoStream},
		{"playlist", write("list.mp4", []byte(playlist)), pipeline.CodeNotVideo},
	} {
		t.Run(c.name, func(t *testing.T) {
			view, err := api.Upload(t.Context(), client.Upload{Path: c.file})
			if err != nil {
				t.Fatal(err)
			}
			end := awaitEnd(t, api, view.ID)
			if end.Status != pipeline.StateVideoRejected || end.Problem == nil || end.Problem.Code != c.want {
				t.Fatalf("end: %s %+v", end.Status, end.Problem)
			}
			if end.Problem.Detail == "" || end.Problem.Remedy == "" {
				t.Errorf("problem without words: %+v", end.Problem)
			}
			for _, e := range events(t, api, view.ID) {
				var data pipeline.JobEvent
				if _ = e.Decode(&data); data.Attempt > 1 || e.Type == pipeline.JobRetrying {
					t.Errorf("more than one attempt: %s", e.Type)
				}
			}
		})
	}
	for _, c := range []struct {
		name   string
		upload client.Upload
		status int
		code   string
	}{
		{"zero bytes", client.Upload{Path: write("empty.mp4", nil)}, 422, "upload_empty"},
		{"oversize", client.Upload{Path: write("big.mp4", make([]byte, 2<<20))}, 413, "upload_too_large"},
		{"pipeline", client.Upload{Path: write("any.mp4", good), Pipeline: "nosuch"}, 422, "pipeline_unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := api.Upload(t.Context(), c.upload)
			var answer *client.Error
			if !errors.As(err, &answer) || answer.Status != c.status || answer.Code != c.code {
				t.Errorf("got %v, want %d %s", err, c.status, c.code)
			}
		})
	}
	t.Run("client hangs up", func(t *testing.T) { hangUp(t, p) })
	emptyScratch(t, data)
}

// hangUp begins an upload and breaks the connection. The server must have no such video, and keep serving.
func hangUp(t *testing.T, p *process) {
	before := get(t, p.url+"/v1/videos")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/videos", r)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	done := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			answer.Body.Close()
		}
		done <- err
	}()
	head := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n"
	if _, err := io.WriteString(w, head+strings.Repeat("x", 200<<10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	w.Close()
	if err := <-done; err == nil {
		t.Error("an upload that was broken off was answered")
	}
	if after := get(t, p.url+"/v1/videos"); !bytes.Equal(before, after) {
		t.Errorf("videos before\n%s\nafter\n%s", before, after)
	}
}
