package client

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline/pause"
)

// silent is the body of a stream. It sends the beats, every quarter of a minute, and then nothing until the
// request ends.
type silent struct {
	ctx   context.Context
	beats []string
}

// Read implements io.Reader.
func (s *silent) Read(p []byte) (int, error) {
	if len(s.beats) == 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	pause.For(s.ctx, silence/4)
	n := copy(p, s.beats[0])
	s.beats = s.beats[1:]
	return n, nil
}

// Close implements io.Closer.
func (s *silent) Close() error { return nil }

func stream200(ctx context.Context, frames ...string) *http.Response {
	r := reply(200, "", "Content-Type", "text/event-stream; charset=utf-8")
	r.Body = &silent{ctx, frames}
	return r
}

// TestEventsOutliveASilentConnection checks that heartbeats keep a stream open, and that one without them is
// resumed after the last event.
func TestEventsOutliveASilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var resumed []string
		client, _ := asking(func(n int, r *http.Request) (*http.Response, error) {
			resumed = append(resumed, r.Header.Get("Last-Event-ID"))
			if n == 1 {
				frames := append([]string{"id: 7\ndata: {}\n\n"}, slices.Repeat([]string{": beat\n\n"}, 40)...)
				return stream200(r.Context(), frames...), nil
			}
			// The last event again, as of a server that knows no Last-Event-ID.
			return stream200(r.Context(), "id: 7\ndata: {}\n\n", "event: later\ndata: -\n\n", "id: 8\ndata: {}\n\n",
				"event: end\ndata: {}\n\n"), nil
		})
		begun := time.Now()
		var got []uint64
		must(t, client.Events(t.Context(), "vid_a", 3, func(e Event) error {
			got = append(got, e.Sequence)
			return nil
		}))
		if !slices.Equal(resumed, []string{"3", "7"}) || !slices.Equal(got, []uint64{7, 8}) {
			t.Errorf("events %v, resumed after %q", got, resumed)
		}
		if took := time.Since(begun); took < 11*silence || took > 14*silence {
			t.Errorf("it took %s", took)
		}
	})
}

// TestEventsThatAreNone checks that an event that cannot be read ends the stream. Skipping it would lose it.
func TestEventsThatAreNone(t *testing.T) {
	for frames, want := range map[string]string{
		"id: x\nevent: video.ready\ndata: {}\n\n":                                          "no sequence",
		"id: -1\ndata: {}\n\n":                                                             "no sequence",
		"id: 1\ndata: {\n\n":                                                               "decode event 1",
		"event: job.progress\ndata: half\n\n":                                              "decode progress",
		"id: 1\ndata: " + strings.Repeat("x", maxLine+1) + "\n\n":                          "too long",
		"id: 1\n" + strings.Repeat("data: "+strings.Repeat("x", maxLine/4)+"\n", 5) + "\n": "too long",
	} {
		client, p := asking(func(n int, _ *http.Request) (*http.Response, error) {
			if n > 10*maxFailures {
				return reply(404, ""), nil
			}
			return reply(200, frames, "Content-Type", "text/event-stream"), nil
		})
		client.retry = func(int) time.Duration { return 0 }
		err := client.Events(t.Context(), "vid_a", 0, func(e Event) error { return fmt.Errorf("got %+v", e) })
		if err == nil || !strings.Contains(err.Error(), want) || p.n > maxFailures+1 {
			t.Errorf("%.60q: %d connections, then %v; want %q", frames, p.n, err, want)
		}
	}
}

// TestEventsOfNoStream checks that Events gives up on an answer of another kind, such as a proxy's page.
func TestEventsOfNoStream(t *testing.T) {
	for _, kind := range []string{"text/html; charset=utf-8", "application/json", ""} {
		client, p := asking(func(n int, _ *http.Request) (*http.Response, error) {
			if n > 10*maxFailures {
				return reply(404, ""), nil
			}
			return reply(200, "<html>\n\nevent: end\ndata:\n", "Content-Type", kind), nil
		})
		client.retry = func(int) time.Duration { return 0 }
		err := client.Events(t.Context(), "vid_a", 0, nil)
		if err == nil || !strings.Contains(err.Error(), "not with an event stream") || p.n != maxFailures+1 {
			t.Errorf("%q: %d connections, then %v", kind, p.n, err)
		}
	}
}
