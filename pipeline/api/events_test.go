package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// reader reads an event stream as a browser would.
type reader struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Reader
}

// sse is one event of a stream. For a comment, the name is its text.
type sse struct{ id, name, data string }

func (e *env) stream(path string, headers ...string) *reader {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	e.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", e.url+path, nil)
	must(e.t, err)
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := e.client.Do(req)
	must(e.t, err)
	e.t.Cleanup(func() { resp.Body.Close() })
	return &reader{e.t, resp, bufio.NewReader(resp.Body)}
}

// next returns the next event; ok is false at the end of the stream.
func (r *reader) next() (s sse, ok bool) {
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			return s, false
		}
		line = strings.TrimSuffix(line, "\n")
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "":
			if line != "" { // a comment
				s.name = line
				continue
			}
			return s, true
		case "id":
			s.id = value
		case "event":
			s.name = value
		case "data":
			s.data = value
		}
	}
}

// names returns the names of the next n events; of all when n is 0.
func (r *reader) names(n int) (names []string, last sse) {
	for i := 0; n == 0 || i < n; i++ {
		s, ok := r.next()
		if !ok {
			break
		}
		names, last = append(names, s.name), s
	}
	return names, last
}

// openStreams waits until so many event streams are open.
func (e *env) openStreams(n int) {
	e.t.Helper()
	pipelinetest.Until(e.t, fmt.Sprint(n, " streams"), func() bool { return e.api.Subscribers().Open["sse"] == n })
}

func TestEventStream(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	path := "/v1/videos/" + id + "/events"
	r := e.stream(path)
	if ct := r.resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type %q", ct)
	}
	s, _ := r.next()
	if s.name != "video.uploaded" || s.id != "1" {
		t.Fatalf("%+v", s)
	}
	ev := decode[pipeline.Event](t, []byte(s.data))
	if ev.CorrelationID != id || ev.SpecVersion != "1.0" {
		t.Errorf("%+v", ev)
	}
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "transcode-0000")
	names, last := r.names(2)
	equal(t, "live", names, "video.inspected", "job.started")
	r.resp.Body.Close() // a connection is lost
	e.job(pipeline.JobCompleted, id, "transcode-0000")
	end := e.finished(id)
	r = e.stream(path, "Last-Event-ID", last.id)
	names, last = r.names(0)
	equal(t, "the rest", names, "job.completed", "video.ready", "end")
	if last.id != "" {
		t.Errorf("end has id %q", last.id)
	}
	if r = e.stream(path, "Last-Event-ID", fmt.Sprint(end.Sequence)); r.resp.StatusCode != 204 {
		t.Errorf("after the end: %s", r.resp.Status)
	}
	names, _ = e.stream(path).names(0)
	equal(t, "all again", names, "video.uploaded", "video.inspected", "job.started", "job.completed", "video.ready", "end")
	e.job(pipeline.JobStarted, id, "notify") // clients that come back get what follows the end
	names, _ = e.stream(path + "?after=" + fmt.Sprint(end.Sequence)).names(0)
	equal(t, "after the end", names, "job.started", "end")
}

func TestEventStreamEndsLive(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	r := e.stream("/v1/videos/" + id + "/events")
	r.names(1)
	e.tell(pipeline.VideoRejected, pipeline.FinishedSubject(project, id), pipeline.Finish{State: pipeline.StateVideoRejected})
	names, _ := r.names(0)
	equal(t, "events", names, "video.rejected", "end")
}

func TestEventStreamIsLong(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	const n = 2*eventsBatch + 7
	for i := range n {
		e.job(pipeline.JobStarted, id, "transcode-"+strconv.Itoa(i))
	}
	r := e.stream("/v1/videos/" + id + "/events")
	for want := 1; want <= n+1; want++ {
		if s, _ := r.next(); s.id != strconv.Itoa(want) {
			t.Fatalf("id %q, want %d", s.id, want)
		}
	}
}

