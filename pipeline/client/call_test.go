package client

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// TestCallsAreSentAgain checks which failures a call survives, how long it waits, and that all tries of a POST
// have one key, which no other call has.
func TestCallsAreSentAgain(t *testing.T) {
	cut := func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	answer := func(status int, body string, headers ...string) func() (*http.Response, error) {
		return func() (*http.Response, error) { return reply(status, body, headers...), nil }
	}
	const refused = `{"code":"state_conflict","retryable":false}`
	const inFlight = `{"code":"key_in_flight","retryable":true}`
	for name, c := range map[string]struct {
		answers []func() (*http.Response, error)
		retries int
		want    int // the status of the error; 0: none
		least   time.Duration
	}{
		"a cut connection":     {[]func() (*http.Response, error){cut, cut, cut, answer(200, queued)}, 0, 0, 0},
		"a cut answer":         {[]func() (*http.Response, error){answer(200, `{"id":`), answer(200, queued)}, 0, 0, 0},
		"a busy server":        {[]func() (*http.Response, error){answer(503, "", "Retry-After", "20"), answer(200, queued)}, 0, 0, 20 * time.Second},
		"too many requests":    {[]func() (*http.Response, error){answer(429, "", "Retry-After", "30"), answer(200, queued)}, 0, 0, 30 * time.Second},
		"a try in flight":      {[]func() (*http.Response, error){answer(409, inFlight), answer(200, queued)}, 0, 0, 0},
		"four failures":        {slices.Repeat([]func() (*http.Response, error){answer(502, "")}, 4), 0, 502, 0},
		"more by request":      {append(slices.Repeat([]func() (*http.Response, error){answer(502, "")}, 6), answer(200, queued)), 6, 0, 0},
		"none by request":      {[]func() (*http.Response, error){answer(503, "")}, -1, 503, 0},
		"a refusal":            {[]func() (*http.Response, error){answer(409, refused)}, 0, 409, 0},
		"a mistake":            {[]func() (*http.Response, error){answer(422, "")}, 0, 422, 0},
		"a full disk":          {[]func() (*http.Response, error){answer(507, `{"retryable":true}`)}, 0, 507, 0},
		"a wait of an hour":    {[]func() (*http.Response, error){answer(503, "", "Retry-After", "3600")}, 0, 503, 0},
		"a page of some proxy": {[]func() (*http.Response, error){answer(200, "<html>")}, 0, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var keys []string
				p := &peer{answer: func(n int, r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						keys = append(keys, r.Header.Get("Idempotency-Key"))
					}
					return c.answers[(n-1)%len(c.answers)]()
				}}
				client := Open(Config{URL: "http://mill.example", HTTP: &http.Client{Transport: p}, Retries: c.retries})
				for name, call := range map[string]func() error{
					"GET":  func() error { _, err := client.Video(t.Context(), "vid_a"); return err },
					"POST": func() error { _, err := client.Cancel(t.Context(), "vid_a"); return err },
				} {
					p.n = 0
					begun := time.Now()
					err := call()
					e, _ := errors.AsType[*Error](err)
					if p.n != len(c.answers) || (err == nil) != (c.want == 0) || c.want > 0 && (e == nil || e.Status != c.want) {
						t.Errorf("%s: %d requests, then %v", name, p.n, err)
					}
					if took := time.Since(begun); took < c.least {
						t.Errorf("%s: %d requests in %s", name, p.n, took)
					}
				}
				if keys[0] == "" || len(slices.Compact(slices.Clone(keys))) != 1 {
					t.Errorf("keys %q", keys)
				}
				_, _ = client.Cancel(t.Context(), "vid_a")
				if keys[len(keys)-1] == keys[0] {
					t.Errorf("another call has the key %q, too", keys[0])
				}
			})
		})
	}
}

// TestIdempotencyKeyOfTheCaller checks that the caller's key is sent, with POST alone.
func TestIdempotencyKeyOfTheCaller(t *testing.T) {
	var keys []string
	client, _ := asking(func(_ int, r *http.Request) (*http.Response, error) {
		keys = append(keys, r.Method+r.Header.Get("Idempotency-Key"))
		return reply(200, queued), nil
	})
	ctx := WithIdempotencyKey(t.Context(), "mine")
	_, err := client.Cancel(ctx, "vid_a")
	must(t, err)
	_, err = client.Video(ctx, "vid_a")
	must(t, err)
	if !slices.Equal(keys, []string{"POSTmine", "GET"}) {
		t.Errorf("keys %q", keys)
	}
}

// TestDeleteWhoseAnswerIsLost checks that the second try, which finds nothing, is no error, and that the first
// one is.
func TestDeleteWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return nil, io.ErrUnexpectedEOF
			}
			return reply(404, `{"code":"not_found"}`), nil
		}}
		client := New("http://mill.example", &http.Client{Transport: p})
		if err := client.Discard(t.Context(), "dead_1"); err != nil || p.n != 2 {
			t.Errorf("%d requests: %v", p.n, err)
		}
		if err := client.Discard(t.Context(), "dead_1"); !errors.Is(err, pipeline.ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestAgainMayEndACall checks that a call ends when its owner wants to know at once.
func TestAgainMayEndACall(t *testing.T) {
	p := &peer{answer: func(int, *http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }}
	var told error
	client := Open(Config{
		URL: "http://mill.example", HTTP: &http.Client{Transport: p}, Again: func(err error) bool { told = err; return false },
	})
	if _, err := client.Video(t.Context(), "vid_a"); !errors.Is(err, io.ErrUnexpectedEOF) || told != err || p.n != 1 {
		t.Errorf("%d requests: %v, told %v", p.n, err, told)
	}
}

// TestRetryAfter checks both forms of the header.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]time.Duration{
			"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "999999999": 24 * time.Hour,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
			strings.Repeat("9", 40):                                    0,
		} {
			if got := retryAfter(text); got != want {
				t.Errorf("%q: %s, want %s", text, got, want)
			}
		}
	})
}

// TestVideosYieldsAllPages checks the iterator, and that each range begins anew.
func TestVideosYieldsAllPages(t *testing.T) {
	e := newEnv(t)
	want := []string{e.uploaded().ID, e.uploaded().ID, e.uploaded().ID}
	slices.Reverse(want)
	all := e.client.Videos(t.Context(), ListOptions{Limit: 2})
	for range 2 {
		var got []string
		for v, err := range all {
			must(t, err)
			got = append(got, v.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
