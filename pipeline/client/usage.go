package client

import (
	"context"
	"net/url"
	"time"

	"github.com/reelmill/reelmill/pipeline/quota"
)

// Usage returns what the project uses now, what it did from from until before to, and how it stands with its
// quotas. The zero from is the start of this month (UTC), and the zero to is now.
func (c *Client) Usage(ctx context.Context, from, to time.Time) (quota.Report, error) {
	q := url.Values{}
	if !from.IsZero() {
		q.Set("from", from.UTC().Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		q.Set("to", to.UTC().Format(time.RFC3339Nano))
	}
	var r quota.Report
	err := c.get(ctx, "/v1/usage", q, &r)
	return r, err
}
