package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
)

// ErrRange: a StatsQuery has a range or windows that its comments do not allow.
var ErrRange = errors.New("invalid range of statistics")

// StatsQuery selects statistics.
type StatsQuery struct {
	Project string        // empty: all projects
	Window  time.Duration // of one window: whole seconds that divide an hour, such as 1m or 5m
	// From and To are the range, excluding To; both are rounded outwards to the edges of windows. From is
	// before To, with at most stats.MaxWindows windows between them.
	From, To time.Time
	// CaughtUp is a time at which the caller knows that the catalog had applied the whole log, for
	// Window.Complete; zero if it knows none. Without it, windows that end after the last applied event are
	// incomplete: on an idle server, the latest ones.
	CaughtUp time.Time
	// Objective is within which time of its upload a video should be playable. 0: there is no objective.
	Objective time.Duration
}

func (q StatsQuery) validate() error {
	switch {
	case q.Window < time.Second, q.Window%time.Second != 0, time.Hour%q.Window != 0:
		return fmt.Errorf("%w: windows of %v are not whole seconds that divide an hour", ErrRange, q.Window)
	case !q.From.Before(q.To):
		return fmt.Errorf("%w: it begins at %s and ends at %s", ErrRange,
			q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	case q.From.UTC().Year() < 1, q.To.UTC().Add(q.Window).Year() > 9999: // the years of RFC 3339
		return fmt.Errorf("%w: it is not within the years 1 to 9999", ErrRange)
	case stats.CountWindows(q.Window, q.From, q.To) > stats.MaxWindows:
		return fmt.Errorf("%w: more than %d windows", ErrRange, stats.MaxWindows)
	}
	return nil
}

// Stats computes the statistics that q selects from the samples of applied events, including those of
// deleted videos. It returns ErrRange for an invalid q. It reads each sample of the range once and keeps
// the values of metrics with quantiles: 8 bytes each.
func (c *Catalog) Stats(ctx context.Context, q StatsQuery) (stats.Stats, error) {
	if err := q.validate(); err != nil {
		return stats.Stats{}, err
	}
	s, err := c.stats(ctx, q)
	if err != nil {
		return stats.Stats{}, fmt.Errorf("statistics: %w", c.explain(err))
	}
	return s, nil
}

func (c *Catalog) stats(ctx context.Context, q StatsQuery) (stats.Stats, error) {
	// Read this before the samples: what Apply adds meanwhile is counted, but not reported as complete.
	var applied int64
	if err := c.reader.stmt(sqlAppliedAt).QueryRowContext(ctx).Scan(&applied); err != nil {
		return stats.Stats{}, err
	}
	through := time.UnixMicro(applied)
	if q.CaughtUp.After(through) {
		through = q.CaughtUp
	}
	tally := stats.NewTally(q.Window, q.From, q.To)
	from, to := tally.Range()
	text, args := sqlSamples, []any{q.Project, from.UnixMicro(), to.UnixMicro()}
	if q.Project == "" {
		text, args = sqlAllSamples, args[1:]
	}
	rows, err := c.reader.stmt(text).QueryContext(ctx, args...)
	if err != nil {
		return stats.Stats{}, err
	}
	defer rows.Close()
	words := words{}
	for rows.Next() {
		var metric, label sql.RawBytes
		var at int64
		var s pipeline.Sample
		if err := rows.Scan(&metric, &at, &label, &s.Value); err != nil {
			return stats.Stats{}, err
		}
		s.Metric, s.At, s.Label = pipeline.Metric(words.of(metric)), time.UnixMicro(at), words.of(label)
		tally.Add(s)
	}
	if err := rows.Err(); err != nil {
		return stats.Stats{}, err
	}
	s := tally.Stats(through)
	if q.Objective > 0 {
		late, err := c.Late(ctx, q.Project, time.Now().Add(-q.Objective))
		if err != nil {
			return stats.Stats{}, err
		}
		s.Objective = new(tally.Objective(q.Objective, late))
	}
	return s, nil
}

// words keeps one copy of each of the few distinct words of a result.
type words map[string]string

func (w words) of(raw []byte) string {
	word, ok := w[string(raw)]
	if !ok {
		word = string(raw)
		w[word] = word
	}
	return word
}

// Backlog returns how many videos have not ended, of project and of all. It counts in an index of just
// these videos.
func (c *Catalog) Backlog(ctx context.Context, project string) (ofProject, total int, err error) {
	err = c.reader.stmt(sqlBacklog).QueryRowContext(ctx, project).Scan(&ofProject, &total)
	if err != nil {
		return 0, 0, fmt.Errorf("count backlog: %w", c.explain(err))
	}
	return ofProject, total, nil
}

// Late returns how many videos of a project (empty: of all) were uploaded before a time, have not ended, and
// are not playable. It reads the documents of such videos that are playable, too.
func (c *Catalog) Late(ctx context.Context, project string, before time.Time) (n int, err error) {
	err = c.reader.stmt(sqlLate).QueryRowContext(ctx, project, before.UnixMicro()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count late videos: %w", c.explain(err))
	}
	return n, nil
}

// Unfinished returns videos of all projects that have not ended, or whose end is still to be announced:
// those uploaded before from or after until and with an id after the given one, by id, at most limit of
// them. It implements pipeline.Unfinished.
func (c *Catalog) Unfinished(ctx context.Context, from, until time.Time, after string, limit int) (
	[]pipeline.VideoRef, error,
) {
	rows, err := c.reader.stmt(sqlUnfinished).
		QueryContext(ctx, after, from.UnixMicro(), until.UnixMicro(), max(0, limit))
	if err != nil {
		return nil, fmt.Errorf("list unfinished videos: %w", c.explain(err))
	}
	defer rows.Close()
	var refs []pipeline.VideoRef
	for rows.Next() {
		var r pipeline.VideoRef
		if err := rows.Scan(&r.Project, &r.ID); err != nil {
			return nil, fmt.Errorf("list unfinished videos: %w", c.explain(err))
		}
		refs = append(refs, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list unfinished videos: %w", c.explain(err))
	}
	return refs, nil
}
