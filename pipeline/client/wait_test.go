package client

import (
	"errors"
	"io"
	"net/http"
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
