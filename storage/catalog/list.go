package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
)

// Query selects videos. The zero value of a field other than Project selects all.
type Query struct {
	Project  string
	Statuses []pipeline.VideoState // any of these
	Metadata map[string]string     // all of these keys, with these values
	// Text is one or more words. A video fits when its title, file name and passthrough contain all of them,
	// anywhere and in any order, whether in upper or lower case.
	Text          string
	CreatedAfter  time.Time // at this time or later, to the microsecond
	CreatedBefore time.Time // before this time
	Ascending     bool      // oldest first; otherwise newest first
	Limit         int       // of one page; DefaultLimit when 0 or less, at most MaxLimit
	Cursor        string    // a cursor of another page of the same query; empty for the first page
}

// Page is a part of a list.
type Page[T any] struct {
	Data       []T    // never nil
	NextCursor string // start of the next page; empty on the last page
	PrevCursor string // end of the page before; empty on the first page
}

// Videos returns one page of the videos that q selects, newest first, or oldest first; within one
// microsecond, by id in the same direction. Pages are positions, not snapshots: a video that existed when the
// first page was read, and fits until the last, is on exactly one page, whatever is uploaded or deleted
// meanwhile. A cursor that does not come from Videos with the same query is ErrCursor; the limit may change
// from page to page.
func (c *Catalog) Videos(ctx context.Context, q Query) (Page[pipeline.VideoView], error) {
	page := Page[pipeline.VideoView]{Data: []pipeline.VideoView{}}
	at, err := q.position()
	if err != nil {
		return page, err
	}
	limit := clampLimit(q.Limit)
	views, err := c.list(ctx, q, at, limit+1)
	if err != nil {
		return page, err
	}
	more := len(views) > limit
	views = views[:min(len(views), limit)]
	if at.back {
		slices.Reverse(views)
	}
	page.Data = views
	first, last := q.edges(views, at)
	before, behind := at.back && more, !at.back && more
	if q.Cursor != "" { // is there anything in the direction that the cursor comes from?
		other := at.turned(first, last)
		rest, err := c.list(ctx, q, other, 1)
		if err != nil {
			return page, err
		}
		if at.back {
			behind = len(rest) > 0
		} else {
			before = len(rest) > 0
		}
	}
	if behind {
		page.NextCursor = last.String()
	}
	if before {
		page.PrevCursor = first.String()
	}
	return page, nil
}

// list returns up to limit videos from a position on, in the direction of the position.
func (c *Catalog) list(ctx context.Context, q Query, at position, limit int) ([]pipeline.VideoView, error) {
	text, args := listSQL(q, at, limit)
	rows, err := c.reader.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("list videos: %w", c.explain(err))
	}
	views, err := scanDocs[pipeline.VideoView](rows)
	if err != nil {
		return nil, fmt.Errorf("list videos: %w", c.explain(err))
	}
	down := q.Ascending == at.back
	slices.SortFunc(views, func(a, b pipeline.VideoView) int {
		order := cmp.Or(cmp.Compare(a.CreatedAt.UnixMicro(), b.CreatedAt.UnixMicro()), cmp.Compare(a.ID, b.ID))
		if down {
			return -order
		}
		return order
	})
	return views, nil
}

// Counts returns how many videos q selects in each status, whatever its Statuses say. Every status has an
// entry.
func (c *Catalog) Counts(ctx context.Context, q Query) (map[pipeline.VideoState]int, error) {
	counts := map[pipeline.VideoState]int{}
	for _, s := range pipeline.VideoStates() {
		counts[s] = 0
	}
	q.Statuses = nil
	w := newListWriter(q)
	text := `SELECT v.status, COUNT(*) FROM ` + w.from() + ` WHERE ` + w.where("") + ` GROUP BY v.status`
	rows, err := c.reader.db.QueryContext(ctx, text, w.args...)
	if err != nil {
		return nil, fmt.Errorf("count videos: %w", c.explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var status string
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("count videos: %w", c.explain(err))
		}
		counts[pipeline.VideoState(status)] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count videos: %w", c.explain(err))
	}
	return counts, nil
}

func clampLimit(limit int) int {
	if limit <= 0 {
		return DefaultLimit
	}
	return min(limit, MaxLimit)
}

// listSQL writes the query of a page. Without a text, it walks an index in the order of the list, and stops
// at the limit: videos_newest, videos_newest_by_status once for each status, or video_metadata_by_pair. With
// a text, it finds the videos by video_grams, and sorts their ids. The rows come in any order.
func listSQL(q Query, at position, limit int) (text string, args []any) {
	w := newListWriter(q)
	statuses := q.Statuses
	if len(statuses) == 0 || w.driver != "" {
		statuses = []pipeline.VideoState{""} // one branch, which where filters
	}
	most := w.arg(limit)
	branches := make([]string, len(statuses))
	for i, status := range statuses {
		branches[i] = w.branch(status, at) + " LIMIT " + most
	}
	if len(branches) == 1 {
		return `SELECT v.doc FROM (` + branches[0] + `) AS hit CROSS JOIN videos v WHERE v.id = hit.id`, w.args
	}
	for i := range branches {
		branches[i] = `SELECT * FROM (` + branches[i] + `)`
	}
	return `SELECT v.doc FROM (` + strings.Join(branches, ` UNION ALL `) + ` ORDER BY created_at` + w.way(at) +
		`, id` + w.way(at) + ` LIMIT ` + most + `) AS hit CROSS JOIN videos v WHERE v.id = hit.id`, w.args
}

// listWriter writes the parts of a query.
type listWriter struct {
	q      Query
	args   []any
	driver string   // the table that finds the videos, if that is not videos
	long   []string // words that video_grams finds
	short  []string // words that are too short for it
	key    string   // of Metadata, by which video_metadata finds the videos
}

