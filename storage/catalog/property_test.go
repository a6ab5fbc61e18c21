package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

var projects = []string{"p", "q"}

// TestAnyDeliveryGivesTheSameAnswers tests the contract of Apply: with batches of any size, repeated
// events, a file that is closed and opened again, and two projectors in turn, the answers equal those of
// the log applied once, and those of a fold without a database.
func TestAnyDeliveryGivesTheSameAnswers(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		ctx := context.Background()
		log := drawLog(rt)
		once := must(Open(ctx, filepath.Join(dir, fmt.Sprintf("%d-once.db", n))))
		defer once.Close()
		if err := once.Apply(ctx, log); err != nil {
			rt.Fatal(err)
		}
		want := answers(ctx, once, projects...)
		if diff := cmp.Diff(foldFromScratch(log), served(ctx, once)); diff != "" {
			rt.Fatalf("not the fold of the log: %s", diff)
		}
		if diff := cmp.Diff(samplesFromScratch(log), samples(ctx, once)); diff != "" {
			rt.Fatalf("not the samples of the log: %s", diff)
		}

		path := filepath.Join(dir, fmt.Sprintf("%d-many.db", n))
		pair := []*Catalog{must(Open(ctx, path)), must(Open(ctx, path))}
		defer func() { pair[0].Close(); pair[1].Close() }()
		for at := 0; at < len(log); {
			from := max(0, at-rapid.IntRange(0, 8).Draw(rt, "again"))
			to := min(len(log), at+rapid.IntRange(1, 12).Draw(rt, "batch"))
			batch := slices.Concat(log[from:to], log[rapid.IntRange(from, to).Draw(rt, "repeat"):to])
			who := rapid.IntRange(0, 9).Draw(rt, "who")
			if who == 9 { // a restart
				if err := pair[0].Close(); err != nil {
					rt.Fatal(err)
				}
				pair[0] = must(Open(ctx, path))
			}
			if err := pair[who%2].Apply(ctx, batch); err != nil {
				rt.Fatal(err)
			}
			at = to
		}
		if diff := cmp.Diff(want, answers(ctx, pair[0], projects...)); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// TestARebuildFromAPurgedLogGivesTheSameStatistics: whichever events of purged videos were removed, the rest
// of the log gives the same statistics as the whole log.
func TestARebuildFromAPurgedLogGivesTheSameStatistics(t *testing.T) {
	ctx, c := context.Background(), fresh(t)
	rapid.Check(t, func(rt *rapid.T) {
		log := drawLog(rt)
		state := func(events []pipeline.Event) []string {
			if err := errors.Join(c.reset(ctx), c.Apply(ctx, events)); err != nil {
				rt.Fatal(err)
			}
			_, tables, _ := strings.Cut(dump(ctx, c), "\n") // without the row of projection
			var all []string
			for _, p := range append([]string{""}, projects...) {
				s := statsOf(ctx, c, p)
				for i := range s.Windows {
					s.Windows[i].Complete = false // depends on the last event, which may be purged
				}
				all = append(all, string(must(json.Marshal(s.Windows))))
			}
			return append(all, strings.Split(tables, "\n")...)
		}
		want := state(log)
		half := rapid.Bool().Draw(rt, "half purged")
		purged := slices.DeleteFunc(slices.Clone(log), func(e pipeline.Event) bool {
			return isPurged(log, e) && (!half || rapid.Bool().Draw(rt, "gone"))
		})
		if diff := cmp.Diff(want, state(purged)); diff != "" {
			rt.Fatalf("from %d of %d events: %s", len(purged), len(log), diff)
		}
	})
}

// isPurged reports whether the log may lack e: its video was purged, and e is not the event that says so.
func isPurged(log []pipeline.Event, e pipeline.Event) bool {
	return e.Type != pipeline.VideoDeleted && e.Type != pipeline.VideoPurged &&
		slices.ContainsFunc(log, func(p pipeline.Event) bool {
			return p.Type == pipeline.VideoPurged && p.CorrelationID == e.CorrelationID
		})
}

// samples returns the samples of a catalog by project and video, in order.
func samples(ctx context.Context, c *Catalog) map[string][]pipeline.Sample {
	all := map[string][]pipeline.Sample{}
	rows := must(c.reader.db.QueryContext(ctx,
		`SELECT project || '/' || video, metric, at_us, label, value FROM samples
			ORDER BY video, sequence, position`))
	for rows.Next() {
		var video string
		var at int64
		var s pipeline.Sample
		if err := rows.Scan(&video, &s.Metric, &at, &s.Label, &s.Value); err != nil {
			panic(err)
		}
		s.At = time.UnixMicro(at).UTC()
		all[video] = append(all[video], s)
	}
	if err := rows.Err(); err != nil {
		panic(err)
	}
	return all
}

// samplesFromScratch returns the samples of each video's events, as the coordinator computes them.
func samplesFromScratch(log []pipeline.Event) map[string][]pipeline.Sample {
	all := map[string][]pipeline.Sample{}
	s := story{events: log}
	for _, id := range videosOf(log) {
		history := s.of(id)
		project, _, _, err := pipeline.Address(history[0].Subject)
		all[must(project, err)+"/"+id] = must(pipeline.SamplesOf(history))
	}
	return all
}

// served returns the videos and jobs in a catalog's answers, by video, in JSON and with the fields that JSON
// omits.
func served(ctx context.Context, c *Catalog) map[string]string {
	all := map[string]string{}
	for _, p := range projects {
		for _, v := range must(c.Videos(ctx, Query{Project: p, Limit: MaxLimit})).Data {
			row := c.reader.db.QueryRowContext(ctx,
				`SELECT planned_weight, done_weight, owed, owed_playable, generation, open FROM videos WHERE id = $1`, v.ID)
			var open bool
			err := row.Scan(&v.PlannedWeight, &v.DoneWeight, &v.Owed, &v.OwedPlayable, &v.Generation, &open)
			if err != nil || open != v.Open() {
				panic(fmt.Sprintf("open %v of %+v, %v", open, v, err))
			}
			all[v.ID] = render(v, must(c.Jobs(ctx, p, v.ID)))
		}
	}
	return all
}

func render(v pipeline.VideoView, jobs []pipeline.JobView) string {
	hidden := []any{v.PlannedWeight, v.DoneWeight, v.Owed, v.OwedPlayable, v.Generation}
	return string(must(json.MarshalIndent([]any{v, hidden, jobs}, "", " ")))
}

// foldFromScratch folds in memory, one video after the other, what the catalog folds in SQL.
func foldFromScratch(log []pipeline.Event) map[string]string {
	all := map[string]string{}
	for _, id := range videosOf(log) {
		var v pipeline.VideoView
		var jobs []*pipeline.JobView
		for _, e := range log {
			if _, video, job, err := pipeline.Address(e.Subject); err != nil || video != id ||
				!slices.Contains(pipeline.EventTypes, e.Type) || v.Deleted {
				continue
			} else if job != "" {
				i := slices.IndexFunc(jobs, func(j *pipeline.JobView) bool { return j.Name == job })
				if i < 0 {
					i, jobs = len(jobs), append(jobs, &pipeline.JobView{})
				}
				must(jobs[i].Apply(e))
				v.ApplyJob(e, *jobs[i])
				continue
			}
			if v.Apply(e) != nil {
				continue
			}
			if e.Type == pipeline.VideoInspected {
				for _, j := range must(pipeline.PlannedJobs(e)) {
					jobs = append(jobs, &j)
				}
			}
			for _, j := range jobs {
				switch {
				case slices.Contains(ends, e.Type):
					j.Settle(e)
				case e.Type == pipeline.VideoReopened:
					j.Unsettle()
				}
			}
		}
		if v.Deleted {
			continue
		}
		views := []pipeline.JobView{}
		for _, j := range jobs {
			views = append(views, *j)
		}
		slices.SortStableFunc(views, func(a, b pipeline.JobView) int {
			return a.CreatedAt.Compare(b.CreatedAt)
		})
		all[id] = render(v, views)
	}
	return all
}

func videosOf(log []pipeline.Event) []string {
	var ids []string
	for _, e := range log {
		if e.Type == pipeline.VideoUploaded {
			ids = append(ids, e.CorrelationID)
		}
	}
	return ids
}

// drawLog draws a log of a few videos whose stories interleave.
func drawLog(rt *rapid.T) []pipeline.Event {
	s := &story{frozen: rapid.Bool().Draw(rt, "frozen clock")}
	var actors []*actor
	for i := range rapid.IntRange(1, 4).Draw(rt, "videos") {
		project := rapid.SampledFrom(projects).Draw(rt, "project")
		actors = append(actors, &actor{s: s, rt: rt, project: project, video: fmt.Sprintf("vid_%d", i)})
	}
	for range rapid.IntRange(25, 100).Draw(rt, "steps") {
		actors[rapid.IntRange(0, len(actors)-1).Draw(rt, "video")].step()
	}
	return s.events
}

// actor draws the next event of one video, from those that the video's state allows.
type actor struct {
	s              *story
	rt             *rapid.T
	project, video string
	uploaded, over bool
	final          bool // the end cannot be reverted
	gone, purged   bool
	planned, shown bool
	generation     int
	jobs           []pipeline.Job
	state          map[string]pipeline.JobState
	attempt        map[string]int
}

func (a *actor) step() {
	chance := rapid.IntRange(0, 99).Draw(a.rt, "chance") // rapid favours small numbers, so the common cases have them
	switch {
	case !a.uploaded:
		a.s.uploaded(a.project, a.video)
		a.uploaded = true
		a.state, a.attempt = map[string]pipeline.JobState{"inspect": "pending"}, map[string]int{}
	case a.gone && !a.purged && chance > 20:
		a.s.purged(a.project, a.video)
		a.purged = true
	case a.gone: // from a worker that does not know yet, or the coordinator
		late := []pipeline.EventType{pipeline.JobCanceled, pipeline.JobRetrying}
		t := rapid.SampledFrom(late).Draw(a.rt, "late")
		a.s.job(t, a.project, a.video, "inspect", func(e *pipeline.JobEvent) { a.detail(t, "inspect", e) })
	case chance > 97:
		a.s.deleted(a.project, a.video)
		a.gone = true
	case chance > 94:
		a.s.tell("video.liked", "video.liked."+a.project+"."+a.video, a.video, `{"n":1}`)
	case chance == 93 && !a.over:
		a.s.held(a.project, a.video)
	case chance == 93:
		rapid.SampledFrom([]func(project, video string){a.s.held, a.s.released, a.s.sourceDeleted}).
			Draw(a.rt, "kept")(a.project, a.video)
	case chance > 92:
		a.s.tell(pipeline.VideoChanged, pipeline.ChangedSubject(a.project, a.video), a.video,
			pipeline.Label{Title: fmt.Sprint("title ", chance), Metadata: map[string]string{"k": "v"}})
	case chance > 91:
		a.s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(a.project, a.video), a.video, `{"path":`)
	case chance > 88 && a.planned && !a.shown:
		a.shown = true
		a.s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(a.project, a.video), a.video,
			pipeline.Playable{Path: "master.m3u8", Notify: true})
		a.state["notify-playable"] = pipeline.StateJobPending
	case chance > 60 && a.over && a.reopen():
	case chance > 40 && !a.over && len(a.errored()) > 0: // while others wait
		a.finish(pipeline.StateVideoErrored)
	case chance > 85 && !a.over:
		a.finish(pipeline.StateVideoCanceled)
	case !a.planned && a.state["inspect"] == pipeline.StateJobCompleted && !a.over:
		a.plan(chance > 70)
	default:
		a.work()
	}
}