func TestEventStreamProgress(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	r := e.stream("/v1/videos/" + id + "/events")
	r.names(1)
	want := pipeline.Progress{Video: id, Job: "transcode-0000", Attempt: 1, Fraction: 0.25, Speed: 2}
	must(t, e.Bus.Progress(t.Context(), project, want))
	s, _ := r.next()
	var got pipeline.Progress
	must(t, json.Unmarshal([]byte(s.data), &got))
	if s.name != "job.progress" || s.id != "" || got != want {
		t.Errorf("%+v", s)
	}
}

// endingProgress ends soon, without a report.
type endingProgress struct{ Progress }

func (endingProgress) WatchProgress(context.Context) (<-chan pipeline.Progress, error) {
	c := make(chan pipeline.Progress)
	close(c)
	return c, nil
}

func TestEventStreamOutlivesProgress(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Progress = endingProgress{} })
	id := e.uploaded().ID
	r := e.stream("/v1/videos/" + id + "/events")
	r.names(1)
	e.finished(id)
	names, _ := r.names(0)
	equal(t, "events", names, "video.ready", "end")
}

func TestEventStreamHeartbeat(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Limits.Heartbeat = 5 * time.Millisecond
		c.Progress = nil
	})
	r := e.stream("/v1/videos/" + e.uploaded().ID + "/events")
	names, _ := r.names(3)
	equal(t, "events", names, "video.uploaded", ": heartbeat", ": heartbeat")
}

// TestEventStreamOfAReopenedVideo: an end that a redrive took back does not end the stream, also when both are
// replayed.
func TestEventStreamOfAReopenedVideo(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.tell(pipeline.VideoErrored, pipeline.FinishedSubject(project, id), pipeline.Finish{State: pipeline.StateVideoErrored})
	e.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, id), pipeline.Finish{Generation: 1})
	r := e.stream("/v1/videos/" + id + "/events")
	names, _ := r.names(3)
	equal(t, "replayed", names, "video.uploaded", "video.errored", "video.reopened")
	e.finished(id)
	names, _ = r.names(0)
	equal(t, "live", names, "video.ready", "end")
}

func TestEventStreamOfADeletedVideo(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	r := e.stream("/v1/videos/" + id + "/events")
	r.names(1)
	e.do("DELETE", "/v1/videos/"+id, nil)
	names, _ := r.names(0)
	equal(t, "events", names, "video.deleted", "end")
}

func TestEventStreamsAreLimited(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxStreams = 1 })
	path := "/v1/videos/" + e.uploaded().ID + "/events"
	r := e.stream(path)
	r.names(1)
	resp, raw := e.get(path)
	wantProblem(t, resp, raw, codeTooManyStreams)
	r.resp.Body.Close()
	e.openStreams(0)
	names, _ := e.stream(path).names(1)
	equal(t, "events", names, "video.uploaded")
}

func TestEventStreamEndsWithTheServer(t *testing.T) {
	e := newEnv(t, nil)
	r := e.stream("/v1/videos/" + e.uploaded().ID + "/events")
	r.names(1)
	done := make(chan error, 1)
	go func() { done <- e.srv.Config.Shutdown(context.Background()) }()
	names, _ := r.names(0) // without an end: the client comes back
	equal(t, "events", names, ": the server is stopping; reconnect")
	must(t, <-done)
}

func TestListEvents(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.inspected(id)
	e.finished(id)
	type events = list[pipeline.Event]
	page := func(query string) events {
		t.Helper()
		resp, raw := e.get("/v1/videos/"+id+"/events"+query, "Accept", "application/json")
		if ct := resp.Header.Get("Content-Type"); ct != "application/json" || resp.StatusCode != 200 {
			t.Fatalf("%s %s %s", resp.Status, ct, raw)
		}
		return decode[events](t, raw)
	}
	if l := page(""); len(l.Data) != 3 || l.HasMore || l.NextCursor != nil {
		t.Errorf("%+v", l)
	}
	l := page("?limit=2")
	if len(l.Data) != 2 || !l.HasMore || *l.NextCursor != "2" {
		t.Fatalf("%+v", l)
	}
	if l = page("?limit=2&cursor=" + *l.NextCursor); len(l.Data) != 1 || l.Data[0].Type != "video.ready" || l.HasMore {
		t.Errorf("%+v", l)
	}
	if l = page("?after=3"); len(l.Data) != 0 || l.Data == nil {
		t.Errorf("%+v", l)
	}
}
