package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// peer answers requests in place of a server and of the network; n counts them, from 1. It makes time
// testable in a bubble.
type peer struct {
	answer func(n int, r *http.Request) (*http.Response, error)
	n      int
}

// RoundTrip implements http.RoundTripper. It reads the whole request first, as a server may.
func (p *peer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
	}
	p.n++
	return p.answer(p.n, r)
}

// asking returns a client of a peer, which sends no call again.
func asking(answer func(n int, r *http.Request) (*http.Response, error)) (*Client, *peer) {
	p := &peer{answer: answer}
	return Open(Config{URL: "http://mill.example", HTTP: &http.Client{Transport: p}, Retries: -1}), p
}

// reply makes an answer; headers are names and values by turns.
func reply(status int, body string, headers ...string) *http.Response {
	h := http.Header{}
	for pair := range slices.Chunk(headers, 2) {
		h.Set(pair[0], pair[1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: h,
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

const ready, queued = `{"id":"vid_a","status":"ready"}`, `{"id":"vid_a","status":"queued"}`

// TestErrorsOfAPeer checks what callers see of answers that are errors, ours and those of a proxy.
func TestErrorsOfAPeer(t *testing.T) {
	for name, c := range map[string]struct {
		answer *http.Response
		want   Error
		text   string
	}{
		"problem": {
			reply(422, `{"code":"bad","title":"Bad","detail":"It is bad.","remedy":"Mend it.","request_id":"req_1"}`),
			Error{Status: 422, Code: "bad", Title: "Bad", RequestID: "req_1"},
			"It is bad (bad). Mend it",
		},
		"problem of fields": {
			reply(422, `{"title":"Bad","errors":[{"pointer":"/a","detail":"no"},{"pointer":"/b","detail":"nor this"}]}`),
			Error{Status: 422, Title: "Bad"},
			"Bad (/a: no) (/b: nor this)",
		},
		"the only field is the detail": {
			reply(422, `{"detail":"no","errors":[{"pointer":"/a","detail":"no"}]}`),
			Error{Status: 422, Title: "the server answered 422 Unprocessable Entity"},
			"no",
		},
		"its status is another": {
			reply(503, `{"status":200,"title":"Busy"}`, "Retry-After", "7"),
			Error{Status: 503, Title: "Busy", RetryAfter: 7 * time.Second},
			"Busy",
		},
		"page of a proxy": {
			reply(502, "<html>", "X-Request-Id", "req_2", "Retry-After", "soon"),
			Error{Status: 502, Title: "the server answered 502 Bad Gateway", RequestID: "req_2"},
			"the server answered 502 Bad Gateway",
		},
		"wrong types": {
			reply(400, `{"code":7,"title":"half"}`),
			Error{Status: 400, Title: "the server answered 400 Bad Request"},
			"the server answered 400 Bad Request",
		},
		"time in the past": {
			reply(429, "", "Retry-After", "-5"),
			Error{Status: 429, Title: "the server answered 429 Too Many Requests"},
			"the server answered 429 Too Many Requests",
		},
	} {
		client, _ := asking(func(int, *http.Request) (*http.Response, error) { return c.answer, nil })
		_, err := client.Video(t.Context(), "vid_a")
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.Status != c.want.Status || e.Code != c.want.Code || e.Title != c.want.Title ||
			e.RequestID != c.want.RequestID || e.RetryAfter != c.want.RetryAfter || e.Error() != c.text {
			t.Errorf("%s: %q %#v, want %q %#v", name, e.Error(), e, c.text, &c.want)
		}
	}
}

// TestAnswersThatAreNone checks that an answer of 200 that cannot be read is an error, never an empty result.
func TestAnswersThatAreNone(t *testing.T) {
	for _, body := range []string{"", "<html>", `{"id":"vid_a"`, `[]`, `{"data":[{"id":7}]`} {
		client, _ := asking(func(int, *http.Request) (*http.Response, error) { return reply(200, body), nil })
		ctx := t.Context()
		for name, call := range map[string]func() error{
			"video": func() error { _, err := client.Video(ctx, "vid_a"); return err },
			"jobs":  func() error { _, err := client.Jobs(ctx, "vid_a"); return err },
			"list":  func() error { _, err := client.List(ctx, ListOptions{}); return err },
			"ready": func() error { _, err := client.Ready(ctx); return err },
			"log": func() (err error) {
				for _, err = range client.EventLog(ctx, "vid_a") {
				}
				return err
			},
		} {
			if err := call(); err == nil || !strings.Contains(err.Error(), "decode") {
				t.Errorf("%s of %q: %v", name, body, err)
			}
		}
	}
}

// TestPausesEndWithTheContext checks that no pause outlasts the context, and that its cause is returned.
func TestPausesEndWithTheContext(t *testing.T) {
	enough := errors.New("enough")
	for name, call := range map[string]func(context.Context, *Client) error{
		"wait": func(ctx context.Context, c *Client) error { _, err := c.Wait(ctx, "vid_a", Ready); return err },
		"events": func(ctx context.Context, c *Client) error {
			return c.Events(ctx, "vid_a", 0, func(Event) error { return nil })
		},
		"upload": func(ctx context.Context, c *Client) error {
			_, err := c.Upload(ctx, Upload{Reader: strings.NewReader("x"), Name: "x"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				client, p := asking(func(int, *http.Request) (*http.Response, error) { return reply(503, ""), nil })
				client.retry = func(int) time.Duration { return time.Hour }
				time.AfterFunc(time.Minute, func() { cancel(enough) })
				begun := time.Now()
				if err := call(ctx, client); !errors.Is(err, enough) || p.n != 1 || time.Since(begun) != time.Minute {
					t.Errorf("%d requests in %s: %v", p.n, time.Since(begun), err)
				}
			})
		})
	}
}

// TestUploadWaitsAsLongAsAsked checks Retry-After, and that Again is told of each failure before its pause.
func TestUploadWaitsAsLongAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		client, p := asking(func(n int, r *http.Request) (*http.Response, error) {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			switch n {
			case 1:
				return reply(429, "", "Retry-After", "120"), nil
			case 2:
				return reply(201, `{"id":"vid_`), nil // cut
			}
			return reply(201, queued), nil
		})
		begun := time.Now()
		var told []time.Duration
		v, err := client.Upload(t.Context(), Upload{
			Reader: strings.NewReader("x"), Name: "x", Again: func(error) { told = append(told, time.Since(begun)) },
		})
		if err != nil || v.ID != "vid_a" || p.n != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] {
			t.Errorf("%d tries with keys %q: %+v, %v", p.n, keys, v, err)
		}
		if want := []time.Duration{0, 2 * time.Minute}; !slices.Equal(told, want) {
			t.Errorf("told after %s, want %s", told, want)
		}
	})
}

// TestUploadOfAFileThatVanishes checks that the second try reports the file, and that there is no third.
func TestUploadOfAFileThatVanishes(t *testing.T) {
	client, _ := asking(func(int, *http.Request) (*http.Response, error) { return reply(503, ""), nil })
	client.retry = func(int) time.Duration { return 0 }
	path := write(t, "cat.mp4", "meow")
	again := 0
	_, err := client.Upload(t.Context(), Upload{Path: path, Again: func(error) {
		again++
		must(t, os.RemoveAll(path))
	}})
	if !errors.Is(err, os.ErrNotExist) || again != 1 {
		t.Errorf("told %d times, then %v", again, err)
	}
}
