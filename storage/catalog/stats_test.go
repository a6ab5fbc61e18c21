package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
)

// incident is a story with samples of every metric.
func incident() story {
	var s story
	s.ready("p", "vid_a")
	s.uploaded("p", "vid_b")
	s.inspected("p", "vid_b", planned("transcode-0000", 1), planned("package", 1, "transcode-0000"))
	s.job(pipeline.JobStarted, "p", "vid_b", "transcode-0000", nil)
	s.job(pipeline.JobErrored, "p", "vid_b", "transcode-0000", failed)
	s.finished("p", "vid_b", pipeline.Finish{
		State: pipeline.StateVideoErrored, Notify: true, Problem: problem(pipeline.CodeEncodeFailed),
	})
	s.job(pipeline.JobStarted, "p", "vid_b", "notify", nil)
	s.reopened("p", "vid_b", "transcode-0000", 1)
	s.job(pipeline.JobStarted, "p", "vid_b", "transcode-0000", nil)
	made := segments("vid_b", "720p", 4)
	made.Duration = 12
	s.completed("p", "vid_b", "transcode-0000", made)
	s.job(pipeline.JobStarted, "p", "vid_b", "package", nil)
	s.completed("p", "vid_b", "package", manifest("vid_b"))
	s.finished("p", "vid_b", pipeline.Finish{State: pipeline.StateVideoReady, Notify: true, Generation: 1})
	s.uploaded("q", "vid_c")
	s.finished("q", "vid_c", pipeline.Finish{State: pipeline.StateVideoCanceled})
	return s
}

func problem(code pipeline.Code) *pipeline.Problem {
	return pipeline.ProblemOf(pipeline.Fail(code, "exit status 1"))
}

func failed(e *pipeline.JobEvent) { e.Problem = problem(pipeline.CodeEncodeFailed) }

func TestStats(t *testing.T) {
	s := incident()
	c := fresh(t, s.events...)
	one := func(v float64) *stats.Quantiles { return &stats.Quantiles{Count: 1, P50: v, P95: v} }
	for project, want := range map[string]stats.Window{
		"p": {
			Uploaded: 2, Ready: 2, Failed: map[string]int{"encode_failed": 1},
			FailedAttempts: map[string]int{"encode_failed": 1}, TimeToPlayable: one(8),
			TimeToReady: &stats.Quantiles{Count: 2, P50: 9, P95: 12},
			EncodeSpeed: map[string]stats.Quantiles{"transcode": *one(12)},
		},
		"q": {Uploaded: 1, Canceled: 1},
		"x": {},
	} {
		got := statsOf(t.Context(), c, project)
		if len(got.Windows) != 11 { // ten minutes that begin a microsecond after the edge
			t.Errorf("%d windows", len(got.Windows))
		}
		want.Start, want.End = got.From, got.To
		if want.Failed == nil {
			want.Failed, want.FailedAttempts = map[string]int{}, map[string]int{}
			want.EncodeSpeed = map[string]stats.Quantiles{}
		}
		if diff := cmp.Diff(want, got.Total); diff != "" {
			t.Errorf("%s: %s", project, diff)
		}
	}
	if all := statsOf(t.Context(), c, "").Total; all.Uploaded != 3 || all.Ready != 2 || all.Canceled != 1 {
		t.Errorf("all projects: %+v", all)
	}
}

func TestStatsComplete(t *testing.T) {
	s := incident()
	c := fresh(t, s.events...)
	last := s.events[len(s.events)-1].Time
	q := StatsQuery{Window: time.Second, From: last.Add(-2 * time.Second), To: last.Add(3 * time.Second)}
	count := func(q StatsQuery) (complete int) {
		for _, w := range must(c.Stats(t.Context(), q)).Windows {
			if w.Complete {
				complete++
			}
		}
		return complete
	}
	if n := count(q); n != 2 {
		t.Errorf("%d windows are complete, want those that end before the last event's", n)
	}
	q.CaughtUp = last.Add(2 * time.Second)
	if n := count(q); n != 4 {
		t.Errorf("%d windows are complete for one who has caught up", n)
	}
	if err := c.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.CaughtUp = time.Time{}
	if n := count(q); n != 0 {
		t.Errorf("%d windows are complete at the start of a rebuild", n)
	}
}

