package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Until is what WaitUntil and Wait wait for.
type Until string

// What WaitUntil and Wait wait for.
const (
	Playable Until = "playable" // a manifest has a verified rendition, or the video has ended
	Ready    Until = "ready"    // the video has ended: ready, errored, rejected or canceled
)

// reached reports whether a video is in the state, or has ended otherwise.
func (u Until) reached(v pipeline.VideoView) bool {
	return v.Status.Terminal() || u == Playable && v.Playable
}

// longPoll is how long one request of Wait lasts.
const longPoll = 30 * time.Second

// waitFailures is how often in a row the stream of WaitUntil may fail before it asks instead.
const waitFailures = 2

// errReached stops the stream of WaitUntil.
var errReached = errors.New("the state is reached")

// WaitUntil returns the video once it is in the requested state, or has ended otherwise: check its Status. It
// follows the video's event stream, and resumes it where it broke. Where no stream can be had, since a proxy
// holds it back or the server has too many, it asks again and again, as Wait does. It survives restarts of
// the server; ctx limits it.
func (c *Client) WaitUntil(ctx context.Context, id string, until Until) (pipeline.VideoView, error) {
	v, err := c.Video(ctx, id)
	if err != nil || until.reached(v) {
		return v, err
	}
	err = c.videoStream(id, 0, func(e Event) error {
		if !until.mayFollow(pipeline.EventType(e.Type)) {
			return nil
		}
		v, err = c.Video(ctx, id)
		if err == nil && until.reached(v) {
			return errReached
		}
		return err
	}).follow(ctx, waitFailures)
	switch {
	case errors.Is(err, errReached):
		return v, nil
	case ctx.Err() != nil:
		return v, context.Cause(ctx)
	case errors.Is(err, pipeline.ErrNotFound):
		return v, err
	}
	return c.Wait(ctx, id, until)
}

// mayFollow reports whether the state may be reached after an event of the type.
func (u Until) mayFollow(t pipeline.EventType) bool {
	switch t {
	case pipeline.VideoPlayable:
		return u == Playable
	case pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled:
		return true
	}
	return false
}

// Wait returns the video once it is in the requested state, or has ended otherwise: check its Status. It
// long-polls, and survives lost connections and restarts of the server; ctx limits it.
func (c *Client) Wait(ctx context.Context, id string, until Until) (pipeline.VideoView, error) {
	q := url.Values{"wait": {longPoll.String()}, "until": {string(until)}}
	path := "/v1/videos/" + url.PathEscape(id) + "?" + q.Encode()
	for failed := 0; ; {
		var v pipeline.VideoView
		began := time.Now()
		// A connection that died unnoticed must not block this for ever.
		once, cancel := context.WithTimeout(ctx, longPoll+silence)
		err := c.once(once, call{method: http.MethodGet, path: path, into: &v})
		cancel()
		switch {
		case err == nil && until.reached(v):
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
