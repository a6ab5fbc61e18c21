package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

type keyContext struct{}

// WithIdempotencyKey returns a context whose next call of a method that changes something has this key,
// instead of a random one. So a later process can repeat a call whose answer was lost: the server answers the
// first one's answer. Use a new key for each thing to do; at most 255 printable ASCII characters.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// keyOf returns the key of a call, which all its tries have.
func keyOf(ctx context.Context) string {
	if key, given := ctx.Value(keyContext{}).(string); given && key != "" {
		return key
	}
	return rand.Text()
}

// page is the body of every list.
type page[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"next_cursor"` // null, on the last page, decodes to nothing
}

// itemsPage is how many items of a list one request returns.
const itemsPage = 100

// pages yields the items of a list that q selects, page after page. An error comes with the zero item and
// ends it.
func pages[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := maps.Clone(q) // each range begins anew
		if q == nil {
			q = url.Values{}
		}
		if !q.Has("limit") {
			q.Set("limit", strconv.Itoa(itemsPage))
		}
		for {
			var l page[T]
			if err := c.get(ctx, path, q, &l); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range l.Data {
				if !yield(item, nil) {
					return
				}
			}
			if l.NextCursor == "" {
				return
			}
			q.Set("cursor", l.NextCursor)
		}
	}
}

// maxAnswer limits how much of an answer is read for decoding.
const maxAnswer = 64 << 20

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, q, into)
}

// do sends a request without a body and decodes the answer; into may be nil.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, into any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return c.repeat(ctx, call{method: method, path: path, into: into})
}

// doWith sends a request with a JSON body and decodes the answer.
func (c *Client) doWith(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode body of %s %s: %w", method, path, err)
	}
	return c.repeat(ctx, call{method: method, path: path, body: raw, into: into})
}

// call is a request of the API, and where its answer goes.
type call struct {
	method, path string // path may have a query
	key          string // Idempotency-Key; empty: none
	body         []byte // JSON; may be nil
	into         any    // may be nil
}

// maxAsked is the longest time that a call waits because the server asks for it (Retry-After). When it asks
// for more, the call fails at once.
const maxAsked = time.Minute

// repeat sends a call, and sends it again after failures that may pass. That is safe: a POST has the same key
// in all tries, and all other methods of the API do the same when they are done twice.
func (c *Client) repeat(ctx context.Context, k call) error {
	if k.method == http.MethodPost {
		k.key = keyOf(ctx)
	}
	for failed := 0; ; {
		err := c.once(ctx, k)
		switch {
		case err == nil:
			return nil
		case failed > 0 && k.method == http.MethodDelete && errors.Is(err, pipeline.ErrNotFound):
			return nil // an earlier try has deleted it, and its answer was lost
		case ctx.Err() != nil || !passing(err) || asked(err) > maxAsked:
			return err
		}
		if failed++; failed > c.config.Retries || c.config.Again != nil && !c.config.Again(err) {
			return err
		}
		if !pause.For(ctx, max(c.retry(failed), asked(err))) {
			return context.Cause(ctx)
		}
	}
}

// asked returns how long the server that answered err asks to wait.
func asked(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// once sends a call one time, and decodes the answer.
func (c *Client) once(ctx context.Context, k call) error {
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	req, err := c.request(ctx, k.method, k.path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if k.key != "" {
		req.Header.Set("Idempotency-Key", k.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	plain, _, _ := strings.Cut(k.path, "?")
	return finish(resp, k.method, plain, k.into)
}

// finish decodes an answer; into may be nil. Into a *[]byte goes the body as it is.
func finish(resp *http.Response, method, path string, into any) error {
	defer drain(resp.Body)
	if resp.StatusCode/100 != 2 {
		return errorOf(resp)
	}
	if into == nil {
		return nil
	}
	if raw, ok := into.(*[]byte); ok {
		var err error
		if *raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
			return fmt.Errorf("read answer to %s %s: %w", method, path, err)
		}
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("decode answer to %s %s: %w", method, path, err)
	}
	return nil
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
	req, err := http.NewRequestWithContext(ctx, method, c.base+p, body)
	if err != nil {
		return nil, err
	}
	if !c.config.Key.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.config.Key.Reveal())
	}
	if c.config.Project != "" {
		req.Header.Set("X-Reelmill-Project", c.config.Project)
	}
	return req, nil
}