// gram is how many characters video_grams finds at least.
const gram = 3

func newListWriter(q Query) *listWriter {
	w := &listWriter{q: q}
	for _, word := range wordsOf(q.Text) {
		if utf8.RuneCountInString(word) < gram {
			w.short = append(w.short, word)
		} else {
			w.long = append(w.long, word)
		}
	}
	switch {
	case len(w.long) > 0:
		w.driver = "video_grams"
	case len(q.Metadata) > 0:
		w.driver, w.key = "video_metadata", slices.Min(slices.Collect(maps.Keys(q.Metadata)))
	}
	return w
}

func (w *listWriter) arg(v any) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args))
}

// way returns the direction of ORDER BY.
func (w *listWriter) way(at position) string {
	if w.q.Ascending == at.back {
		return " DESC"
	}
	return ""
}

// from returns the tables, the one that finds the videos first: SQLite keeps the order of a CROSS JOIN.
func (w *listWriter) from() string {
	tables := "videos v"
	if len(w.short) > 0 {
		tables += " CROSS JOIN video_text t"
	}
	switch w.driver {
	case "video_grams":
		return "video_grams CROSS JOIN video_text t CROSS JOIN videos v"
	case "video_metadata":
		return "video_metadata m CROSS JOIN " + tables
	}
	return tables
}

// order returns the columns by which the index in use is sorted.
func (w *listWriter) order() (createdAt, id string) {
	if w.driver == "video_metadata" {
		return "m.created_at", "m.video"
	}
	return "v.created_at", "v.id"
}

// branch writes the query for the ids of the videos in one status, or of all that q selects.
func (w *listWriter) branch(status pipeline.VideoState, at position) string {
	createdAt, id := w.order()
	text := "SELECT v.id AS id, v.created_at AS created_at FROM " + w.from() + " WHERE " + w.where(status)
	if at.kind != 0 {
		sign := ">"
		if w.way(at) != "" {
			sign = "<"
		}
		if at.inclusive {
			sign += "="
		}
		text += " AND (" + createdAt + ", " + id + ") " + sign + " (" + w.arg(at.micros) + ", " + w.arg(at.id) + ")"
	}
	return text + " ORDER BY " + createdAt + w.way(at) + ", " + id + w.way(at)
}

// where writes the conditions.
func (w *listWriter) where(status pipeline.VideoState) string {
	createdAt, _ := w.order()
	conditions := append(w.joins(), "v.project = "+w.arg(w.q.Project))
	if status != "" {
		conditions = append(conditions, "v.status = "+w.arg(string(status)))
	} else if len(w.q.Statuses) > 0 {
		names := make([]string, len(w.q.Statuses))
		for i, s := range w.q.Statuses {
			names[i] = w.arg(string(s))
		}
		conditions = append(conditions, "v.status IN ("+strings.Join(names, ", ")+")")
	}
	if !w.q.CreatedAfter.IsZero() {
		conditions = append(conditions, createdAt+" >= "+w.arg(w.q.CreatedAfter.UnixMicro()))
	}
	if !w.q.CreatedBefore.IsZero() {
		conditions = append(conditions, createdAt+" < "+w.arg(w.q.CreatedBefore.UnixMicro()))
	}
	for _, key := range slices.Sorted(maps.Keys(w.q.Metadata)) {
		if key == w.key && w.driver == "video_metadata" {
			continue
		}
		conditions = append(conditions, "EXISTS (SELECT 1 FROM video_metadata o WHERE o.video = v.id AND o.key = "+
			w.arg(key)+" AND o.pair = "+w.arg(pairOf(key, w.q.Metadata[key]))+")")
	}
	for _, word := range w.short {
		conditions = append(conditions, `t.folded LIKE `+w.arg(likeAnywhere(word))+` ESCAPE '\'`)
	}
	return strings.Join(conditions, " AND ")
}

// joins writes the conditions that find the videos, and those that join the tables of from.
func (w *listWriter) joins() []string {
	switch w.driver {
	case "video_grams":
		return []string{"video_grams MATCH " + w.arg(phrases(w.long)), "t.id = video_grams.rowid", "v.id = t.video"}
	case "video_metadata":
		on := []string{
			"m.project = " + w.arg(w.q.Project), "m.pair = " + w.arg(pairOf(w.key, w.q.Metadata[w.key])),
			"v.id = m.video",
		}
		if len(w.short) > 0 {
			on = append(on, "t.video = v.id")
		}
		return on
	}
	if len(w.short) > 0 {
		return []string{"t.video = v.id"}
	}
	return nil
}

// phrases returns the query of FTS5 for texts that contain all words.
func phrases(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = `"` + strings.ReplaceAll(word, `"`, `""`) + `"`
	}
	return strings.Join(quoted, " AND ")
}

// likeAnywhere returns the pattern of LIKE for texts that contain word.
func likeAnywhere(word string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(word) + "%"
}

// tag returns a text that differs for different queries. A page's size is no part of a query.
func (q Query) tag() string {
	statuses := slices.Clone(q.Statuses)
	slices.Sort(statuses)
	var from, to int64
	if !q.CreatedAfter.IsZero() {
		from = q.CreatedAfter.UnixMicro()
	}
	if !q.CreatedBefore.IsZero() {
		to = q.CreatedBefore.UnixMicro()
	}
	raw, err := json.Marshal([]any{
		q.Project, slices.Compact(statuses), q.Metadata, wordsOf(q.Text), from, to, q.Ascending,
	})
	if err != nil {
		panic(err) // texts and numbers can always be encoded
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:6])
}
