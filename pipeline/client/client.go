package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// Client is a client of one server. Its methods may be called from many goroutines.
type Client struct {
	base   string
	http   *http.Client
	config Config
	// retry returns the pause before try n (from 1) of a call, an upload or a stream; tests make it short.
	retry func(n int) time.Duration
}

// Config configures a client. Only URL is needed.
type Config struct {
	URL string // of the server, such as http://localhost:8080
	// HTTP sends the requests. Default: a client without an overall timeout, since uploads and streams have
	// none; contexts limit the calls. Give it a transport that adds headers, if a proxy asks for them.
	HTTP *http.Client
	// Retries is how often a call is sent again after a failure that may pass. Default: 3, which takes about
	// 4 s; negative: never. Uploads and streams have limits of their own (RetryTime).
	Retries int
	// Key is the secret of an API key, for a server that asks for one. It goes to URL alone.
	Key secret.Text
	// Project is the project to act in. Only a key of the operator may name one; empty: that of the key.
	Project string
	// Again is asked before a call is sent again, with the error of the last try; false ends the call with
	// that error. Default: each call is sent again. It is not asked about uploads and streams.
	Again func(err error) bool
}

// defaultRetries is the default of Config.Retries.
const defaultRetries = 3

// New returns a client of the server at base, such as http://localhost:8080, with the defaults of Config. If
// hc is nil, it uses a client without an overall timeout.
func New(base string, hc *http.Client) *Client { return Open(Config{URL: base, HTTP: hc}) }

// Open returns a client with a configuration. It sends nothing yet: a wrong address is an error of each call.
func Open(config Config) *Client {
	if config.HTTP == nil {
		config.HTTP = &http.Client{}
	}
	config.Retries = cmp.Or(config.Retries, defaultRetries)
	return &Client{
		base: strings.TrimRight(config.URL, "/"), http: config.HTTP, config: config, retry: backoff,
	}
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
	_, noJSON := errors.AsType[*json.SyntaxError](err)
	_, otherJSON := errors.AsType[*json.UnmarshalTypeError](err)
	return !local && !untrusted && !noJSON && !otherJSON && !errors.Is(err, errBase) &&
		!errors.Is(err, pipeline.ErrNotFound)
}

// Video returns a video as it is now.
func (c *Client) Video(ctx context.Context, id string) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	err := c.get(ctx, "/v1/videos/"+url.PathEscape(id), nil, &v)
	return v, err
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

// ListOptions select and page videos. Zero values select all, newest first, from the first page.
type ListOptions struct {
	Status        pipeline.VideoState
	Statuses      []pipeline.VideoState // any of these, and Status
	Metadata      map[string]string     // all of these keys, with these values
	Text          string                // words that title, file name and passthrough contain
	CreatedAfter  time.Time             // at this time or later
	CreatedBefore time.Time             // before this time
	Ascending     bool                  // oldest first
	Counts        bool                  // whether the page has Counts
	Limit         int                   // videos per page; 0 for the server's default
	Cursor        string                // of another page with the same filters and order
}

// query returns o as the parameters of a list.
func (o ListOptions) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	var statuses []string
	for _, s := range append([]pipeline.VideoState{o.Status}, o.Statuses...) {
		if s != "" {
			statuses = append(statuses, string(s))
		}
	}
	set("status", strings.Join(statuses, ","))
	for key, value := range o.Metadata {
		q.Set("metadata["+key+"]", value)
	}
	set("q", o.Text)
	if !o.CreatedAfter.IsZero() {
		q.Set("created_after", o.CreatedAfter.Format(time.RFC3339Nano))
	}
	if !o.CreatedBefore.IsZero() {
		q.Set("created_before", o.CreatedBefore.Format(time.RFC3339Nano))
	}
	if o.Ascending {
		q.Set("order", "created_at")
	}
	if o.Counts {
		q.Set("counts", "true")
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	set("cursor", o.Cursor)
	return q
}

// VideoPage is a page of videos.
type VideoPage struct {
	Data       []pipeline.VideoView        `json:"data"`
	NextCursor string                      `json:"next_cursor"`      // empty on the last page
	PrevCursor string                      `json:"prev_cursor"`      // empty on the first page
	Counts     map[pipeline.VideoState]int `json:"counts,omitempty"` // by status, if ListOptions asks for them
}

// Videos yields the videos that o selects, page after page from o.Cursor on, in their order. An error comes
// with the zero video and ends it.
func (c *Client) Videos(ctx context.Context, o ListOptions) iter.Seq2[pipeline.VideoView, error] {
	if o.Limit == 0 {
		o.Limit = itemsPage
	}
	return pages[pipeline.VideoView](ctx, c, "/v1/videos", o.query())
}

// List returns one page of videos.
func (c *Client) List(ctx context.Context, o ListOptions) (VideoPage, error) {
	var l VideoPage
	err := c.get(ctx, "/v1/videos", o.query(), &l)
	return l, err
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
	req, err := c.request(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return r, err
	}
	resp, err := c.http.Do(req)
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
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
	return e
}

// retryAfter reads a number of seconds, or a date; 0 for anything else, and for times that are over.
func retryAfter(text string) time.Duration {
	wait := time.Duration(0)
	if s, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(s, maxRetryAfter)) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxRetryAfter*time.Second)
}

// drain reads the rest of a short body, so that the connection can be reused, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10) // the rest of the body does not matter
	_ = body.Close()
}
