package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// AddOutputs runs further steps on the source of a ready video, such as a transcode step with the parameter
// ladder [240], and returns the addition; WaitForAddition waits for its end. The video stays ready and as it
// is until all outputs are there. Steps have a worker type and parameters; Optional and When do not count.
// An *Error with code video_not_ready, source_gone, rendition_exists, too_many_additions or quota_exceeded
// says why the server refuses, and one with parameters_invalid what is wrong with a step.
func (c *Client) AddOutputs(
	ctx context.Context, video string, steps ...pipeline.Step,
) (pipeline.AdditionView, error) {
	type step struct { // pipeline.Step has fields that an addition must not have
		Name    string             `json:"name,omitempty"`
		Worker  string             `json:"worker"`
		With    map[string]any     `json:"with,omitempty"`
		After   []string           `json:"after,omitempty"`
		Timeout pipeline.Seconds   `json:"timeout,omitempty"`
		Retry   []pipeline.Seconds `json:"retry,omitempty"`
	}
	body := struct {
		Steps []step `json:"steps"`
	}{Steps: []step{}}
	for _, s := range steps {
		body.Steps = append(body.Steps, step{s.Name, s.Worker, s.With, s.After, s.Timeout, s.Retry})
	}
	var a pipeline.AdditionView
	err := c.doWith(ctx, http.MethodPost, "/v1/videos/"+url.PathEscape(video)+"/outputs", body, &a)
	return a, err
}

// Additions returns what was added to a video, in the order of the requests, with those that failed.
func (c *Client) Additions(ctx context.Context, video string) ([]pipeline.AdditionView, error) {
	var l page[pipeline.AdditionView]
	err := c.get(ctx, "/v1/videos/"+url.PathEscape(video)+"/additions", nil, &l)
	return l.Data, err
}

// Addition returns an addition to a video by its number. pipeline.ErrNotFound: there is none.
func (c *Client) Addition(ctx context.Context, video string, number int) (pipeline.AdditionView, error) {
	var a pipeline.AdditionView
	err := c.get(ctx, additionPath(video, number), nil, &a)
	return a, err
}

// CancelAddition cancels an addition and returns it. Canceling again is not an error. One that has ended
// otherwise is an *Error with code state_conflict.
func (c *Client) CancelAddition(
	ctx context.Context, video string, number int,
) (pipeline.AdditionView, error) {
	var a pipeline.AdditionView
	err := c.do(ctx, http.MethodPost, additionPath(video, number)+"/cancel", nil, &a)
	return a, err
}

func additionPath(video string, number int) string {
	return "/v1/videos/" + url.PathEscape(video) + "/additions/" + strconv.Itoa(number)
}

// additionPause is how long WaitForAddition waits before it asks again.
const additionPause = time.Second

// WaitForAddition returns an addition once it has ended. see, which may be nil, is called with each state
// that it reads, about once a second.
func (c *Client) WaitForAddition(
	ctx context.Context, video string, number int, see func(pipeline.AdditionView),
) (pipeline.AdditionView, error) {
	for {
		a, err := c.Addition(ctx, video, number)
		if err != nil {
			return a, err
		}
		if see != nil {
			see(a)
		}
		if a.Status.Terminal() {
			return a, nil
		}
		if !pause.For(ctx, additionPause) {
			return a, fmt.Errorf("wait for addition %d to %s: %w", number, video, context.Cause(ctx))
		}
	}
}