func TestStatsRefusesARange(t *testing.T) {
	c := fresh(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, q := range map[string]StatsQuery{
		"no window":        {From: at, To: at.Add(time.Hour)},
		"negative":         {Window: -time.Minute, From: at, To: at.Add(time.Hour)},
		"fraction":         {Window: 1500 * time.Millisecond, From: at, To: at.Add(time.Hour)},
		"odd":              {Window: 7 * time.Second, From: at, To: at.Add(time.Hour)},
		"too wide":         {Window: 2 * time.Hour, From: at, To: at.Add(time.Hour)},
		"empty":            {Window: time.Minute, From: at, To: at},
		"backwards":        {Window: time.Minute, From: at, To: at.Add(-time.Hour)},
		"too long":         {Window: time.Minute, From: at, To: at.Add(24*time.Hour + 1000)},
		"begins with time": {Window: time.Minute, To: at},
	} {
		if _, err := c.Stats(t.Context(), q); !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
	day := StatsQuery{Window: time.Minute, From: at, To: at.Add(24 * time.Hour)}
	if n := len(must(c.Stats(t.Context(), day)).Windows); n != stats.MaxWindows {
		t.Errorf("%d windows in a day", n)
	}
}

// TestStatsOutliveTheirVideo: deleting a video does not change the statistics.
func TestStatsOutliveTheirVideo(t *testing.T) {
	s := incident()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path)
	check := func(when string, want stats.Stats) {
		t.Helper()
		got := statsOf(t.Context(), c, "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	apply(t, c, s.events...)
	before := statsOf(t.Context(), c, "")
	s.deleted("p", "vid_b")
	apply(t, c, s.events...)
	check("deleted", before)
	s.job(pipeline.JobRetrying, "p", "vid_b", "package", failed) // from a worker that does not know yet
	apply(t, c, s.events...)
	check("a late word", before)
	s.purged("p", "vid_b")
	apply(t, c, s.events...)
	check("purged", before)
	apply(t, c, s.events[5:]...)
	check("told again", before)
	live := dump(t.Context(), c)

	var left []pipeline.Event
	for _, e := range s.events {
		if !isPurged(s.events, e) {
			left = append(left, e)
		}
	}
	for name, log := range map[string][]pipeline.Event{"the full log": s.events, "the purged log": left} {
		if err := c.reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range log {
			apply(t, c, log[max(0, i-2):i+1]...)
		}
		check("rebuilt from "+name, before)
		if diff := cmp.Diff(live, dump(t.Context(), c)); diff != "" {
			t.Errorf("rebuilt from %s: %s", name, diff)
		}
	}
}

func TestPurgeOfAnotherProject(t *testing.T) {
	s := incident()
	want := statsOf(t.Context(), fresh(t, s.events...), "p")
	s.tell(pipeline.VideoPurged, pipeline.DeletedSubject("q", "vid_a"), "vid_a", pipeline.Purged{})
	s.deleted("p", "vid_b")
	s.tell(pipeline.VideoPurged, pipeline.DeletedSubject("q", "vid_b"), "vid_b", pipeline.Purged{})
	s.tell(pipeline.VideoPurged, pipeline.DeletedSubject("p", "vid_b"), "vid_b", `{"samples":7}`)
	c := fresh(t, s.events...)
	if diff := cmp.Diff(want, statsOf(t.Context(), c, "p")); diff != "" {
		t.Error(diff)
	}
	if n := must(c.Poisoned(t.Context())); n != 1 {
		t.Errorf("%d poisoned", n)
	}
}

// TestReopen retries a video that errored, with one event per batch and with all in one.
func TestReopen(t *testing.T) {
	s := incident()
	c := fresh(t)
	want := map[int]string{ // by the number of events
		15: "errored open=true: transcode-0000 errored, package skipped",
		16: "errored open=true: transcode-0000 errored, package skipped, notify processing",
		17: "errored open=true: transcode-0000 pending, package skipped, notify processing",
		18: "processing open=true: transcode-0000 pending, package pending, notify processing",
		20: "processing open=true: transcode-0000 completed, package pending, notify processing",
		23: "ready open=true: transcode-0000 completed, package completed, notify processing",
	}
	for i := range s.events {
		apply(t, c, s.events[i])
		if w := want[i+1]; w != "" {
			v := must(c.Video(t.Context(), "p", "vid_b"))
			open := len(must(c.Unfinished(t.Context(), farFuture, farFuture, "", 9))) > 0
			got := fmt.Sprintf("%s open=%v: %s", v.Status, open, statuses(t, c, "vid_b"))
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("after %d events: %s", i+1, diff)
			}
		}
	}
	if v := must(c.Video(t.Context(), "p", "vid_b")); v.Problem != nil || v.ReadyAt == nil || v.Progress != 100 {
		t.Errorf("%+v", v)
	}
	// The webhook of the first end says nothing about the second.
	s.job(pipeline.JobErrored, "p", "vid_b", "notify", failed)
	apply(t, c, s.events...)
	if n := len(unfinished(t, c)); n != 1 {
		t.Errorf("%d videos owe", n)
	}
	s.job(pipeline.JobErrored, "p", "vid_b", "notify-1", failed)
	apply(t, c, s.events...)
	if got := unfinished(t, c); len(got) != 0 {
		t.Errorf("unfinished: %v", got)
	}
	s.job(pipeline.JobRequeued, "p", "vid_b", "notify-1", nil)
	apply(t, c, s.events...)
	if got := unfinished(t, c); len(got) != 1 {
		t.Errorf("a requeued webhook is not owed: %v", got)
	}
	all := answers(t.Context(), fresh(t, s.events...), "p", "q")
	if diff := cmp.Diff(all, answers(t.Context(), c, "p", "q")); diff != "" {
		t.Error(diff)
	}
}

func unfinished(t *testing.T, c *Catalog) []pipeline.VideoRef {
	t.Helper()
	return must(c.Unfinished(t.Context(), farFuture, farFuture, "", MaxLimit))
}

var _ pipeline.Unfinished = (*Catalog)(nil)

func TestUnfinishedAndBacklog(t *testing.T) {
	s := shelf(false) // vid_01, vid_03, ... are queued
	s.finished("p", "vid_01", pipeline.Finish{State: pipeline.StateVideoErrored, Notify: true})
	s.finished("p", "vid_03", pipeline.Finish{State: pipeline.StateVideoErrored})
	s.deleted("p", "vid_05")
	c := fresh(t, s.events...)
	p := func(id string) pipeline.VideoRef { return pipeline.VideoRef{Project: "p", ID: id} }
	all := []pipeline.VideoRef{p("vid_01"), p("vid_07"), p("vid_09"), {Project: "q", ID: "vid_other"}}
	if diff := cmp.Diff(all, unfinished(t, c)); diff != "" {
		t.Error(diff)
	}
	page := must(c.Unfinished(t.Context(), farFuture, farFuture, "vid_01", 2))
	if diff := cmp.Diff(all[1:3], page); diff != "" {
		t.Error(diff)
	}
	before := must(c.Video(t.Context(), "p", "vid_09")).CreatedAt
	if diff := cmp.Diff(all[:2], must(c.Unfinished(t.Context(), before, farFuture, "", 9))); diff != "" {
		t.Error(diff)
	}
	future := must(c.Unfinished(t.Context(), time.UnixMicro(0), before.Add(-time.Microsecond), "", 9))
	if diff := cmp.Diff(all[2:], future); diff != "" {
		t.Errorf("uploaded after a time, when the clock was set back: %s", diff)
	}
	for project, want := range map[string]int{"p": 2, "q": 1, "x": 0} { // vid_01 has ended, and only waits for its webhook
		ofProject, total, err := c.Backlog(t.Context(), project)
		if err != nil || ofProject != want || total != 3 {
			t.Errorf("backlog of %s: %d of %d, %v", project, ofProject, total, err)
		}
	}
}

// TestPlayableIsOwedAfterTheEnd: the sweeper still sees the video, and the backlog does not count it.
func TestPlayableIsOwedAfterTheEnd(t *testing.T) {
	s := shelf(false) // vid_01, vid_03, ... are queued
	s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject("p", "vid_01"), "vid_01",
		pipeline.Playable{Path: "master.m3u8", Notify: true})
	s.finished("p", "vid_01", pipeline.Finish{State: pipeline.StateVideoReady})
	c := fresh(t, s.events...)
	if open := unfinished(t, c); open[0].ID != "vid_01" {
		t.Errorf("unfinished: %v", open)
	}
	if ofProject, _, err := c.Backlog(t.Context(), "p"); err != nil || ofProject != 4 {
		t.Errorf("backlog %d, %v", ofProject, err)
	}
}

// TestLate: a video is late while it has not ended and cannot be played, and was uploaded before the time.
func TestLate(t *testing.T) {
	s := shelf(false) // vid_01, vid_03, ... are queued
	s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject("p", "vid_01"), "vid_01",
		pipeline.Playable{Path: "master.m3u8"})
	s.finished("p", "vid_03", pipeline.Finish{State: pipeline.StateVideoErrored, Notify: true})
	c := fresh(t, s.events...)
	for project, want := range map[string]int{"p": 3, "q": 1, "": 4, "x": 0} { // of p: vid_05, vid_07, vid_09
		if n := must(c.Late(t.Context(), project, farFuture)); n != want {
			t.Errorf("%q: %d are late, want %d", project, n, want)
		}
	}
	before := must(c.Video(t.Context(), "p", "vid_09")).CreatedAt
	if n := must(c.Late(t.Context(), "p", before)); n != 2 {
		t.Errorf("%d were uploaded before vid_09", n)
	}
	now := time.Now()
	stats := must(c.Stats(t.Context(), StatsQuery{
		Project: "p", Window: time.Minute, From: now.Add(-time.Minute), To: now, Objective: time.Minute,
	}))
	if o := stats.Objective; o == nil || o.Seconds != 60 || o.Late != 3 || o.Met {
		t.Errorf("%+v", o)
	}
}

