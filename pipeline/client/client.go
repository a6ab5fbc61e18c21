// Package client talks to the API of a ReelMill server. It owns the transport: requests, problem documents
// as errors, uploads with retries, and event streams that resume. It returns the types of package pipeline.
//
// A failed call may have taken effect, since the answer can be lost. Upload retries with one idempotency
// key, so that it never makes two videos; the caller may repeat the other calls that change something.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Client is a client of one server. Its methods may be called from many goroutines.
type Client struct {
	base string
	http *http.Client
	// retry returns the pause before try n (from 1) of an upload or a stream; tests make it short.
	retry func(n int) time.Duration
}

// New returns a client of the server at base, such as http://localhost:8080. If hc is nil, it uses a client
// without an overall timeout, since uploads and streams have none. Contexts limit the calls.
func New(base string, hc *http.Client) *Client {
	if hc == nil {
		hc = &http.Client{}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: hc, retry: backoff}
}

// Error is an error answer of the server: its problem document (RFC 9457).
type Error struct {
	Status    int    `json:"status"` // the HTTP status
	Code      string `json:"code"`   // empty if the answer was not a problem document, as from a proxy
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Remedy    string `json:"remedy"`
	RequestID string `json:"request_id"` // to find it in the server's log
	Retryable bool   `json:"retryable"`
	Errors    []struct {
		Pointer string `json:"pointer"`
		Code    string `json:"code"`
		Detail  string `json:"detail"`
	} `json:"errors"`

	// RetryAfter is how long the server asks to wait, at most a day; 0 if it does not.
	RetryAfter time.Duration `json:"-"`
}

// errBase means that the server's address is invalid.
var errBase = errors.New("the server's address must begin with http:// or https://")

// Error returns the detail, or else the title, then the code and the remedy, without a full stop at the end.
func (e *Error) Error() string {
	s := strings.TrimSuffix(cmp.Or(e.Detail, e.Title), ".")
	for _, f := range e.Errors {
		if f.Detail != e.Detail {
			s += fmt.Sprintf(" (%s: %s)", f.Pointer, f.Detail)
		}
	}
	if e.Code != "" {
		s += " (" + e.Code + ")"
	}
	if e.Remedy != "" {
		s += ". " + strings.TrimSuffix(e.Remedy, ".")
	}
	return s
}

// Is makes errors.Is(err, pipeline.ErrNotFound) true for missing things.
func (e *Error) Is(target error) bool {
	return target == pipeline.ErrNotFound && e.Code == "not_found"
}

// passing reports whether the same request may succeed later. Callers have checked the context before.
func passing(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusInsufficientStorage, http.StatusNotImplemented:
			return false // somebody must act first
		case http.StatusTooManyRequests:
			return true
		}
		return e.Retryable || e.Status >= 500
	}
	_, local := errors.AsType[*localError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !local && !untrusted && !errors.Is(err, errBase) && !errors.Is(err, pipeline.ErrNotFound)
}

// Until is what Wait waits for.
type Until string

// What Wait waits for.
const (
	Playable Until = "playable" // a manifest has a verified rendition, or the video has ended
	Ready    Until = "ready"    // the video has ended: ready, errored, rejected or canceled
)

// longPoll is how long one request of Wait lasts.
const longPoll = 30 * time.Second

// Video returns a video as it is now.
func (c *Client) Video(ctx context.Context, id string) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	err := c.get(ctx, "/v1/videos/"+url.PathEscape(id), nil, &v)
	return v, err
}

// Wait returns the video once it is in the requested state, or has ended otherwise: check its Status. It
// survives lost connections and restarts of the server; ctx limits it.
func (c *Client) Wait(ctx context.Context, id string, until Until) (pipeline.VideoView, error) {
	q := url.Values{"wait": {longPoll.String()}, "until": {string(until)}}
	for failed := 0; ; {
		var v pipeline.VideoView
		began := time.Now()
		// A connection that died unnoticed must not block this for ever.
		once, cancel := context.WithTimeout(ctx, longPoll+silence)
		err := c.get(once, "/v1/videos/"+url.PathEscape(id), q, &v)
		cancel()
		switch {
		case err == nil && (v.Status.Terminal() || until == Playable && v.Playable):
			return v, nil
		case ctx.Err() != nil:
			return v, context.Cause(ctx)
		case err == nil && time.Since(began) >= longPoll/2:
			failed = 0
			continue
		case err == nil: // a server that shuts down answers early: do not spin
			failed = 0
		case !passing(err) || failed == maxFailures:
			return v, err
		default:
			failed++
		}
		if !pause.For(ctx, c.retry(max(failed, 1))) {
			return v, context.Cause(ctx)
		}
	}
}

// Outputs returns the current outputs of a video.
func (c *Client) Outputs(ctx context.Context, id string) ([]pipeline.OutputView, error) {
	var l page[pipeline.OutputView]
	err := c.get(ctx, "/v1/videos/"+url.PathEscape(id)+"/outputs", nil, &l)
	return l.Data, err
}

