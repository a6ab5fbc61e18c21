package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// EndedVideos implements pipeline.EndedVideos.
func (c *Catalog) EndedVideos(ctx context.Context, project string, until time.Time, sources bool,
	after pipeline.EndedVideo, limit int,
) ([]pipeline.EndedVideo, error) {
	text := sqlEnded
	if sources {
		text = sqlEndedSources
	}
	rows, err := c.reader.stmt(text).
		QueryContext(ctx, project, until.UnixMicro(), after.Ended, after.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("list ended videos: %w", c.explain(err))
	}
	defer rows.Close()
	var all []pipeline.EndedVideo
	for rows.Next() {
		var v pipeline.EndedVideo
		if err := rows.Scan(&v.Ended, &v.ID); err != nil {
			return nil, fmt.Errorf("list ended videos: %w", c.explain(err))
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list ended videos: %w", c.explain(err))
	}
	return all, nil
}

// Newest returns the time of the last event that the catalog has applied; the zero time before the first.
func (c *Catalog) Newest(ctx context.Context) (time.Time, error) {
	var applied int64
	if err := c.reader.stmt(sqlAppliedAt).QueryRowContext(ctx).Scan(&applied); err != nil {
		return time.Time{}, fmt.Errorf("read the time of the last event: %w", c.explain(err))
	}
	if applied == 0 {
		return time.Time{}, nil
	}
	return time.UnixMicro(applied), nil
}

// Expiring is what the rules of retention would delete.
type Expiring struct {
	Videos  int   `json:"videos" doc:"Videos, with all that was made of them"`
	Sources int   `json:"sources" doc:"Sources alone, of videos that stay"`
	Bytes   int64 `json:"bytes" doc:"Bytes of all of these"`
}

// Expiring returns what rules would delete of a project, by the read model: videos that ended at videos or
// before, and sources of the others that ended at sources or before. A zero time: none.
func (c *Catalog) Expiring(ctx context.Context, project string, videos, sources time.Time) (Expiring, error) {
	var e Expiring
	var ofSources int64
	err := c.reader.stmt(sqlEndedSum).QueryRowContext(ctx, project, microsOrNever(videos)).
		Scan(&e.Videos, &e.Bytes)
	if err == nil {
		err = c.reader.stmt(sqlEndedSourcesSum).
			QueryRowContext(ctx, project, microsOrNever(videos), microsOrNever(sources)).Scan(&e.Sources, &ofSources)
	}
	if err != nil {
		return Expiring{}, fmt.Errorf("count ended videos: %w", c.explain(err))
	}
	e.Bytes += ofSources
	return e, nil
}

// microsOrNever returns a time for a column; before all videos for the zero time.
func microsOrNever(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}
