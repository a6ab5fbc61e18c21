package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

var projects = []string{"p", "q"}

// TestAnyDeliveryGivesTheSameAnswers is the contract of Apply: batches of any size, events given again, a
// file closed and opened again, two projectors in turn: the answers are those of the log applied once, and
// those of a fold that never saw a database.
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

// served is the videos and jobs that a catalog answers, by video, in JSON with the weights beside it.
func served(ctx context.Context, c *Catalog) map[string]string {
	all := map[string]string{}
	for _, p := range projects {
		for _, v := range must(c.Videos(ctx, Query{Project: p, Limit: MaxLimit})).Data {
			var weights [2]int
			row := c.reader.db.QueryRowContext(ctx,
				`SELECT planned_weight, done_weight FROM videos WHERE id = $1`, v.ID)
			if err := row.Scan(&weights[0], &weights[1]); err != nil {
				panic(err)
			}
			all[v.ID] = render(v, weights, must(c.Jobs(ctx, p, v.ID)))
		}
	}
	return all
}

func render(v pipeline.VideoView, weights [2]int, jobs []pipeline.JobView) string {
	return string(must(json.MarshalIndent([]any{v, weights, jobs}, "", " ")))
}

// foldFromScratch does in memory, one video after the other, what the catalog does in SQL.
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
			if slices.Contains(ends, e.Type) {
				for _, j := range jobs {
					j.Settle(e)
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
		all[id] = render(v, [2]int{v.PlannedWeight, v.DoneWeight}, views)
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

// drawLog draws a log of a few videos whose stories run side by side.
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

// actor draws the next event of one video from those that its state admits.
type actor struct {
	s              *story
	rt             *rapid.T
	project, video string
	uploaded, over bool
	gone, planned  bool
	jobs           []pipeline.Job
	state          map[string]pipeline.JobState
	attempt        map[string]int
}

func (a *actor) step() {
	chance := rapid.IntRange(0, 99).Draw(a.rt, "chance") // rapid favours small numbers: the common course
	switch {
	case !a.uploaded:
		a.s.uploaded(a.project, a.video)
		a.uploaded = true
		a.state, a.attempt = map[string]pipeline.JobState{"inspect": "pending"}, map[string]int{}
	case a.gone:
		a.s.job(pipeline.JobCanceled, a.project, a.video, "inspect", nil)
	case chance > 97:
		a.s.deleted(a.project, a.video)
		a.gone = true
	case chance > 94:
		a.s.tell("video.liked", "video.liked."+a.project+"."+a.video, a.video, `{"n":1}`)
	case chance > 91:
		a.s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(a.project, a.video), a.video, `{"path":`)
	case chance > 85 && !a.over:
		a.finish(pipeline.VideoStateCanceled)
	case !a.planned && a.state["inspect"] == pipeline.JobStateCompleted && !a.over:
		a.plan(chance > 70)
	default:
		a.work()
	}
}

func (a *actor) plan(reject bool) {
	a.planned = true
	if reject {
		data := pipeline.Inspected{Inspection: pipeline.Inspection{Verdict: pipeline.VerdictReject}}
		a.s.tell(pipeline.VideoInspected, pipeline.InspectedSubject(a.project, a.video), a.video, data)
		a.finish(pipeline.VideoStateRejected)
		return
	}
	for i := range rapid.IntRange(2, 6).Draw(a.rt, "jobs") {
		j := planned(fmt.Sprintf("transcode-%04d", i), i*2)
		if i > 0 && rapid.Bool().Draw(a.rt, "edge") {
			j.After = []string{a.jobs[i-1].Name}
		}
		j.Optional = i%2 == 1
		a.jobs = append(a.jobs, j)
		a.state[j.Name] = pipeline.JobPending
	}
	a.s.inspected(a.project, a.video, a.jobs...)
}

// work tells what happens next to a job that is not terminal, or that the video is done.
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
		case a.state["notify"] == "":
			a.state["notify"] = pipeline.JobPending
		}
		return
	}
	name := rapid.SampledFrom(open).Draw(a.rt, "job")
	t := pipeline.JobStarted
	if a.state[name] == pipeline.JobProcessing {
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

func (a *actor) detail(t pipeline.EventType, name string, e *pipeline.JobEvent) {
	e.Attempt = a.attempt[name]
	switch t {
	case pipeline.JobCompleted:
		facts := map[string]any{"speed": 0.1 * float64(e.Attempt), "nested": []any{nil, "<"}}
		e.Result = &pipeline.Result{Facts: facts}
		for i := range rapid.IntRange(0, 3).Draw(a.rt, "outputs") {
			o := segments(a.video, fmt.Sprintf("%s-%d", name, i), 4)
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
	warning := *pipeline.ProblemOf(pipeline.Fail(pipeline.CodeInternal, "w"))
	a.s.finished(a.project, a.video, pipeline.Finish{State: end, Warnings: []pipeline.Problem{warning}})
}
