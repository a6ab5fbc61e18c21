package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/reelmill/reelmill/pipeline/bulk"
)

const runsPath = "/v1/dead_letter_runs"

// NewLetterRun asks for a run that redrives or discards many dead letters. A Filter, or All, is required; so
// is Reason, without DryRun.
type NewLetterRun struct {
	Action bulk.Action        `json:"action"`
	Filter *bulk.LetterFilter `json:"filter,omitempty"`
	All    bool               `json:"all,omitempty"`
	DryRun bool               `json:"dry_run,omitempty"` // count, and change nothing
	Reason string             `json:"reason,omitempty"`
}

// LetterRun is a run, or what it would do.
type LetterRun struct {
	bulk.View
	Sample []DeadLetter `json:"sample,omitempty"` // the first ten letters, after a dry run
}

// StartLetterRun begins a run in the background and returns it, or counts its letters with DryRun.
func (c *Client) StartLetterRun(ctx context.Context, r NewLetterRun) (LetterRun, error) {
	var v LetterRun
	err := c.doWith(ctx, http.MethodPost, runsPath, r, &v)
	return v, err
}

// LetterRuns returns the runs of the project, the newest first.
func (c *Client) LetterRuns(ctx context.Context) ([]LetterRun, error) {
	var l page[LetterRun]
	err := c.get(ctx, runsPath, nil, &l)
	return l.Data, err
}

// LetterRun returns a run. A missing one is pipeline.ErrNotFound.
func (c *Client) LetterRun(ctx context.Context, id string) (LetterRun, error) {
	var v LetterRun
	err := c.get(ctx, runsPath+"/"+url.PathEscape(id), nil, &v)
	return v, err
}

// PauseLetterRun pauses a run after the letter that it acts on, and returns it. A run that has ended is an
// *Error with code state_conflict.
func (c *Client) PauseLetterRun(ctx context.Context, id string) (LetterRun, error) {
	return c.steerRun(ctx, id, "pause")
}

// ResumeLetterRun resumes a run that is paused, and returns it.
func (c *Client) ResumeLetterRun(ctx context.Context, id string) (LetterRun, error) {
	return c.steerRun(ctx, id, "resume")
}

// CancelLetterRun cancels a run, and returns it. What it has redriven stays so.
func (c *Client) CancelLetterRun(ctx context.Context, id string) (LetterRun, error) {
	return c.steerRun(ctx, id, "cancel")
}

func (c *Client) steerRun(ctx context.Context, id, how string) (LetterRun, error) {
	var v LetterRun
	err := c.do(ctx, http.MethodPost, runsPath+"/"+url.PathEscape(id)+"/"+how, nil, &v)
	return v, err
}
