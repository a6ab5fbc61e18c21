package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

// shelved is a video of the plain model that TestListsEqualAPlainModel compares the lists with.
type shelved struct {
	project, id string
	created     int64
	status      pipeline.VideoState
	label       pipeline.Label
	filename    string
	finished    bool
}

// fits is the contract of Query, in a few lines.
func (s shelved) fits(q Query) bool {
	text := strings.ToLower(strings.Join([]string{s.label.Title, s.filename, s.label.Passthrough}, "\n"))
	for _, word := range strings.Fields(strings.ToLower(q.Text)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	for key, value := range q.Metadata {
		if got, ok := s.label.Metadata[key]; !ok || got != value {
			return false
		}
	}
	return s.project == q.Project && (len(q.Statuses) == 0 || slices.Contains(q.Statuses, s.status)) &&
		(q.CreatedAfter.IsZero() || s.created >= q.CreatedAfter.UnixMicro()) &&
		(q.CreatedBefore.IsZero() || s.created < q.CreatedBefore.UnixMicro())
}

// model is a list of videos in memory.
type model map[string]shelved

// ids returns what q selects, in the order of the list.
func (m model) ids(q Query) []string {
	hits := slices.SortedFunc(maps.Values(m), func(a, b shelved) int {
		order := cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.id, b.id))
		if q.Ascending {
			return order
		}
		return -order
	})
	ids := []string{}
	for _, s := range hits {
		if s.fits(q) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// vocabulary is that of titles, file names and searches: short and long, of several scripts, and parts of
// others.
var vocabulary = []string{"cat", "Cats", "a", "at", "100%", "_", `"x"`, "mp4", "ÉTÉ", "été", "猫", "猫の動画", "dog.MP4", "AND"}

// TestListsEqualAPlainModel uploads, changes, ends and deletes videos in any order. Then it asks for any
// list, and walks it from end to end and back, while videos come and go.
func TestListsEqualAPlainModel(t *testing.T) {
	ctx, c := context.Background(), fresh(t)
	rapid.Check(t, func(rt *rapid.T) {
		if err := c.reset(ctx); err != nil {
			rt.Fatal(err)
		}
		b := &shelf2{rt: rt, c: c, s: &story{frozen: rapid.Bool().Draw(rt, "frozen")}, m: model{}, touched: map[string]bool{}}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			b.step()
		}
		b.apply(ctx)
		for range 4 {
			b.compare(ctx, b.query())
		}
	})
}

// shelf2 changes the catalog and the model in the same way.
type shelf2 struct {
	rt *rapid.T
	c  *Catalog
	s  *story
	m  model
	n  int
	// touched are the videos that a step changed: whether a walk sees them depends on when.
	touched map[string]bool
}

func (b *shelf2) apply(ctx context.Context) {
	if err := b.c.Apply(ctx, b.s.events); err != nil {
		b.rt.Fatal(err)
	}
}

func (b *shelf2) text(label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(vocabulary), 0, 3).Draw(b.rt, label), " ")
}

func (b *shelf2) label() pipeline.Label {
	return pipeline.Label{
		Title: b.text("title"), Passthrough: b.text("passthrough"),
		Metadata: rapid.MapOfN(rapid.SampledFrom([]string{"k", "l", "a[b]"}), rapid.SampledFrom([]string{"", "v", "w"}), 0, 2).
			Draw(b.rt, "metadata"),
	}
}

func (b *shelf2) step() {
	ids := slices.Sorted(maps.Keys(b.m))
	what := rapid.IntRange(0, 9).Draw(b.rt, "what")
	if len(ids) == 0 || what < 5 {
		b.upload()
		return
	}
	v := b.m[rapid.SampledFrom(ids).Draw(b.rt, "which")]
	b.touched[v.id] = true
	switch {
	case what < 7:
		v.label = b.label()
		b.s.tell(pipeline.VideoChanged, pipeline.ChangedSubject(v.project, v.id), v.id, v.label)
	case what < 9 && !v.finished:
		v.finished = true
		v.status = rapid.SampledFrom([]pipeline.VideoState{"ready", "errored"}).Draw(b.rt, "end")
		b.s.finished(v.project, v.id, pipeline.Finish{State: v.status})
	default:
		delete(b.m, v.id)
		b.s.deleted(v.project, v.id)
		return
	}
	b.m[v.id] = v
}

