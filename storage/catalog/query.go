package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/reelmill/reelmill/pipeline"
)

// Limits of a list: the limit that 0 means, and the largest.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Video returns a video of project, or pipeline.ErrNotFound.
func (c *Catalog) Video(ctx context.Context, project, id string) (pipeline.VideoView, error) {
	var view pipeline.VideoView
	err := scanDoc(c.reader.stmt(sqlVideo).QueryRowContext(ctx, project, id), &view)
	if err != nil {
		return pipeline.VideoView{}, fmt.Errorf("video %s: %w", id, c.explain(err))
	}
	return view, nil
}

// scanDoc decodes the only document of a row. It returns pipeline.ErrNotFound if there is no row.
func scanDoc(row *sql.Row, v any) error {
	var doc string
	err := row.Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return pipeline.ErrNotFound
	}
	if err != nil {
		return explain(err)
	}
	return decode([]byte(doc), v)
}

// scanDocs decodes one document per row, and closes rows. It returns an empty list, not nil, for no rows.
func scanDocs[T any](rows *sql.Rows) ([]T, error) {
	defer rows.Close()
	list := []T{}
	for rows.Next() {
		var doc sql.RawBytes
		if err := rows.Scan(&doc); err != nil {
			return nil, explain(err)
		}
		var v T
		if err := decode(doc, &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, explain(rows.Err())
}

// Jobs returns the jobs of a video in the order of their creation; jobs of the plan in the plan's order. An
// unknown video is pipeline.ErrNotFound; a video that no worker has touched has no jobs.
func (c *Catalog) Jobs(ctx context.Context, project, video string) ([]pipeline.JobView, error) {
	return listOf[pipeline.JobView](ctx, c, "jobs", sqlJobs, project, video)
}

// Outputs returns the outputs of a video's completed jobs in the order of their completion. An unknown
// video is pipeline.ErrNotFound.
func (c *Catalog) Outputs(ctx context.Context, project, video string) ([]pipeline.OutputView, error) {
	return listOf[pipeline.OutputView](ctx, c, "outputs", sqlOutputs, project, video)
}

func listOf[T any](ctx context.Context, c *Catalog, what, text, project, video string) ([]T, error) {
	rows, err := c.reader.stmt(text).QueryContext(ctx, project, video)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", what, video, c.explain(err))
	}
	list, err := scanDocs[T](rows)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", what, video, c.explain(err))
	}
	if len(list) > 0 {
		return list, nil
	}
	_, err = c.Video(ctx, project, video)
	return list, err
}

// outputView returns the view of a job's output o. Its id depends on video, job and path alone.
func outputView(video, job string, o pipeline.Output) pipeline.OutputView {
	sum := sha256.Sum256([]byte(video + "\n" + job + "\n" + o.Path))
	return pipeline.OutputView{
		Output: o, ID: pipeline.DerivedID("out", sum), Video: video, Job: job,
		URL: pipeline.PlayURL("", video, o.Path),
	}
}

// Events returns the events of a video and its jobs above the sequence after, in the order of the log, at
// most limit of them (DefaultLimit when 0 or less, at most MaxLimit). Data is unchanged except for spaces
// between tokens. An unknown video is pipeline.ErrNotFound.
func (c *Catalog) Events(ctx context.Context, project, video string, after uint64, limit int) (
	[]pipeline.Event, error,
) {
	from := int64(min(after, math.MaxInt64))
	rows, err := c.reader.stmt(sqlEvents).QueryContext(ctx, project, video, from, clampLimit(limit))
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", video, c.explain(err))
	}
	events, err := scanEvents(rows)
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", video, c.explain(err))
	}
	if len(events) > 0 {
		return events, nil
	}
	_, err = c.Video(ctx, project, video)
	return events, err
}

func scanEvents(rows *sql.Rows) ([]pipeline.Event, error) {
	defer rows.Close()
	events := []pipeline.Event{}
	for rows.Next() {
		var sequence int64
		var doc sql.RawBytes
		if err := rows.Scan(&sequence, &doc); err != nil {
			return nil, explain(err)
		}
		var e pipeline.Event
		if err := decode(doc, &e); err != nil {
			return nil, fmt.Errorf("decode event %d: %w", sequence, err)
		}
		e.Sequence = uint64(sequence)
		events = append(events, e)
	}
	return events, explain(rows.Err())
}
