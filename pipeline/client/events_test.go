package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

func TestEventsOverBrokenConnections(t *testing.T) {
	e := newEnv(t)
	v, err := e.client.Upload(t.Context(), Upload{Reader: strings.NewReader("x"), Name: "x.mp4"})
	must(t, err)
	var resumed []string
	e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		return false
	})
	var got []string
	err = e.client.Events(t.Context(), v.ID, 0, func(ev Event) error {
		got = append(got, ev.Type)
		switch ev.Type {
		case "video.uploaded":
			if ev.Sequence != 1 || ev.Log == nil || ev.Log.Sequence != 1 || ev.Log.CorrelationID != v.ID {
				t.Errorf("%+v", ev)
			}
			e.cut()
			go e.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, v.ID), pipeline.Inspected{})
		case "video.inspected":
			must(t, e.Bus.Progress(t.Context(), project, pipeline.Progress{Video: v.ID, Job: "j", Fraction: 0.5}))
		case "job.progress":
			if ev.Progress.Fraction != 0.5 || ev.Sequence != 0 || ev.Log != nil {
				t.Errorf("%+v", ev)
			}
			go e.finish(v.ID)
		}
		return nil
	})
	must(t, err)
	want := []string{"video.uploaded", "video.inspected", "job.progress", "video.ready"}
	if !slices.Equal(got, want) || !slices.Equal(resumed, []string{"", "1"}) {
		t.Errorf("events %v, resumed after %q", got, resumed)
	}
	e.fault.Store(nil)
	must(t, e.client.Events(t.Context(), v.ID, 3, func(ev Event) error { return fmt.Errorf("%v", ev) }))
	stop := errors.New("enough")
	if err := e.client.Events(t.Context(), v.ID, 0, func(Event) error { return stop }); err != stop {
		t.Error(err)
	}
	if err := e.client.Events(t.Context(), "vid_nope", 0, nil); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	other, err := e.client.Upload(ctx, Upload{Reader: strings.NewReader("y"), Name: "y.mp4"})
	must(t, err)
	err = e.client.Events(ctx, other.ID, 0, func(Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEventsGiveUp(t *testing.T) {
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Content-Type", "text/event-stream")
	}))
	defer srv.Close()
	c := New(srv.URL, srv.Client())
	c.retry = func(int) time.Duration { return 0 }
	if err := c.Events(t.Context(), "x", 0, nil); !errors.Is(err, errCut) || n != maxFailures+1 {
		t.Errorf("%d tries: %v", n, err)
	}
}

func frames(t *testing.T, stream string) (all []frame) {
	t.Helper()
	p := newParser(strings.NewReader(stream))
	for {
		f, err := p.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, f)
	}
}

func TestParser(t *testing.T) {
	for stream, want := range map[string][]frame{
		"":                                       nil,
		"data: a\n":                              nil, // cut short
		"data: a\n\n":                            {{"", "message", []byte("a")}},
		"\ufeffdata:a\r\n\r\n":                   {{"", "message", []byte("a")}},
		"id: 7\revent: x\rdata: a\rdata:  b\r\r": {{"7", "x", []byte("a\n b")}},
		": hi\n\nevent: x\n\ndata\n\n":           {{"", "message", []byte("")}},
		"id: 1\ndata: a\n\ndata: b\n\n":          {{"1", "message", []byte("a")}, {"", "message", []byte("b")}},
		"id: a\x00b\ndata: a\nother: x\n\n":      {{"", "message", []byte("a")}},
	} {
		got := frames(t, stream)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%q: %q, want %q", stream, got, want)
		}
	}
}

// The parser reads any stream without a panic, and reads back every frame that was written.
func FuzzParser(f *testing.F) {
	f.Add([]byte("id: 1\nevent: x\ndata: {}\n\n: beat\n\n"), []byte("{}"))
	f.Add([]byte("\ufeff\r\r\n\rdata"), []byte("x: y"))
	f.Fuzz(func(t *testing.T, stream, data []byte) {
		p := newParser(bytes.NewReader(stream))
		for {
			if _, err := p.next(); err != nil {
				break
			}
		}
		if bytes.ContainsAny(data, "\r\n") {
			return
		}
		p = newParser(bytes.NewReader(fmt.Appendf(nil, "id: 5\nevent: e\ndata: %s\n\n", data)))
		if got, err := p.next(); err != nil || got.id != "5" || got.event != "e" || !bytes.Equal(got.data, data) {
			t.Errorf("%q: %+v %v", data, got, err)
		}
	})
}