func (b *shelf2) upload() {
	b.n++
	v := shelved{
		project: rapid.SampledFrom(projects).Draw(b.rt, "project"), status: pipeline.StateVideoQueued,
		id: fmt.Sprintf("vid_%d%02d", rapid.IntRange(0, 9).Draw(b.rt, "id"), b.n), label: b.label(),
		filename: b.text("filename"),
	}
	e := b.s.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(v.project, v.id), v.id, pipeline.Upload{
		Source:   pipeline.Object{Filename: v.filename, Size: 1},
		Pipeline: pipeline.Default(), Title: v.label.Title, Metadata: v.label.Metadata, Passthrough: v.label.Passthrough,
	})
	v.created = e.Time.UnixMicro()
	b.m[v.id] = v
}

func (b *shelf2) query() Query {
	q := Query{
		Project: "p", Limit: rapid.IntRange(1, 6).Draw(b.rt, "limit"), Ascending: rapid.Bool().Draw(b.rt, "ascending"),
		Statuses: rapid.SliceOfNDistinct(rapid.SampledFrom(pipeline.VideoStates()), 0, 3, rapid.ID).Draw(b.rt, "statuses"),
	}
	if rapid.Bool().Draw(b.rt, "by text") {
		q.Text = b.text("q")
	}
	if rapid.Bool().Draw(b.rt, "by metadata") {
		q.Metadata = b.label().Metadata
	}
	if rapid.Bool().Draw(b.rt, "by time") {
		from := must(time.Parse(time.RFC3339Nano, epoch))
		q.CreatedAfter = from.Add(time.Duration(rapid.IntRange(-2, 20).Draw(b.rt, "after")) * time.Second)
		q.CreatedBefore = from.Add(time.Duration(rapid.IntRange(0, 60).Draw(b.rt, "before")) * time.Second)
	}
	return q
}

// compare walks a list to its end and back. Meanwhile it changes the catalog: what fits all the time must be
// on exactly one page of each walk.
func (b *shelf2) compare(ctx context.Context, q Query) {
	counts := map[pipeline.VideoState]int{}
	for _, s := range pipeline.VideoStates() {
		one := q
		one.Statuses = []pipeline.VideoState{s}
		counts[s] = len(b.m.ids(one))
	}
	if diff := gocmp.Diff(counts, must(b.c.Counts(ctx, q))); diff != "" {
		b.rt.Fatalf("counts of %+v: %s", q, diff)
	}
	want := b.m.ids(q)
	moves := rapid.Bool().Draw(b.rt, "moves")
	b.touched = map[string]bool{}
	forth, last := b.walk(ctx, q, moves, false)
	b.same(q, "forth", want, forth, moves)
	want, b.touched = b.m.ids(q), map[string]bool{}
	q.Cursor = last.PrevCursor
	back := idsOf(last)
	if q.Cursor != "" {
		more, first := b.walk(ctx, q, moves, true)
		back = append(more, back...)
		if first.PrevCursor != "" {
			b.rt.Fatalf("the first page has a page before it")
		}
	}
	b.same(q, "back", want, back, moves)
}

