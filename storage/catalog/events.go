package catalog

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// EventQuery selects events. The zero value of a field selects all.
type EventQuery struct {
	Project string
	Video   string
	Videos  []string // any of them
	Types   []pipeline.EventType
	After   uint64 // events above this sequence
	Limit   int    // DefaultLimit when 0 or less, at most MaxLimit
	// Access adds the events of the project and its keys. Those of a query for videos have none.
	Access bool
}

// History returns the events that q selects, in the order of the log: those of the videos that the catalog
// has, and video.deleted and video.purged of those that it has forgotten, for 90 days (deletionMemory). The
// other events of a deleted video are gone. An unknown video has no events.
func (c *Catalog) History(ctx context.Context, q EventQuery) ([]pipeline.Event, error) {
	text, args := historySQL(q)
	rows, err := c.reader.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", c.explain(err))
	}
	events, err := scanEvents(rows)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", c.explain(err))
	}
	return events, nil
}

// historySQL writes the query. Each of its parts walks an index in the order of the log, and stops at the
// limit: the primary key or deletions_by_video for one video, events_by_project for a project, and
// events_by_sequence for all. For several videos it sorts the events of these videos.
func historySQL(q EventQuery) (text string, args []any) {
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := []string{"sequence > " + arg(int64(min(q.After, math.MaxInt64)))}
	if q.Project != "" {
		where = append(where, "project = "+arg(q.Project))
	}
	if q.Video != "" {
		where = append(where, "video = "+arg(q.Video))
	}
	for _, any := range []struct {
		column string
		values []string
	}{{"video", q.Videos}, {"type", typeNames(q.Types)}} {
		if len(any.values) > 0 {
			names := make([]string, len(any.values))
			for i, v := range any.values {
				names[i] = arg(v)
			}
			where = append(where, any.column+" IN ("+strings.Join(names, ", ")+")")
		}
	}
	limit := arg(clampLimit(q.Limit))
	part := func(table string) string {
		return "SELECT * FROM (SELECT sequence, doc FROM " + table + " WHERE " + strings.Join(where, " AND ") +
			" ORDER BY sequence LIMIT " + limit + ") AS " + table + "_part"
	}
	text = part("events") + " UNION ALL " + part("deletions")
	if q.Access && q.Video == "" && len(q.Videos) == 0 {
		text += " UNION ALL " + part("access_events")
	}
	return text + " ORDER BY sequence LIMIT " + limit, args
}

func typeNames(types []pipeline.EventType) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return names
}
