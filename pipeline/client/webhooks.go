package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline/webhooks"
)

const endpointsPath = "/v1/webhook_endpoints"

func endpointPath(id string, more ...string) string {
	path := endpointsPath + "/" + url.PathEscape(id)
	for _, part := range more {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// NewEndpoint asks for a webhook endpoint. Events, and one of URL, Email and Subject, are required.
type NewEndpoint struct {
	Kind        webhooks.Kind     `json:"kind,omitempty"` // webhooks.Web when empty
	URL         string            `json:"url,omitempty"`
	Email       string            `json:"email,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	Events      []string          `json:"events"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// CreateEndpoint sets up a webhook endpoint and returns it, with its secret.
func (c *Client) CreateEndpoint(ctx context.Context, e NewEndpoint) (webhooks.EndpointView, error) {
	var v webhooks.EndpointView
	err := c.doWith(ctx, http.MethodPost, endpointsPath, e, &v)
	return v, err
}

// Endpoints returns all webhook endpoints, the oldest first.
func (c *Client) Endpoints(ctx context.Context) ([]webhooks.EndpointView, error) {
	var l page[webhooks.EndpointView]
	err := c.get(ctx, endpointsPath, nil, &l)
	return l.Data, err
}

// Endpoint returns a webhook endpoint.
func (c *Client) Endpoint(ctx context.Context, id string) (webhooks.EndpointView, error) {
	var v webhooks.EndpointView
	err := c.get(ctx, endpointPath(id), nil, &v)
	return v, err
}

// EndpointChange is a change of a webhook endpoint. What is nil stays.
type EndpointChange struct {
	URL         *string            `json:"url,omitempty"`
	Email       *string            `json:"email,omitempty"`
	Subject     *string            `json:"subject,omitempty"`
	Events      []string           `json:"events,omitempty"`
	Description *string            `json:"description,omitempty"`
	Enabled     *bool              `json:"enabled,omitempty"`
	Metadata    map[string]*string `json:"metadata,omitempty"` // by key; nil removes the key
}

// ChangeEndpoint changes a webhook endpoint and returns it.
func (c *Client) ChangeEndpoint(
	ctx context.Context, id string, change EndpointChange,
) (webhooks.EndpointView, error) {
	var v webhooks.EndpointView
	err := c.doWith(ctx, http.MethodPatch, endpointPath(id), change, &v)
	return v, err
}

// DeleteEndpoint deletes a webhook endpoint. A missing one is pipeline.ErrNotFound.
func (c *Client) DeleteEndpoint(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, endpointPath(id), nil, nil)
}

// RotateSecret gives a webhook endpoint a new secret, and returns the endpoint with it. The old one signs
// too during overlap.
func (c *Client) RotateSecret(
	ctx context.Context, id string, overlap time.Duration,
) (webhooks.EndpointView, error) {
	var v webhooks.EndpointView
	body := map[string]string{"overlap": overlap.String()}
	err := c.doWith(ctx, http.MethodPost, endpointPath(id, "rotate_secret"), body, &v)
	return v, err
}

// TestEndpoint sends a made-up event of a type to a webhook endpoint, and returns what came of it. An empty
// type is webhooks.TypeTest.
func (c *Client) TestEndpoint(ctx context.Context, id, kind string) (webhooks.DeliveryRecord, error) {
	var r webhooks.DeliveryRecord
	body := map[string]string{}
	if kind != "" {
		body["type"] = kind
	}
	err := c.doWith(ctx, http.MethodPost, endpointPath(id, "test"), body, &r)
	return r, err
}

// DeliveryOptions select deliveries. Zero values select all, from the first page.
type DeliveryOptions struct {
	Status        []webhooks.Status
	Types         []string // of events
	After, Before time.Time
	Limit         int
	Cursor        string
}

// Deliveries returns a page of the deliveries to an endpoint, those that changed last first, and the cursor
// of the next page.
func (c *Client) Deliveries(
	ctx context.Context, id string, o DeliveryOptions,
) ([]webhooks.DeliveryRecord, string, error) {
	q := url.Values{}
	var status []string
	for _, s := range o.Status {
		status = append(status, string(s))
	}
	for name, value := range map[string]string{
		"status": strings.Join(status, ","), "types": strings.Join(o.Types, ","), "cursor": o.Cursor,
		"after": moment(o.After), "before": moment(o.Before),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	var l page[webhooks.DeliveryRecord]
	err := c.get(ctx, endpointPath(id, "deliveries"), q, &l)
	return l.Data, l.NextCursor, err
}

// moment formats a time; the zero time is "".
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Redeliver sends a delivery again, and returns it.
func (c *Client) Redeliver(ctx context.Context, id, delivery string) (webhooks.DeliveryRecord, error) {
	var r webhooks.DeliveryRecord
	err := c.do(ctx, http.MethodPost, endpointPath(id, "deliveries", delivery, "redeliver"), nil, &r)
	return r, err
}

// RedeliverAll sends the deliveries that o selects again; without a Status, those that failed or were
// canceled. It returns how many. With dryRun it only counts. o.After is required.
func (c *Client) RedeliverAll(ctx context.Context, id string, o DeliveryOptions, dryRun bool) (int, error) {
	body := struct {
		After  time.Time         `json:"after"`
		Before time.Time         `json:"before,omitzero"`
		Status []webhooks.Status `json:"status,omitempty"`
		Types  []string          `json:"types,omitempty"`
		DryRun bool              `json:"dry_run,omitempty"`
	}{o.After, o.Before, o.Status, o.Types, dryRun}
	var answer struct {
		Count int `json:"count"`
	}
	err := c.doWith(ctx, http.MethodPost, endpointPath(id, "redeliver"), body, &answer)
	return answer.Count, err
}
