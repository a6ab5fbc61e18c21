package client

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// TestFollowAll checks on a real server that the events of all videos come, those so far and new ones, filtered,
// each once and in order, over failures.
func TestFollowAll(t *testing.T) {
	e := newEnv(t)
	first, second := e.uploaded().ID, e.uploaded().ID
	e.finish(first)
	n := 0
	e.breakWith(func(w http.ResponseWriter, _ *http.Request) bool {
		if n++; n%3 == 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
		return n%3 == 0
	})
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	err := e.client.FollowAll(ctx, EventFilter{Types: []pipeline.EventType{pipeline.VideoReady, pipeline.VideoUploaded}}, func(ev pipeline.Event) error {
		got = append(got, string(ev.Type)+" "+ev.CorrelationID)
		switch len(got) {
		case 3:
			e.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, second), pipeline.Playable{})
			e.finish(second)
		case 4:
			cancel()
		}
		return nil
	})
	want := []string{"video.uploaded " + first, "video.uploaded " + second, "video.ready " + first, "video.ready " + second}
	if !errors.Is(err, context.Canceled) || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	var all []string
	for ev, err := range e.client.AllEvents(t.Context(), EventFilter{Video: first}) {
		must(t, err)
		all = append(all, string(ev.Type))
	}
	if !slices.Equal(all, []string{"video.uploaded", "video.ready"}) {
		t.Errorf("of one video: %v", all)
	}
	stop := errors.New("enough")
	if err := e.client.FollowAll(t.Context(), EventFilter{}, func(pipeline.Event) error { return stop }); err != stop {
		t.Error(err)
	}
}

// TestFollowAllByStream checks that a stream over all videos is read after the list, and opened again where it
// broke.
func TestFollowAllByStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var resumed []string
		client, _ := asking(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/events" {
				return reply(200, `{"data":[{"id":"evt_1","type":"video.uploaded"}],"next_cursor":null,"position":7}`), nil
			}
			resumed = append(resumed, r.URL.Path+" "+r.Header.Get("Last-Event-ID"))
			body := "id: 8\ndata: {\"id\":\"evt_2\",\"type\":\"video.ready\"}\n\nid: 9\ndata: {\"id\":\"evt_3\",\"type\":\"job.started\"}\n\n"
			if len(resumed) == 2 {
				body = "id: 10\ndata: {\"id\":\"evt_4\",\"type\":\"video.ready\"}\n\n"
			}
			return reply(200, body, "Content-Type", "text/event-stream"), nil
		})
		stop := errors.New("enough")
		var got []string
		err := client.FollowAll(t.Context(), EventFilter{Types: []pipeline.EventType{"video.uploaded", "video.ready"}}, func(e pipeline.Event) error {
			got = append(got, e.ID)
			if len(got) == 3 {
				return stop
			}
			return nil
		})
		if err != stop || strings.Join(got, " ") != "evt_1 evt_2 evt_4" ||
			!slices.Equal(resumed, []string{"/v1/events/stream 7", "/v1/events/stream 9"}) {
			t.Errorf("%v, resumed %v: %v", got, resumed, err)
		}
	})
}

// TestFollowAllOfAnEmptyLog checks that a new server is followed by its stream, too, from its first event on.
func TestFollowAllOfAnEmptyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := asking(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/events" {
				return reply(200, `{"data":[],"next_cursor":null,"position":0}`), nil
			}
			if r.URL.Query().Get("after") != "0" || r.Header.Get("Last-Event-ID") != "" {
				t.Errorf("asked for %s after %q", r.URL, r.Header.Get("Last-Event-ID"))
			}
			return reply(200, "id: 1\ndata: {\"id\":\"evt_1\",\"type\":\"video.uploaded\"}\n\n",
				"Content-Type", "text/event-stream"), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		stop := errors.New("enough")
		var got pipeline.Event
		err := client.FollowAll(ctx, EventFilter{}, func(e pipeline.Event) error { got = e; return stop })
		if err != stop || got.ID != "evt_1" || got.Sequence != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestFollowAllReturnsItsCallersError checks that an answer of a server which the caller returns is not taken
// for one to the stream.
func TestFollowAllReturnsItsCallersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := asking(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/events" {
				return reply(200, `{"data":[],"next_cursor":null,"position":7}`), nil
			}
			return reply(200, "id: 8\ndata: {\"id\":\"evt_1\",\"type\":\"video.uploaded\"}\n\n",
				"Content-Type", "text/event-stream"), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		own := &Error{Status: http.StatusNotFound, Title: "of another call"}
		if err := client.FollowAll(ctx, EventFilter{}, func(pipeline.Event) error { return own }); err != own {
			t.Error(err)
		}
	})
}
