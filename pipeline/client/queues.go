package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Queue is the tasks of one worker type, and who runs it.
type Queue struct {
	Type        string         `json:"type"` // worker type
	Depth       int            `json:"depth"`
	InWork      int            `json:"in_work"`     // tasks that are with a process
	ByPriority  map[string]int `json:"by_priority"` // tasks that wait or are in work
	OldestAt    *time.Time     `json:"oldest_at"`   // when the oldest that waits was enqueued
	OldestAge   float64        `json:"oldest_age_seconds"`
	Workers     int            `json:"workers"` // processes that run the type
	Slots       int            `json:"slots"`   // jobs that they run at once at most
	Paused      bool           `json:"paused"`
	PauseReason string         `json:"pause_reason,omitempty"`
	PausedAt    *time.Time     `json:"paused_at"`
	// Wait is the estimated wait of a task that is enqueued now, in seconds; nil when unknown.
	Wait *float64 `json:"estimated_wait_seconds"`
}

// Queues returns the queue of each worker type that a process runs, that has tasks, or that is paused.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	var l page[Queue]
	err := c.get(ctx, "/v1/queues", nil, &l)
	return l.Data, err
}

// PauseQueue makes all processes take no further task of a worker type, until ResumeQueue, and returns the
// queue. Jobs that run go on. The reason is for people, and may be empty; pausing again changes it. A worker
// type without a queue is pipeline.ErrNotFound.
func (c *Client) PauseQueue(ctx context.Context, worker, reason string) (Queue, error) {
	var q Queue
	body := map[string]string{}
	if reason != "" {
		body["reason"] = reason
	}
	err := c.doWith(ctx, http.MethodPost, "/v1/queues/"+url.PathEscape(worker)+"/pause", body, &q)
	return q, err
}

// ResumeQueue ends a pause and returns the queue. A queue that is not paused stays as it is.
func (c *Client) ResumeQueue(ctx context.Context, worker string) (Queue, error) {
	var q Queue
	err := c.do(ctx, http.MethodPost, "/v1/queues/"+url.PathEscape(worker)+"/resume", nil, &q)
	return q, err
}
