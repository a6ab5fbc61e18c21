package client

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// EventFilter selects events of all videos. The zero value selects all.
type EventFilter struct {
	Video string               // only events of this video
	Types []pipeline.EventType // only events of these types
	After uint64               // only events after this sequence of the log
}

func (f EventFilter) query() url.Values {
	q := url.Values{}
	if f.Video != "" {
		q.Set("video", f.Video)
	}
	var types []string
	for _, t := range f.Types {
		types = append(types, string(t))
	}
	if len(types) > 0 {
		q.Set("types", strings.Join(types, ","))
	}
	if f.After > 0 {
		q.Set("after", strconv.FormatUint(f.After, 10))
	}
	return q
}

// takes reports whether an event is selected.
func (f EventFilter) takes(e pipeline.Event) bool {
	return (f.Video == "" || e.CorrelationID == f.Video) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, e.Type))
}

// AllEvents yields the events of all videos so far that f selects, in the order of the log, page after page.
// They have no Sequence. An error comes with the zero event and ends it.
func (c *Client) AllEvents(ctx context.Context, f EventFilter) iter.Seq2[pipeline.Event, error] {
	return pages[pipeline.Event](ctx, c, "/v1/events", f.query())
}

// askEvery is how often a server without a stream over all videos is asked for new events.
const askEvery = time.Second

// FollowAll calls fn with the events of all videos that f selects, each once and in the order of the log:
// those so far, and then new ones until ctx ends. It survives lost connections and restarts of the server. It
// returns the first error of fn. Live progress is left out; only events from the stream have a Sequence.
func (c *Client) FollowAll(ctx context.Context, f EventFilter, fn func(pipeline.Event) error) error {
	return c.followAll(ctx, &f, maxFailures, fn)
}

// FollowFrom is FollowAll for callers that tell somebody when the server does not answer: it gives up when it
// cannot connect again, and moves f.After to the place before which fn got everything, so that a later call
// goes on there. That call may repeat events: those after that place that fn got.
func (c *Client) FollowFrom(ctx context.Context, f *EventFilter, fn func(pipeline.Event) error) error {
	return c.followAll(ctx, f, 1, fn)
}

// followAll follows all events after f.After, which it moves; the stream may fail failures times in a row.
func (c *Client) followAll(
	ctx context.Context, f *EventFilter, failures int, fn func(pipeline.Event) error,
) error {
	if err := c.catchUp(ctx, f, fn); err != nil {
		return err
	}
	var own error // of fn
	// The address has the place, too: that of an empty log is 0, which Last-Event-ID cannot tell.
	path := "/v1/events/stream?after=" + strconv.FormatUint(f.After, 10)
	s := &stream{client: c, name: "events", path: path, after: f.After, fn: func(e Event) error {
		if e.Log == nil {
			return nil
		}
		if f.takes(*e.Log) {
			own = fn(*e.Log)
		}
		if own == nil {
			f.After = max(f.After, e.Sequence)
		}
		return own
	}}
	for {
		err := s.follow(ctx, failures)
		if own != nil {
			return own
		}
		if _, answered := errors.AsType[*Error](err); answered {
			break // the server has no such stream, or too many
		}
		if err != nil {
			return err
		}
		if !pause.For(ctx, askEvery) { // the server ended the stream; it goes on
			return context.Cause(ctx)
		}
	}
	return c.ask(ctx, f, failures, fn)
}

// ask is FollowAll on a server without a stream: it asks for new events every second.
func (c *Client) ask(
	ctx context.Context, f *EventFilter, failures int, fn func(pipeline.Event) error,
) error {
	var own, last error // own: of fn
	for failed := 0; ; {
		wait := askEvery
		if failed > 0 {
			wait = max(wait, c.retry(failed), asked(last))
		}
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
		err := c.catchUp(ctx, f, func(e pipeline.Event) error {
			own = fn(e)
			return own
		})
		switch {
		case err == nil:
			failed = 0
		case own != nil:
			return own
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !passing(err) || failed == failures:
			return err
		default:
			failed++
		}
		last = err
	}
}

// catchUp calls fn with the events after f.After, and moves that to where the server's list is complete.
func (c *Client) catchUp(ctx context.Context, f *EventFilter, fn func(pipeline.Event) error) error {
	for {
		events, position, more, err := c.HistoryPage(ctx, *f)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := fn(e); err != nil {
				return err
			}
		}
		f.After = max(f.After, position)
		if !more {
			return nil
		}
	}
}

// HistoryPage returns events of all videos that f selects, in the order of the log, and the sequence up to
// which the pages so far are complete: it is the After of the next page. more says that the log has more
// already.
func (c *Client) HistoryPage(ctx context.Context, f EventFilter) (
	events []pipeline.Event, position uint64, more bool, err error,
) {
	q := f.query()
	q.Set("limit", "500")
	var p struct {
		page[pipeline.Event]
		Position uint64 `json:"position"`
	}
	err = c.get(ctx, "/v1/events", q, &p)
	return p.Data, p.Position, p.NextCursor != "", err
}
