package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Paces returns how fast the jobs of each worker type were completed since a time, in all projects. A worker
// type without a completed job is missing, and jobs of videos that were deleted do not count. It reads an
// index entry for each job.
func (c *Catalog) Paces(ctx context.Context, since time.Time) (map[string]pipeline.Pace, error) {
	// A whole second without its Z comes before every time of it, whose text may have a fraction.
	rows, err := c.reader.stmt(sqlPaces).QueryContext(ctx, since.UTC().Format("2006-01-02T15:04:05"))
	if err != nil {
		return nil, fmt.Errorf("count completed jobs: %w", c.explain(err))
	}
	defer rows.Close()
	paces := map[string]pipeline.Pace{}
	for rows.Next() {
		var worker, first string
		var p pipeline.Pace
		err := rows.Scan(&worker, &p.Completed, &first)
		if err == nil {
			p.First, err = time.Parse(time.RFC3339Nano, first)
		}
		if err != nil {
			return nil, fmt.Errorf("count completed jobs: %w", c.explain(err))
		}
		paces[worker] = p
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count completed jobs: %w", c.explain(err))
	}
	return paces, nil
}
