package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// command runs a command of the program and returns what it printed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(t.Context(), args, &out, &errs); err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, &out, &errs)
	}
	return out.String()
}

// encoders returns the ffmpeg processes that p has started.
func encoders(t *testing.T, p *process) (pids []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	parent := " " + strconv.Itoa(p.cmd.Process.Pid) + " "
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		name, rest, _ := strings.Cut(string(raw), ") ")
		if strings.Contains(name, "(ffmpeg") && len(rest) > 1 && strings.HasPrefix(rest[1:], parent) {
			pids = append(pids, name)
		}
	}
	return pids
}

// uploadLong uploads a clip that takes long, and waits until its encoding begins.
func uploadLong(t *testing.T, p *process) pipeline.VideoView {
	t.Helper()
	source := clip(t, "long.mp4", 60, "1280x720", 25)
	view, err := p.client().Upload(t.Context(), client.Upload{Path: source, IdempotencyKey: "long"})
	if err != nil {
		t.Fatal(err)
	}
	pipelinetest.Until(t, "transcode runs", func() bool {
		why, err := p.client().Why(t.Context(), view.ID)
		return err == nil && strings.Contains(why.Summary, "has run") && len(encoders(t, p)) > 0 &&
			strings.Contains(fmt.Sprint(why.Jobs), "transcode-0000 has run")
	})
	return view
}

// TestCancel checks that the encoders of a canceled video end within two seconds, and that their files are
// removed.
func TestCancel(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data)
	view := uploadLong(t, p)
	if said := command(t, "videos", "why", view.ID, "--server", p.url); !strings.Contains(said, "is processing") {
		t.Errorf("why says %s", said)
	}
	begun := time.Now()
	command(t, "videos", "cancel", view.ID, "--server", p.url)
	pipelinetest.Until(t, "the encoders end", func() bool { return len(encoders(t, p)) == 0 })
	pipelinetest.Promptly(t, "the end of the encoders", begun, 2*time.Second)
	pipelinetest.Until(t, "scratch is empty", func() bool {
		left, err := os.ReadDir(filepath.Join(data, "scratch"))
		return err == nil && len(left) == 0
	})
	end, err := p.client().Video(t.Context(), view.ID)
	if err != nil || end.Status != pipeline.StateVideoCanceled {
		t.Fatalf("the video is %s, %v", end.Status, err)
	}
	command(t, "videos", "delete", view.ID, "--server", p.url)
	pipelinetest.Until(t, "the objects are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(data, "objects", "videos", view.ID, "*"))
		return err == nil && len(left) == 0
	})
	p.stop(t)
}

// TestTimelineUntilPlayable checks that --wait=playable does not wait for the end, even with --timeline.
func TestTimelineUntilPlayable(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	said := command(t, "upload", clip(t, "a.mp4", 60, "640x360", 25), "--server", p.url, "--wait", "playable", "--timeline")
	if lines := strings.Split(strings.TrimSpace(said), "\n"); !strings.Contains(lines[len(lines)-1], "video.playable") {
		t.Errorf("the command printed %s", said)
	}
	command(t, "videos", "cancel", strings.Fields(said)[0], "--server", p.url)
	p.stop(t)
}

// TestRetryOfACanceledVideo checks that the video becomes ready, and that completed jobs are not repeated.
func TestRetryOfACanceledVideo(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	// Three chunks on two slots: when the first is completed, one has hardly begun.
	view, err := p.client().Upload(t.Context(), client.Upload{Path: clip(t, "a.mp4", 60, "1280x720", 25)})
	if err != nil {
		t.Fatal(err)
	}
	completed := func() map[string]int {
		jobs := map[string]int{}
		list, err := p.client().Jobs(t.Context(), view.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list {
			if j.Status == pipeline.StateJobCompleted {
				jobs[j.Name] = j.Attempt
			}
		}
		return jobs
	}
	var before map[string]int
	pipelinetest.Until(t, "a chunk is completed", func() bool {
		before = completed()
		return before["transcode-0000"]+before["transcode-0001"] > 0
	})
	command(t, "videos", "cancel", view.ID, "--server", p.url)
	pipelinetest.Until(t, "the encoders end", func() bool { return len(encoders(t, p)) == 0 })
	if said := command(t, "videos", "retry", view.ID, "--server", p.url); !strings.Contains(said, "processing") {
		t.Errorf("retry says %s", said)
	}
	if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoReady {
		t.Fatalf("end: %+v", end)
	}
	after := completed()
	if after["transcode-0002"] == 0 {
		t.Errorf("there was no third chunk: %v", after)
	}
	for job, attempt := range before {
		if after[job] != attempt {
			t.Errorf("%s was in attempt %d, and is in %d", job, attempt, after[job])
		}
	}
	if len(after) <= len(before) {
		t.Errorf("jobs completed before: %v, after: %v", before, after)
	}
}

// TestStop checks that a stopped server gives its work back within two seconds, without using up an attempt.
func TestStop(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data)
	view := uploadLong(t, p)
	begun := time.Now()
	p.stop(t)
	pipelinetest.Promptly(t, "the stop", begun, 2*time.Second)
	emptyScratch(t, data)
	p = startServe(t, binary, data)
	pipelinetest.Until(t, "the job runs again", func() bool { return len(encoders(t, p)) > 0 })
	jobs, err := p.client().Jobs(t.Context(), view.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Attempt > 1 {
			t.Errorf("%s is in attempt %d", j.Name, j.Attempt)
		}
	}
	command(t, "videos", "cancel", view.ID, "--server", p.url)
	interrupted := 0
	for _, e := range events(t, p.client(), view.ID) {
		if e.Type == pipeline.JobInterrupted {
			interrupted++
		}
	}
	if interrupted == 0 {
		t.Error("no job was interrupted")
	}
	p.stop(t)
}