// filled opens a catalog and runs an insert that counts to n in the table `n`.
func filled(b *testing.B, n int, insert string) *Catalog {
	b.Helper()
	c := must(Open(b.Context(), filepath.Join(b.TempDir(), "catalog.db")))
	b.Cleanup(func() { must(0, c.Close()) })
	count := `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1) `
	must(c.writer.db.ExecContext(context.Background(), count+insert, n))
	return c
}

// BenchmarkStats computes a day of 100,000 samples in windows of 1 minute, for one project and for all.
func BenchmarkStats(b *testing.B) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := filled(b, 100_000, fmt.Sprintf(`
		INSERT INTO samples SELECT 'vid_' || (i / 10), i, 0, 'p',
			CASE i %% 10 WHEN 0 THEN 'uploaded' WHEN 1 THEN 'ready' WHEN 2 THEN 'playable'
				WHEN 3 THEN 'attempt_failed' ELSE 'encode_speed' END,
			%d + i * 864000, CASE WHEN i %% 10 > 3 THEN 'transcode' ELSE '' END, i %% 977 FROM n`, from.UnixMicro()))
	for _, project := range []string{"p", ""} {
		b.Run("project="+project, func(b *testing.B) {
			for b.Loop() {
				s := must(c.Stats(b.Context(), StatsQuery{
					Project: project, Window: time.Minute, From: from, To: from.Add(24 * time.Hour),
				}))
				if s.Total.Uploaded != 10_000 {
					b.Fatal(s.Total)
				}
			}
		})
	}
}

// BenchmarkBacklog counts 10,000 unfinished videos among 100,000.
func BenchmarkBacklog(b *testing.B) {
	c := filled(b, 100_000, `
		INSERT INTO videos SELECT 'vid_' || i, 'p' || (i % 7), 'x', i, 0, 0, '{}', 0, i % 10 = 0, 0 FROM n`)
	for b.Loop() {
		if _, total, err := c.Backlog(b.Context(), "p3"); err != nil || total != 10_000 {
			b.Fatal(total, err)
		}
	}
}
