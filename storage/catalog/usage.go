package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Usage returns what a project uses: what it has now, and what it did from from until before to.
func (c *Catalog) Usage(ctx context.Context, project string, from, to time.Time) (pipeline.Usage, error) {
	u, err := c.usage(ctx, project, from, to, maxSequence)
	if err == nil {
		err = c.reader.stmt(sqlStored).QueryRowContext(ctx, project).
			Scan(&u.Videos, &u.StoredMS, &u.SourceBytes, &u.OutputBytes)
	}
	if err != nil {
		return pipeline.Usage{}, fmt.Errorf("read usage: %w", c.explain(err))
	}
	return u, nil
}

// UsageUntil is Usage as of a sequence: no event after it counts, except that what was deleted or has ended
// since is no longer stored. It fills StoredMS and the range of time alone. The catalog must have applied
// that sequence (WaitFor).
func (c *Catalog) UsageUntil(ctx context.Context, project string, from, to time.Time, sequence uint64) (
	pipeline.Usage, error,
) {
	u, err := c.usage(ctx, project, from, to, sequence)
	if err == nil {
		err = c.reader.stmt(sqlStoredUntil).QueryRowContext(ctx, project, int64(sequence)).Scan(&u.StoredMS)
	}
	if err != nil {
		return pipeline.Usage{}, fmt.Errorf("read usage until event %d: %w", sequence, c.explain(err))
	}
	return u, nil
}

func (c *Catalog) usage(ctx context.Context, project string, from, to time.Time, sequence uint64) (
	u pipeline.Usage, err error,
) {
	rows, err := c.reader.stmt(sqlUsage).
		QueryContext(ctx, project, from.UnixMicro(), to.UnixMicro(), int64(sequence))
	if err != nil {
		return u, err
	}
	defer rows.Close()
	for rows.Next() {
		var metric pipeline.Metric
		var count int
		var sum float64
		if err := rows.Scan(&metric, &count, &sum); err != nil {
			return u, err
		}
		switch metric {
		case pipeline.MetricUploaded:
			u.Uploads, u.UploadedBytes = count, u.UploadedBytes+int64(sum)
		case pipeline.MetricFetched:
			u.UploadedBytes += int64(sum)
		case pipeline.MetricEncoded:
			u.EncodedMS = int64(sum)
		}
	}
	return u, rows.Err()
}
