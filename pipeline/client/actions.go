package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/pipeline/why"
)

// Cancel cancels a video and returns it. Canceling again is not an error. A video that has ended otherwise
// is an *Error with code state_conflict.
func (c *Client) Cancel(ctx context.Context, id string) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	err := c.do(ctx, http.MethodPost, "/v1/videos/"+url.PathEscape(id)+"/cancel", nil, &v)
	return v, err
}

// Change is a change of a video. What is nil stays.
type Change struct {
	Title       *string            `json:"title,omitempty"`    // at most 512 characters
	Metadata    map[string]*string `json:"metadata,omitempty"` // by key; nil removes the key
	Passthrough *string            `json:"passthrough,omitempty"`
	// PlaybackPolicy says who may play the video; empty: it stays.
	PlaybackPolicy pipeline.PlaybackPolicy `json:"playback_policy,omitempty"`
}

// Change changes a video and returns it. The same change again is not an error.
func (c *Client) Change(ctx context.Context, id string, change Change) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	err := c.doWith(ctx, http.MethodPatch, "/v1/videos/"+url.PathEscape(id), change, &v)
	return v, err
}

// SetHold sets a legal hold on a video, with a reason that may be empty, and returns the video. Until
// Release, nobody can delete the video or its source. It needs the scope admin.
func (c *Client) SetHold(ctx context.Context, id, reason string) (pipeline.VideoView, error) {
	return c.changeHold(ctx, id, pipeline.Held{Reason: reason})
}

// Release removes the legal hold of a video, and returns the video; without a hold it does nothing. It needs
// the scope admin.
func (c *Client) Release(ctx context.Context, id string) (pipeline.VideoView, error) {
	return c.changeHold(ctx, id, nil)
}

func (c *Client) changeHold(ctx context.Context, id string, hold any) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	err := c.doWith(ctx, http.MethodPatch, "/v1/videos/"+url.PathEscape(id), map[string]any{"hold": hold}, &v)
	return v, err
}

// Retry resumes an errored or canceled video and returns it. Retrying again is not an error. A video that
// has not ended, is ready or was rejected is an *Error with code state_conflict.
func (c *Client) Retry(ctx context.Context, id string) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	err := c.do(ctx, http.MethodPost, "/v1/videos/"+url.PathEscape(id)+"/retry", nil, &v)
	return v, err
}

// RetryJob retries an errored job and returns it; id is the ID of a pipeline.JobView. A job that has not
// errored is an *Error with code state_conflict.
func (c *Client) RetryJob(ctx context.Context, id string) (pipeline.JobView, error) {
	video, job, ok := strings.Cut(id, "/")
	if !ok || video == "" || job == "" {
		return pipeline.JobView{}, fmt.Errorf("retry job %q: its id is the video's, a slash, and its name", id)
	}
	var v pipeline.JobView
	path := "/v1/jobs/" + url.PathEscape(video) + "/" + url.PathEscape(job) + "/retry"
	err := c.do(ctx, http.MethodPost, path, nil, &v)
	return v, err
}

// Why explains what a video waits for.
func (c *Client) Why(ctx context.Context, id string) (why.Why, error) {
	var w why.Why
	err := c.get(ctx, "/v1/videos/"+url.PathEscape(id)+"/why", nil, &w)
	return w, err
}

// StatsOptions select statistics; zero values mean the last hour, in windows of a minute.
type StatsOptions struct {
	Window   time.Duration // 1 or 5 minutes
	From, To time.Time     // excluding To
}

// Stats returns the statistics, window by window. A server without statistics is pipeline.ErrNotFound.
func (c *Client) Stats(ctx context.Context, o StatsOptions) (stats.Stats, error) {
	q := url.Values{}
	if o.Window != 0 {
		q.Set("window", strconv.FormatFloat(o.Window.Minutes(), 'f', -1, 64)+"m")
	}
	if !o.From.IsZero() {
		q.Set("from", o.From.UTC().Format(time.RFC3339Nano))
	}
	if !o.To.IsZero() {
		q.Set("to", o.To.UTC().Format(time.RFC3339Nano))
	}
	var s stats.Stats
	err := c.get(ctx, "/v1/stats", q, &s)
	return s, err
}

// DeadLetter is a job that failed for good, with everything needed to see why.
type DeadLetter struct {
	ID        string            `json:"id"`
	Subject   string            `json:"subject"` // the subject of the task's message
	Video     string            `json:"video_id"`
	Job       string            `json:"job"`
	Step      string            `json:"step"`
	Worker    string            `json:"worker"` // the worker type
	Attempts  int               `json:"attempts"`
	Problem   pipeline.Problem  `json:"error"` // of the last attempt
	TraceID   string            `json:"trace_id"`
	CreatedAt time.Time         `json:"created_at"`
	Payload   json.RawMessage   `json:"payload"`       // the task; null if the message was not one
	Raw       []byte            `json:"raw,omitempty"` // the message if it was not a task
	Headers   map[string]string `json:"headers"`       // of the message
}

// DeadLetters yields the dead letters of the project, page after page. An error comes with the zero letter
// and ends it. A server without dead letters is pipeline.ErrNotFound.
func (c *Client) DeadLetters(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return pages[DeadLetter](ctx, c, "/v1/dead_letters", nil)
}

// DeadLetterPage returns at most limit dead letters of the project after a cursor, oldest first, and the
// cursor of the next page. Both cursors are empty for the first and after the last page.
func (c *Client) DeadLetterPage(ctx context.Context, limit int, cursor string) ([]DeadLetter, string, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var l page[DeadLetter]
	err := c.get(ctx, "/v1/dead_letters", q, &l)
	return l.Data, l.NextCursor, err
}

// DeadLetter returns a dead letter.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	var d DeadLetter
	err := c.get(ctx, "/v1/dead_letters/"+url.PathEscape(id), nil, &d)
	return d, err
}

// Redrive retries the job of a dead letter, discards the letter, and returns the job. If the job was
// retried since, Redrive only returns it. A letter whose message was not a task, or whose video was
// canceled or rejected, is an *Error with code state_conflict.
func (c *Client) Redrive(ctx context.Context, id string) (pipeline.JobView, error) {
	var v pipeline.JobView
	err := c.do(ctx, http.MethodPost, "/v1/dead_letters/"+url.PathEscape(id)+"/redrive", nil, &v)
	return v, err
}

// Discard deletes a dead letter. A missing one is pipeline.ErrNotFound.
func (c *Client) Discard(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/dead_letters/"+url.PathEscape(id), nil, nil)
}
