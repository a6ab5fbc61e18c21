package catalog

import (
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// shelf is a story of eleven videos of p, the even ones ready, and one video of q. With frozen, all of them
// have the same time.
func shelf(frozen bool) story {
	s := story{frozen: frozen}
	for i := range 11 {
		id := fmt.Sprintf("vid_%02d", i)
		if i%2 == 0 {
			s.ready("p", id)
		} else {
			s.uploaded("p", id)
		}
	}
	s.uploaded("q", "vid_other")
	return s
}

// pages reads all pages and returns the ids.
func pages(t *testing.T, c *Catalog, q Query) []string {
	t.Helper()
	var ids []string
	for {
		page, err := c.Videos(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Data {
			ids = append(ids, v.ID)
		}
		if page.NextCursor == "" {
			return ids
		}
		if len(page.Data) != q.Limit {
			t.Fatalf("a page of %d that is not the last, limit %d", len(page.Data), q.Limit)
		}
		q.Cursor = page.NextCursor
	}
}

// ready1 selects one status.
var ready1 = []pipeline.VideoState{pipeline.StateVideoReady}

func TestVideosPageByPage(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		s := shelf(frozen)
		c := fresh(t, s.events...)
		var all, ready []string
		for i := range 11 {
			id := fmt.Sprintf("vid_%02d", 10-i)
			all = append(all, id)
			if i%2 == 0 {
				ready = append(ready, id)
			}
		}
		for limit := 1; limit <= 12; limit++ {
			if diff := cmp.Diff(all, pages(t, c, Query{Project: "p", Limit: limit})); diff != "" {
				t.Errorf("frozen %v, limit %d: %s", frozen, limit, diff)
			}
			got := pages(t, c, Query{Project: "p", Statuses: ready1, Limit: limit})
			if diff := cmp.Diff(ready, got); diff != "" {
				t.Errorf("frozen %v, ready, limit %d: %s", frozen, limit, diff)
			}
		}
	}
}

func TestVideosUploadedMeanwhileDoNotShiftPages(t *testing.T) {
	s := shelf(false)
	c := fresh(t, s.events...)
	first := must(c.Videos(t.Context(), Query{Project: "p", Limit: 4}))
	s.uploaded("p", "vid_new")
	s.deleted("p", "vid_07") // the one at the cursor
	apply(t, c, s.events...)
	rest := pages(t, c, Query{Project: "p", Limit: 4, Cursor: first.NextCursor})
	if len(rest) != 7 || rest[0] != "vid_06" {
		t.Errorf("got %v", rest)
	}
}

func TestVideosByTime(t *testing.T) {
	s := shelf(false)
	c := fresh(t, s.events...)
	v := must(c.Video(t.Context(), "p", "vid_04"))
	q := Query{Project: "p", CreatedAfter: v.CreatedAt, Limit: 50}
	if ids := pages(t, c, q); len(ids) != 7 || ids[6] != "vid_04" {
		t.Errorf("after: %v", ids)
	}
	q = Query{Project: "p", CreatedBefore: v.CreatedAt, Limit: 50}
	if ids := pages(t, c, q); len(ids) != 4 || ids[0] != "vid_03" {
		t.Errorf("before: %v", ids)
	}
}

func TestVideosOfNobody(t *testing.T) {
	c := fresh(t)
	page, err := c.Videos(t.Context(), Query{Project: "p"})
	if err != nil || page.Data == nil || len(page.Data) != 0 || page.NextCursor != "" {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestLimits(t *testing.T) {
	for limit, want := range map[int]int{
		-1: DefaultLimit, 0: DefaultLimit, 1: 1, MaxLimit: MaxLimit, math.MaxInt: MaxLimit,
	} {
		if got := clampLimit(limit); got != want {
			t.Errorf("limit %d gives %d, want %d", limit, got, want)
		}
	}
}

func TestCursorsOfOthersAreRefused(t *testing.T) {
	c := fresh(t)
	encode := base64.RawURLEncoding.EncodeToString
	for _, cursor := range []string{
		"x", "=", "a.x.12.vid_a", encode([]byte("12.vid_a")), encode([]byte("a.x.12.")),
		encode([]byte("a.x.y.vid_a")), encode([]byte("c.x.12.vid_a")), encode([]byte("a.x.12.vid a")),
		encode([]byte("a.x.99999999999999999999.vid_a")), encode([]byte("a.other query.12.vid_a")),
		strings.Repeat("A", 1<<16),
	} {
		if _, err := c.Videos(t.Context(), Query{Project: "p", Cursor: cursor}); !errors.Is(err, ErrCursor) {
			t.Errorf("%.40q: %v", cursor, err)
		}
	}
}

// FuzzParseCursor: an accepted cursor is one that a list returns.
func FuzzParseCursor(f *testing.F) {
	f.Add(Query{}.newPosition(true, false, 12, "vid_a").String())
	encode := base64.RawURLEncoding.EncodeToString
	for _, raw := range []string{"a.x.12.vid_a", "a.x.+12.vid_a", "a.x.012.vid_a", "a.x.-0.vid_a", "t..1.v", "ab.x.1.v"} {
		f.Add(encode([]byte(raw)))
		f.Add(encode([]byte(raw)) + "\r")
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := parseCursor(cursor)
		if err != nil {
			return
		}
		ours := Query{}.newPosition(p.back, p.inclusive, p.micros, p.id)
		ours.tag = p.tag
		if ours != p || ours.String() != cursor {
			t.Errorf("%q was taken for %+v, whose cursor is %q", cursor, p, ours)
		}
	})
}

func TestJobsKeepThePlansOrder(t *testing.T) {
	s := story{frozen: true}
	s.uploaded("p", "vid_a")
	s.job(pipeline.JobStarted, "p", "vid_a", "inspect", nil)
	s.inspected("p", "vid_a", planned("z", 1), planned("a", 1), planned("m", 1))
	s.job(pipeline.JobStarted, "p", "vid_a", "m", nil)
	s.job(pipeline.JobStarted, "p", "vid_a", "notify", nil)
	want := "inspect processing, z pending, a pending, m processing, notify processing"
	if diff := cmp.Diff(want, statuses(t, fresh(t, s.events...), "vid_a")); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyListsOfAKnownVideo(t *testing.T) {
	var s story
	s.uploaded("p", "vid_a")
	c := fresh(t, s.events...)
	jobs := must(c.Jobs(t.Context(), "p", "vid_a"))
	outputs := must(c.Outputs(t.Context(), "p", "vid_a"))
	events := must(c.Events(t.Context(), "p", "vid_a", 1, 0))
	if jobs == nil || outputs == nil || events == nil || len(jobs)+len(outputs)+len(events) != 0 {
		t.Errorf("%v %v %v", jobs, outputs, events)
	}
}

func TestEventsFromASequenceOn(t *testing.T) {
	var s story
	s.uploaded("p", "vid_b")
	s.ready("p", "vid_a")
	s.uploaded("p", "vid_c")
	c := fresh(t, s.events...)
	for _, test := range []struct {
		after uint64
		limit int
		want  []uint64
	}{
		{0, 3, []uint64{2, 3, 4}}, {4, 2, []uint64{5, 6}}, {9, 0, []uint64{10, 11}},
		{11, 5, nil}, {math.MaxUint64, 5, nil},
	} {
		var got []uint64
		for _, e := range must(c.Events(t.Context(), "p", "vid_a", test.after, test.limit)) {
			got = append(got, e.Sequence)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("after %d, limit %d: %v, want %v", test.after, test.limit, got, test.want)
		}
	}
}

func TestOutputIDsAreDerived(t *testing.T) {
	o := manifest("vid_a")
	a := outputView("vid_a", "package", o)
	if a.ID != outputView("vid_a", "package", o).ID {
		t.Error("the same output has two ids")
	}
	for _, b := range []pipeline.OutputView{
		outputView("vid_b", "package", o), outputView("vid_a", "pack", o),
	} {
		if a.ID == b.ID {
			t.Errorf("%+v has the id of another", b)
		}
	}
}

// TestQueriesUseIndexes asks SQLite for the plan of each query: none may scan a table or sort a list of
// videos. sqlPaces groups the jobs of the last minutes, which its index finds, by worker type.
func TestQueriesUseIndexes(t *testing.T) {
	c := fresh(t)
	for _, text := range slices.Concat(readerStatements, writerStatements) {
		plan := explainPlan(t, c, text)
		sorts := strings.Contains(plan, "TEMP B-TREE")
		scans := strings.Contains(plan, "SCAN ")
		switch text {
		case sqlBacklog: // it counts in an index that holds only the open videos
			scans = plan != "SCAN videos USING COVERING INDEX videos_backlog\n"
		case sqlLate: // it reads the open videos alone
			scans = plan != "SCAN videos USING INDEX videos_backlog\n"
		case sqlOldDeletions: // it reads the first ten of the primary key
			scans = plan != "SCAN deletions USING INDEX sqlite_autoindex_deletions_1\n"
		case sqlDropGrams, sqlDropVideoGrams: // = says that it looks up the rowid
			scans = !strings.Contains(plan, "SCAN video_grams VIRTUAL TABLE INDEX 0:=\n")
		}
		if scans || sorts && text != sqlJobs && text != sqlOutputs && text != sqlPaces {
			t.Errorf("%s\n%s", text, plan)
		}
	}
	if plan := explainPlan(t, c, sqlUnfinished); !strings.Contains(plan, "COVERING INDEX videos_open (id>?)") {
		t.Errorf("unfinished: %s", plan)
	}
}

// TestListsUseIndexes: a list walks an index in its own order, and so needs no sorting but that of the few
// ids of several statuses. A search for a text finds the videos by an index.
func TestListsUseIndexes(t *testing.T) {
	c := fresh(t)
	two := []pipeline.VideoState{"ready", "errored"}
	newest, byStatus := "SEARCH v USING COVERING INDEX videos_newest (project=?",
		"SEARCH v USING COVERING INDEX videos_newest_by_status (project=? AND status=?"
	byPair, byGram := "SEARCH m USING COVERING INDEX video_metadata_by_pair (project=? AND pair=?",
		"SCAN video_grams VIRTUAL TABLE INDEX 0:M"
	for name, test := range map[string]struct {
		q     Query
		first string // how the videos are found
		sorts bool
	}{
		"all":             {Query{}, newest, false},
		"ascending":       {Query{Ascending: true}, newest, false},
		"times":           {Query{CreatedAfter: time.Unix(1, 0), CreatedBefore: time.Unix(9, 0)}, newest, false},
		"status":          {Query{Statuses: ready1}, byStatus, false},
		"statuses":        {Query{Statuses: two}, byStatus, true},
		"metadata":        {Query{Metadata: map[string]string{"k": "v"}}, byPair, false},
		"more metadata":   {Query{Metadata: map[string]string{"k": "v", "l": "w"}, Statuses: two}, byPair, false},
		"text":            {Query{Text: "cat"}, byGram, true},
		"text, metadata":  {Query{Text: "cat", Metadata: map[string]string{"k": "v"}}, byGram, true},
		"short":           {Query{Text: "c"}, newest, false},
		"short, metadata": {Query{Text: "c", Metadata: map[string]string{"k": "v"}}, byPair, false},
	} {
		for _, back := range []bool{false, true} {
			for _, at := range []position{{}, test.q.newPosition(back, false, 1, "vid_a")} {
				text, _ := listSQL(test.q, at, 10)
				plan := explainPlan(t, c, text)
				rest := strings.NewReplacer("SCAN hit", "", byGram, "SEARCH").Replace(plan)
				for i := range 9 { // the halves of a union
					rest = strings.ReplaceAll(rest, fmt.Sprintf("SCAN (subquery-%d)", i), "")
				}
				if !strings.Contains(plan, test.first) || strings.Contains(rest, "SCAN ") ||
					strings.Contains(plan, "TEMP B-TREE") != test.sorts {
					t.Errorf("%s\n%s\n%s", name, text, plan)
				}
			}
		}
		w := newListWriter(test.q)
		text := `SELECT v.status, COUNT(*) FROM ` + w.from() + ` WHERE ` + w.where("") + ` GROUP BY v.status`
		if plan := explainPlan(t, c, text); strings.Contains(strings.ReplaceAll(plan, byGram, ""), "SCAN ") {
			t.Errorf("counts, %s: %s\n%s", name, text, plan)
		}
	}
}

func explainPlan(t *testing.T, c *Catalog, text string) string {
	t.Helper()
	args := make([]any, strings.Count(text, "$"))
	for i := range args {
		args[i] = 1
	}
	rows, err := c.writer.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// TestFillSearchesWithoutTables: a statement that cannot be prepared is the error of the migration.
func TestFillSearchesWithoutTables(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "old.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		"CREATE TABLE videos (id TEXT, doc TEXT)", `INSERT INTO videos VALUES ('vid_a', '{"id":"vid_a"}')`,
		"CREATE TABLE video_metadata (video TEXT, key TEXT, pair TEXT, project TEXT, created_at BIGINT)",
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := fillSearches(t.Context(), tx); err == nil || !strings.Contains(err.Error(), "video_text") {
		t.Error(err)
	}
}