// TestDeadLetters checks that a job that failed for good can be listed, shown, retried and discarded.
func TestDeadLetters(t *testing.T) {
	config := filepath.Join(t.TempDir(), "reelmill.yaml")
	hasty := "pipelines: [{name: hasty, steps: [{worker: transcode, timeout: 0.01, retry: [0.1]}]}]\n"
	if err := os.WriteFile(config, []byte(hasty), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, binary, t.TempDir(), "--config", config)
	on := func(args ...string) string { return command(t, append(args, "--server", p.url)...) }
	view, err := p.client().Upload(t.Context(), client.Upload{
		Path: clip(t, "short.mp4", 2, "320x180", 25), Pipeline: "hasty",
	})
	if err != nil {
		t.Fatal(err)
	}
	if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoErrored {
		t.Fatalf("the video is %s", end.Status)
	}
	letter := func() client.DeadLetter {
		var letters []client.DeadLetter
		pipelinetest.Until(t, "one dead letter", func() bool {
			letters = nil
			err := json.Unmarshal([]byte(on("dead", "list", "--json")), &letters)
			return err == nil && len(letters) == 1
		})
		return letters[0]
	}
	first := letter()
	if p := first.Problem; p.Code != pipeline.CodeJobTimeout || first.Attempts != 2 || p.Class != pipeline.Transient {
		t.Errorf("letter %+v", first)
	}
	if first.TraceID != view.TraceID || len(first.Payload) == 0 {
		t.Errorf("trace %s, payload of %d bytes", first.TraceID, len(first.Payload))
	}
	if said := on("dead", "show", first.ID); !strings.Contains(said, "job_timeout") {
		t.Errorf("show says %s", said)
	}
	on("dead", "redrive", first.ID)
	pipelinetest.Until(t, "it ends again", func() bool {
		v, err := p.client().Video(t.Context(), view.ID)
		return err == nil && v.Status == pipeline.StateVideoErrored && letter().ID != first.ID
	})
	second := letter()
	if second.Attempts != 4 {
		t.Errorf("%d attempts, want 2 more", second.Attempts)
	}
	on("dead", "discard", second.ID)
	if said := on("dead", "list"); !strings.Contains(said, "no dead letters") {
		t.Errorf("list says %s", said)
	}
	var errs bytes.Buffer
	err = run(t.Context(), []string{"dead", "redrive", "--all", "--server", p.url}, &bytes.Buffer{}, &errs)
	if err != nil || errs.String() != "There are no dead letters.\n" {
		t.Errorf("redrive of none says %s, %v", &errs, err)
	}
	on("jobs", "retry", view.ID+"/"+second.Job)
	if said := on("stats", "--last", "10m"); !strings.Contains(said, "job_timeout") {
		t.Errorf("stats says %s", said)
	}
	p.stop(t)
}

// TestWorkerProcess checks that a separate worker process does the work of a server without workers.
func TestWorkerProcess(t *testing.T) {
	broker := bustest.Start(t, &server.Options{JetStream: true, SyncAlways: true, MaxPayload: 8 << 20})
	store := t.TempDir()
	data := t.TempDir()
	p := startServe(t, binary, data, "--nats", broker.ClientURL(), "--store", store, "--no-workers")
	view, err := p.client().Upload(t.Context(), client.Upload{Path: clip(t, "short.mp4", 2, "320x180", 25)})
	if err != nil {
		t.Fatal(err)
	}
	pipelinetest.Until(t, "why says that nobody works", func() bool {
		why, err := p.client().Why(t.Context(), view.ID)
		return err == nil && strings.Contains(why.Summary, "nobody runs the worker type inspect")
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	t.Setenv("REELMILL_WEBHOOK_SECRET", strings.TrimSpace(string(readFile(t, filepath.Join(data, "webhook.secret")))))
	done := make(chan error, 1)
	var out, errs pipelinetest.Buffer
	go func() {
		done <- run(ctx, []string{"worker", "--nats", broker.ClientURL(), "--store", store, "--data", t.TempDir()},
			&out, &errs)
	}()
	if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoReady {
		t.Errorf("the video is %s: %+v", end.Status, end.Problem)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("worker: %v\n%s", err, errs.String())
	}
	p.stop(t)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestBackPressure checks that a busy server refuses uploads, and says when to try again.
func TestBackPressure(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers", "--max-project-videos", "2")
	source := clip(t, "short.mp4", 1, "320x180", 25)
	upload := func() error {
		body := &bytes.Buffer{}
		form := multipart.NewWriter(body)
		part, err := form.CreateFormFile("file", "short.mp4")
		if err == nil {
			_, err = part.Write(readFile(t, source))
		}
		if err = errors.Join(err, form.Close()); err != nil {
			t.Fatal(err)
		}
		answer, err := http.Post(p.url+"/v1/videos", form.FormDataContentType(), body)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode == http.StatusCreated {
			return nil
		}
		return fmt.Errorf("%d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
	}
	for range 2 {
		if err := upload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := upload(); err == nil || err.Error() != `429, Retry-After "30"` {
		t.Errorf("the third upload: %v", err)
	}
	p.stop(t)
}