// Jobs returns the jobs of a video.
func (c *Client) Jobs(ctx context.Context, id string) ([]pipeline.JobView, error) {
	var l page[pipeline.JobView]
	err := c.get(ctx, "/v1/videos/"+url.PathEscape(id)+"/jobs", nil, &l)
	return l.Data, err
}

// ListOptions select and page videos. Zero values select all, from the first page.
type ListOptions struct {
	Status pipeline.VideoState
	Limit  int    // videos per page; 0 for the server's default
	Cursor string // the NextCursor of the previous page
}

// VideoPage is a page of videos, newest first.
type VideoPage struct {
	Data       []pipeline.VideoView
	NextCursor string // empty on the last page
}

// List returns one page of videos.
func (c *Client) List(ctx context.Context, o ListOptions) (VideoPage, error) {
	q := url.Values{}
	if o.Status != "" {
		q.Set("status", string(o.Status))
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	var l page[pipeline.VideoView]
	err := c.get(ctx, "/v1/videos", q, &l)
	return VideoPage(l), err
}

// Pipelines returns the pipelines of the server.
func (c *Client) Pipelines(ctx context.Context) ([]pipeline.Pipeline, error) {
	var l page[pipeline.Pipeline]
	err := c.get(ctx, "/v1/pipelines", nil, &l)
	return l.Data, err
}

// Delete deletes a video. Deleting it again is not an error; an id that never was a video's is
// pipeline.ErrNotFound.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/videos/"+url.PathEscape(id), nil, nil)
}

// Readiness is a server's report about itself.
type Readiness struct {
	Status string            `json:"status"` // ok or unavailable
	Checks map[string]string `json:"checks"` // by name: ok, or the fault
}

// Ready asks the server whether it is ready. A server that is not returns the checks with an *Error of
// status 503; a proxy's 503 has no checks.
func (c *Client) Ready(ctx context.Context) (Readiness, error) {
	var r Readiness
	resp, err := c.send(ctx, http.MethodGet, "/readyz", nil, "application/json")
	if err != nil {
		return r, err
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return r, errorOf(resp)
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&r)
	if err != nil && resp.StatusCode == http.StatusOK {
		return r, fmt.Errorf("decode readiness: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return r, &Error{
			Status: resp.StatusCode, Code: "unavailable", Title: "The server is not ready", Retryable: true,
			RequestID: resp.Header.Get("X-Request-Id"),
		}
	}
	return r, nil
}

// page is the body of every list.
type page[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"next_cursor"` // null, on the last page, decodes to nothing
}

// maxAnswer limits how much of an answer is read for decoding.
const maxAnswer = 64 << 20

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, q, into)
}

// doWith sends a request with a JSON body and decodes the answer.
func (c *Client) doWith(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode body of %s %s: %w", method, path, err)
	}
	req, err := c.request(ctx, method, path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	return finish(resp, method, path, into)
}

// do sends a request without a body and decodes the answer; into may be nil.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, into any) error {
	resp, err := c.send(ctx, method, path, q, "application/json")
	if err != nil {
		return err
	}
	return finish(resp, method, path, into)
}

// finish decodes an answer; into may be nil.
func finish(resp *http.Response, method, path string, into any) error {
	defer drain(resp.Body)
	if resp.StatusCode/100 != 2 {
		return errorOf(resp)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("decode answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, q url.Values, accept string) (
	*http.Response, error,
) {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	req, err := c.request(ctx, method, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	return c.http.Do(req)
}

// request returns a request to the path p, which begins with a slash and may have a query. It returns
// pipeline.ErrNotFound for a path that a server would shorten to another one.
func (c *Client) request(ctx context.Context, method, p string, body io.Reader) (*http.Request, error) {
	if !strings.HasPrefix(c.base, "http://") && !strings.HasPrefix(c.base, "https://") {
		return nil, fmt.Errorf("%w, not %q", errBase, c.base)
	}
	if plain, _, _ := strings.Cut(p, "?"); plain != path.Clean(plain) { // an id is empty, or made of dots
		return nil, fmt.Errorf("request %s: %w", plain, pipeline.ErrNotFound)
	}
	return http.NewRequestWithContext(ctx, method, c.base+p, body)
}

// maxRetryAfter is the longest time to wait, in seconds, that a server may ask for; more count as this.
const maxRetryAfter = 24 * 60 * 60

// errorOf returns the problem in resp.
func errorOf(resp *http.Response) error {
	e := &Error{}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(raw, e) != nil {
		e = &Error{}
	}
	e.Status = resp.StatusCode
	if e.Title == "" {
		e.Title = "the server answered " + resp.Status
	}
	if e.RequestID == "" {
		e.RequestID = resp.Header.Get("X-Request-Id")
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, maxRetryAfter)) * time.Second
	}
	return e
}

// drain reads the rest of a short body, so that the connection can be reused, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10) // the rest of the body does not matter
	_ = body.Close()
}