// reopen requeues a job that errored, if there is one and the end is not final.
func (a *actor) reopen() bool {
	errored := a.errored()
	if len(errored) == 0 || a.final {
		return false
	}
	name := rapid.SampledFrom(errored).Draw(a.rt, "requeued")
	a.state[name] = pipeline.StateJobPending
	if strings.HasPrefix(name, "notify") {
		a.s.job(pipeline.JobRequeued, a.project, a.video, name, nil)
		return true
	}
	a.generation++
	a.over = false
	a.s.reopened(a.project, a.video, name, a.generation)
	return true
}

func (a *actor) errored() []string {
	var names []string
	for name, state := range a.state {
		if state == pipeline.StateJobErrored {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (a *actor) plan(reject bool) {
	a.planned = true
	if reject {
		data := pipeline.Inspected{Inspection: pipeline.Inspection{Verdict: pipeline.VerdictReject}}
		a.s.tell(pipeline.VideoInspected, pipeline.InspectedSubject(a.project, a.video), a.video, data)
		a.finish(pipeline.StateVideoRejected)
		return
	}
	for i := range rapid.IntRange(2, 6).Draw(a.rt, "jobs") {
		j := planned(fmt.Sprintf("transcode-%04d", i), i*2)
		if i > 0 && rapid.Bool().Draw(a.rt, "edge") {
			j.After = []string{a.jobs[i-1].Name}
		}
		j.Optional = i%2 == 1
		a.jobs = append(a.jobs, j)
		a.state[j.Name] = pipeline.StateJobPending
	}
	a.s.inspected(a.project, a.video, a.jobs...)
}

// work appends the next event of a job that has not ended, or the end of the video.
func (a *actor) work() {
	var open []string
	for name, state := range a.state {
		if !state.Terminal() {
			open = append(open, name)
		}
	}
	slices.Sort(open)
	if len(open) == 0 {
		switch {
		case !a.over:
			a.finish(rapid.SampledFrom([]pipeline.VideoState{"ready", "errored"}).Draw(a.rt, "end"))
		case a.state[a.notify()] == "":
			a.state[a.notify()] = pipeline.StateJobPending
		}
		return
	}
	name := rapid.SampledFrom(open).Draw(a.rt, "job")
	t := pipeline.JobStarted
	if a.state[name] == pipeline.StateJobProcessing {
		t = rapid.SampledFrom([]pipeline.EventType{
			pipeline.JobCompleted, pipeline.JobCompleted, pipeline.JobRetrying, pipeline.JobInterrupted,
			pipeline.JobErrored, pipeline.JobCanceled,
		}).Draw(a.rt, "event")
	} else {
		a.attempt[name]++
	}
	a.state[name] = pipeline.JobStateOf(t)
	a.s.job(t, a.project, a.video, name, func(e *pipeline.JobEvent) { a.detail(t, name, e) })
}

// notify returns the name of the job that reports the current end.
func (a *actor) notify() string {
	if a.generation == 0 {
		return "notify"
	}
	return fmt.Sprintf("notify-%d", a.generation)
}

func (a *actor) detail(t pipeline.EventType, name string, e *pipeline.JobEvent) {
	e.Attempt = a.attempt[name]
	switch t {
	case pipeline.JobCompleted:
		facts := map[string]any{"speed": 0.1 * float64(e.Attempt), "nested": []any{nil, "<"}}
		e.Result = &pipeline.Result{Facts: facts}
		for i := range rapid.IntRange(0, 3).Draw(a.rt, "outputs") {
			o := segments(a.video, fmt.Sprintf("%s-%d", name, i), 4)
			o.Duration = 3.3 * float64(i)
			e.Result.Outputs = append(e.Result.Outputs, o)
		}
	case pipeline.JobRetrying, pipeline.JobErrored:
		e.Problem = pipeline.ProblemOf(pipeline.Fail(pipeline.CodeJobStalled, "no progress"))
		at := time.Date(2026, 3, 1, 13, 0, 0, 123456000, time.UTC)
		e.RetryAt = &at
	}
}

func (a *actor) finish(end pipeline.VideoState) {
	a.over = true
	a.final = end == pipeline.StateVideoCanceled || end == pipeline.StateVideoRejected
	warning := *pipeline.ProblemOf(pipeline.Fail(pipeline.CodeInternal, "w"))
	a.s.finished(a.project, a.video, pipeline.Finish{
		State: end, Warnings: []pipeline.Problem{warning}, Generation: a.generation,
		Notify: rapid.Bool().Draw(a.rt, "notify"),
	})
}
