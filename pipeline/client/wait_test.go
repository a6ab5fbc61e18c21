package client

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// TestWaitPaces checks how often Wait asks: without a pause while the server holds the request, with one
// when it answers early or fails, and no more than maxFailures times in a row after failures.
func TestWaitPaces(t *testing.T) {
	const held, early, cut, busy, refused, end = 'h', 'e', 'c', 'b', 'r', '.'
	for script, c := range map[string]struct {
		want        error
		least, most time.Duration
	}{
		"hhh.":           {least: 3 * longPoll, most: 3 * longPoll},
		"eee.":           {least: 3 * firstPause / 2, most: 3 * firstPause * 3 / 2},
		"cbcbcb.":        {least: firstPause, most: 2 * RetryTime},
		"cbcbcbc":        {want: io.ErrUnexpectedEOF},
		"cbcbcbhcbcbcb.": {least: longPoll, most: longPoll + 4*RetryTime},
		"cbcbcbecbcbcb.": {least: 2 * firstPause, most: 4 * RetryTime}, // an early answer is an answer
		"r":              {want: pipeline.ErrNotFound},
	} {
		t.Run(script, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, p := asking(func(n int, r *http.Request) (*http.Response, error) {
					switch script[n-1] {
					case held:
						pause.For(r.Context(), longPoll)
						return reply(200, queued), nil
					case early:
						return reply(200, queued), nil
					case cut:
						return nil, io.ErrUnexpectedEOF
					case busy:
						return reply(503, ""), nil
					case refused:
						return reply(404, `{"code":"not_found"}`), nil
					case end:
						return reply(200, ready), nil
					}
					return nil, r.Context().Err()
				})
				begun := time.Now()
				v, err := client.Wait(t.Context(), "vid_a", Ready)
				if p.n != len(script) || !errors.Is(err, c.want) || err == nil && v.Status != "ready" {
					t.Errorf("after %d of %d answers: %+v, %v", p.n, len(script), v, err)
				}
				if took := time.Since(begun); c.want == nil && (took < c.least || took > c.most) {
					t.Errorf("it took %s, want %s to %s", took, c.least, c.most)
				}
			})
		})
	}
}

// TestWaitUntilPlayable checks that playable ends the wait for it, and not the wait for the end.
func TestWaitUntilPlayable(t *testing.T) {
	for until, asked := range map[Until]int{Playable: 1, Ready: 2} {
		synctest.Test(t, func(t *testing.T) {
			client, p := asking(func(n int, r *http.Request) (*http.Response, error) {
				if got := r.URL.Query().Get("until"); got != string(until) {
					t.Errorf("asked until %q", got)
				}
				if n == 1 {
					return reply(200, `{"id":"vid_a","status":"processing","playable":true}`), nil
				}
				return reply(200, `{"id":"vid_a","status":"errored"}`), nil
			})
			if _, err := client.Wait(t.Context(), "vid_a", until); err != nil || p.n != asked {
				t.Errorf("until %s: %d answers, %v", until, p.n, err)
			}
		})
	}
}

// TestWaitOutlivesADeadConnection checks that a request without an answer ends, and the next one is made.
func TestWaitOutlivesADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, p := asking(func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return reply(200, ready), nil
		})
		if v, err := client.Wait(t.Context(), "vid_a", Ready); err != nil || v.Status != "ready" || p.n != 2 {
			t.Errorf("%d requests: %+v, %v", p.n, v, err)
		}
	})
}

// TestWaitUntil checks on a real server that the wait follows the stream, over a cut connection, and ends with
// the state.
func TestWaitUntil(t *testing.T) {
	for until, want := range map[Until]pipeline.VideoState{Playable: pipeline.StateVideoQueued, Ready: pipeline.StateVideoReady} {
		e := newEnv(t)
		id := e.uploaded().ID
		streams, polls := make(chan string, 9), 0
		e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/events") {
				streams <- r.Header.Get("Last-Event-ID")
			}
			if r.URL.Query().Has("wait") {
				polls++
			}
			return false
		})
		done := make(chan error, 1)
		var v pipeline.VideoView
		go func() {
			var err error
			v, err = e.client.WaitUntil(t.Context(), id, until)
			done <- err
		}()
		<-streams
		e.cut()
		<-streams
		e.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, id), pipeline.Playable{Path: "master.m3u8"})
		if until == Ready {
			e.finish(id)
		}
		if err := <-done; err != nil || v.Status != want || !v.Playable || polls != 0 {
			t.Errorf("until %s: %+v after %d polls, %v", until, v, polls, err)
		}
		if _, err := e.client.WaitUntil(t.Context(), id, until); err != nil {
			t.Error(err)
		}
		if _, err := e.client.WaitUntil(t.Context(), "vid_none", until); !errors.Is(err, pipeline.ErrNotFound) {
			t.Error(err)
		}
	}
}

// TestWaitUntilWithoutAStream checks that it asks instead where no stream can be had, or the stream ends.
func TestWaitUntilWithoutAStream(t *testing.T) {
	for name, stream := range map[string]func(*http.Request) *http.Response{
		"too many":        func(*http.Request) *http.Response { return reply(503, `{"code":"too_many_streams","retryable":true}`) },
		"forbidden":       func(*http.Request) *http.Response { return reply(403, "") },
		"a page":          func(*http.Request) *http.Response { return reply(200, "<html>", "Content-Type", "text/html") },
		"held back":       func(r *http.Request) *http.Response { return stream200(r.Context()) },
		"ended too early": func(*http.Request) *http.Response { return reply(204, "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				polls := 0
				client, _ := asking(func(_ int, r *http.Request) (*http.Response, error) {
					switch {
					case strings.HasSuffix(r.URL.Path, "/events"):
						return stream(r), nil
					case !r.URL.Query().Has("wait"):
						return reply(200, queued), nil
					}
					if polls++; polls < 3 {
						pause.For(r.Context(), longPoll)
						return reply(200, queued), nil
					}
					return reply(200, ready), nil
				})
				if v, err := client.WaitUntil(t.Context(), "vid_a", Ready); err != nil || v.Status != "ready" || polls != 3 {
					t.Errorf("%d polls: %+v, %v", polls, v, err)
				}
			})
		})
	}
}