// walk follows cursors to the end, and returns the ids in the order of the list, and the last page.
func (b *shelf2) walk(ctx context.Context, q Query, moves, back bool) (
	[]string, Page[pipeline.VideoView],
) {
	var pages [][]string
	for {
		page := must(b.c.Videos(ctx, q))
		cursor := page.NextCursor
		if back {
			cursor = page.PrevCursor
		}
		if cursor != "" && len(page.Data) != q.Limit && len(page.Data) > 0 {
			b.rt.Fatalf("a page of %d that is not the last, limit %d", len(page.Data), q.Limit)
		}
		pages = append(pages, idsOf(page))
		if cursor == "" {
			if back {
				slices.Reverse(pages)
			}
			return slices.Concat(pages...), page
		}
		if q.Cursor = cursor; moves {
			b.step()
			b.apply(ctx)
		}
	}
}

func idsOf(p Page[pipeline.VideoView]) []string {
	ids := []string{}
	for _, v := range p.Data {
		ids = append(ids, v.ID)
	}
	return ids
}

// same checks a walk. If the catalog moved, only the videos count that fit before and after; a video that was
// changed meanwhile may or may not have been seen.
func (b *shelf2) same(q Query, way string, want, got []string, moves bool) {
	if got = append([]string{}, got...); len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
		b.rt.Fatalf("%s of %+v: twice in %v", way, q, got)
	}
	if moves {
		now, all := b.m.ids(q), want
		unsure := func(id string) bool { return b.touched[id] || !slices.Contains(now, id) || !slices.Contains(all, id) }
		want = slices.DeleteFunc(slices.Clone(want), unsure)
		got = slices.DeleteFunc(got, unsure)
	}
	if diff := gocmp.Diff(append([]string{}, want...), got); diff != "" {
		b.rt.Fatalf("%s of %+v: %s", way, q, diff)
	}
}

// TestCursorsBelongToTheirList: a cursor of another filter or order is refused, one of another limit is not.
func TestCursorsBelongToTheirList(t *testing.T) {
	s := shelf(false)
	c := fresh(t, s.events...)
	q := Query{Project: "p", Limit: 3, Metadata: map[string]string{"title": "naïve \u2028"}}
	q.Cursor = must(c.Videos(t.Context(), q)).NextCursor
	if q.Limit = 5; len(must(c.Videos(t.Context(), q)).Data) != 5 {
		t.Error("another limit")
	}
	for name, change := range map[string]func(*Query){
		"project": func(q *Query) { q.Project = "q" }, "order": func(q *Query) { q.Ascending = true },
		"status": func(q *Query) { q.Statuses = ready1 }, "metadata": func(q *Query) { q.Metadata = nil },
		"text": func(q *Query) { q.Text = "x" }, "after": func(q *Query) { q.CreatedAfter = time.Unix(1, 0) },
		"before": func(q *Query) { q.CreatedBefore = time.Unix(1, 0) },
	} {
		other := q
		change(&other)
		if _, err := c.Videos(t.Context(), other); !errors.Is(err, ErrCursor) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSearchesOfACatalogOfOld: the migration indexes the videos that are there, as a rebuild would.
func TestSearchesOfACatalogOfOld(t *testing.T) {
	s := shelf(false)
	s.tell(pipeline.VideoChanged, pipeline.ChangedSubject("p", "vid_03"), "vid_03", pipeline.Label{Title: "Été au lac"})
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path)
	apply(t, c, s.events...)
	want := dump(t.Context(), c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	migrated(t, path, func(p *goose.Provider) error {
		_, err := p.DownTo(t.Context(), 5)
		return err
	})
	damage := `INSERT INTO videos SELECT 'vid_z', project, status, created_at, planned_weight, done_weight, '{', owed,
		open, generation, owed_playable FROM videos WHERE id = 'vid_01'`
	if err := rawExec(path, damage); err != nil { // which must not stop the start
		t.Fatal(err)
	}
	c = open(t, path)
	if ids := pages(t, c, Query{Project: "p", Text: "LAC été", Limit: 5}); !slices.Equal(ids, []string{"vid_03"}) {
		t.Errorf("found %v", ids)
	}
	if err := rawExec(path, `DELETE FROM videos WHERE id = 'vid_z'`); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, dump(t.Context(), c)); diff != "" {
		t.Error(diff)
	}
}
