package bulk_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestARunRedrivesWhatItsFilterSelects: those of another code, of a video that is gone, of a job that was
// retried since, and later ones, are not redriven. The event says why, and by whom.
func TestARunRedrivesWhatItsFilterSelects(t *testing.T) {
	r := open(t, t.TempDir())
	ctx := pipelinetest.Context(t)
	for _, v := range []string{"vid_a", "vid_retried", "vid_gone", "vid_canceled"} {
		r.letter(v, pipeline.CodeEncodeFailed)
	}
	r.letter("vid_other", pipeline.CodeDiskFull)
	_, err := pipeline.Redrive(ctx, r.bus, project, "vid_retried", "inspect")
	must(t, err)
	r.letter("vid_twice", pipeline.CodeEncodeFailed) // it was retried, and failed again with another code
	again, err := pipeline.Redrive(ctx, r.bus, project, "vid_twice", "inspect")
	must(t, err)
	r.fail("vid_twice", pipeline.CodeDiskFull, again.Sequence)
	_, err = pipeline.Delete(ctx, r.bus, project, "vid_gone")
	must(t, err)
	_, err = pipeline.Cancel(ctx, r.bus, project, "vid_canceled")
	must(t, err)
	filter := bulk.LetterFilter{Worker: "inspect", Code: pipeline.CodeEncodeFailed}
	planned, sample, err := r.Plan(ctx, bulk.Run{Project: project, Action: bulk.Redrive, Filter: filter})
	must(t, err)
	if planned.Total != 5 || len(sample) != 5 || len(r.left()) != 7 || len(r.requeued("vid_a")) != 0 {
		t.Fatalf("planned %+v, %d letters", planned, len(sample))
	}
	run := r.starts(bulk.Redrive, filter)
	r.letter("vid_later", pipeline.CodeEncodeFailed)
	r.runs(r.config("one"))
	run = r.until(run.ID, "the end of the run", ended)
	if got := counts(run); got != "completed: 1 of 5 done, 1 failed, 3 skipped, 0 remain" ||
		len(run.Failures) != 1 || !strings.Contains(run.Failures[0].Detail, "canceled") {
		t.Errorf("%s, %+v", got, run.Failures)
	}
	if left := r.left(); !slices.Equal(left, []string{"vid_canceled", "vid_other", "vid_twice", "vid_later"}) {
		t.Errorf("letters of %v are left", left)
	}
	events := r.requeued("vid_a")
	var data pipeline.JobEvent
	if len(events) != 1 || events[0].Decode(&data) != nil || data.Reason != "a new encoder" ||
		events[0].Actor != "key:k1" {
		t.Errorf("events %+v", events)
	}
	if once, twice := len(r.requeued("vid_retried")), len(r.requeued("vid_twice")); once != 1 || twice != 1 {
		t.Errorf("the jobs that were retried were requeued %d and %d times, want once", once, twice)
	}
}

func TestFilterSelects(t *testing.T) {
	at := time.Now()
	d := pipeline.DeadLetter{
		Task:    pipeline.Task{Video: "v", Job: pipeline.Job{Worker: "w"}},
		Problem: pipeline.Problem{Code: "c"}, Time: at,
	}
	for name, test := range map[string]struct {
		filter bulk.LetterFilter
		want   bool
	}{
		"all":           {bulk.LetterFilter{}, true},
		"each":          {bulk.LetterFilter{Worker: "w", Code: "c", Video: "v", After: at, Before: at.Add(1)}, true},
		"another type":  {bulk.LetterFilter{Worker: "x", Code: "c"}, false},
		"another code":  {bulk.LetterFilter{Worker: "w", Code: "x"}, false},
		"another video": {bulk.LetterFilter{Video: "x"}, false},
		"older":         {bulk.LetterFilter{After: at.Add(1)}, false},
		"younger":       {bulk.LetterFilter{Before: at}, false},
	} {
		if got := test.filter.Selects(d); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestARunWaitsWhileTheQueueIsLong: it redrives nothing then, says what it waits for, and can be paused,
// resumed and canceled meanwhile.
func TestARunWaitsWhileTheQueueIsLong(t *testing.T) {
	r := open(t, t.TempDir())
	ctx := pipelinetest.Context(t)
	for i := range 4 {
		r.letter(fmt.Sprint("vid_", i), pipeline.CodeEncodeFailed)
	}
	var load atomic.Int64
	c := r.config("one")
	c.MaxWaiting = 3
	c.Load = func(context.Context, string) (int, error) { return int(load.Load()), nil }
	c.Log = logFunc{r.bus, func() { load.Add(1) }} // each job that is redriven is a task that waits
	r.runs(c)
	run := r.starts(bulk.Redrive, bulk.LetterFilter{})
	waits := func(run bulk.Run) bool { return run.Waiting != "" }
	run = r.until(run.ID, "a run that waits", waits)
	if run.Done != 3 || run.Waiting != "3 or more tasks wait for inspect" || len(r.left()) != 1 {
		t.Errorf("%s, waiting: %q", counts(run), run.Waiting)
	}
	paused, err := r.Set(ctx, project, run.ID, bulk.Paused)
	must(t, err)
	if paused.Status != bulk.Paused || paused.View().Waiting != "" {
		t.Errorf("paused: %+v", paused)
	}
	r.until(run.ID, "a leader that lets go", func(run bulk.Run) bool { return run.Leader == "" })
	load.Store(0)
	run, err = r.Set(ctx, project, run.ID, bulk.Paused)
	must(t, err)
	if run.Done != 3 || len(r.left()) != 1 {
		t.Errorf("a paused run went on: %s", counts(run))
	}
	load.Store(3)
	_, err = r.Set(ctx, project, run.ID, bulk.Running)
	must(t, err)
	r.until(run.ID, "a run that waits again", waits)
	run, err = r.Set(ctx, project, run.ID, bulk.Canceled)
	must(t, err)
	load.Store(0)
	run = r.until(run.ID, "a leader that lets go", func(run bulk.Run) bool { return run.Leader == "" })
	if got := counts(run); got != "canceled: 3 of 4 done, 0 failed, 0 skipped, 1 remain" || run.EndedAt == nil {
		t.Error(got)
	}
	if _, err := r.Set(ctx, project, run.ID, bulk.Running); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("resumed a canceled run: %v", err)
	}
}

// TestAPauseDuringALetterLosesNoCount: the letter that the run acts on is finished, and counted.
func TestAPauseDuringALetterLosesNoCount(t *testing.T) {
	r := open(t, t.TempDir())
	ctx := pipelinetest.Context(t)
	for i := range 4 {
		r.letter(fmt.Sprint("vid_", i), pipeline.CodeEncodeFailed)
	}
	c, n := r.config("one"), 0
	var id string
	c.Log = logFunc{r.bus, func() {
		if n++; n == 2 {
			if _, err := r.Set(ctx, project, id, bulk.Paused); err != nil {
				t.Error(err)
			}
		}
	}}
	id = r.starts(bulk.Redrive, bulk.LetterFilter{}).ID
	r.runs(c)
	run := r.until(id, "a leader that lets go", func(run bulk.Run) bool {
		return run.Status == bulk.Paused && run.Leader == ""
	})
	if run.Done != 2 || len(r.left()) != 2 {
		t.Errorf("%s; %d letters are left", counts(run), len(r.left()))
	}
	_, err := r.Set(ctx, project, id, bulk.Running)
	must(t, err)
	run = r.until(id, "the end of the run", ended)
	if got := counts(run); got != "completed: 4 of 4 done, 0 failed, 0 skipped, 0 remain" {
		t.Error(got)
	}
}

// logFunc is a log that calls a function at each append.
type logFunc struct {
	pipeline.Log
	appended func()
}

func (l logFunc) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	seq, err := l.Log.Append(ctx, e, after)
	if err == nil {
		l.appended()
	}
	return seq, err
}

// TestAnotherServerTakesOver: of two servers, one leads. When it writes no more, the other goes on.
func TestAnotherServerTakesOver(t *testing.T) {
	r := open(t, t.TempDir())
	for i := range 20 {
		r.letter(fmt.Sprint("vid_", i), pipeline.CodeEncodeFailed)
	}
	one, two := r.config("one"), r.config("two")
	hung, release := make(chan struct{}), make(chan struct{})
	var appends atomic.Int64
	one.Log = logFunc{r.bus, func() {
		if appends.Add(1) == 5 {
			close(hung)
			<-release
		}
	}}
	two.Lease = time.Second
	stop := r.runs(one)
	run := r.starts(bulk.Redrive, bulk.LetterFilter{})
	pipelinetest.Receive(t, "the leader that hangs", hung)
	r.runs(two)
	run = r.until(run.ID, "the end of the run", ended)
	close(release)
	stop()
	if got := counts(run); got != "completed: 20 of 20 done, 0 failed, 0 skipped, 0 remain" || run.Leader != "two" {
		t.Errorf("%s, by %s", got, run.Leader)
	}
	for i := range 20 {
		if n := len(r.requeued(fmt.Sprint("vid_", i))); n != 1 {
			t.Errorf("letter %d was redriven %d times", i, n)
		}
	}
}

// TestALeaderGivesItsRunBack: a server that stops lets another one go on at once.
func TestALeaderGivesItsRunBack(t *testing.T) {
	r := open(t, t.TempDir())
	for i := range 5 {
		r.letter(fmt.Sprint("vid_", i), pipeline.CodeEncodeFailed)
	}
	one, two := r.config("one"), r.config("two")
	one.Load = func(context.Context, string) (int, error) { return 100, nil }
	two.Lease = time.Hour
	stop := r.runs(one)
	run := r.starts(bulk.Redrive, bulk.LetterFilter{})
	r.until(run.ID, "a run that waits", func(run bulk.Run) bool { return run.Waiting != "" })
	stop()
	r.runs(two)
	if run = r.until(run.ID, "the end of the run", ended); run.Done != 5 {
		t.Error(counts(run))
	}
}

// TestDiscard: nothing is retried.
func TestDiscard(t *testing.T) {
	r := open(t, t.TempDir())
	r.letter("vid_a", pipeline.CodeEncodeFailed)
	r.letter("vid_b", pipeline.CodeEncodeFailed)
	r.runs(r.config("one"))
	run := r.starts(bulk.Discard, bulk.LetterFilter{Video: "vid_b"})
	run = r.until(run.ID, "the end of the run", ended)
	if left := r.left(); run.Done != 1 || !slices.Equal(left, []string{"vid_a"}) || len(r.requeued("vid_b")) != 0 {
		t.Errorf("%s, letters of %v are left", counts(run), left)
	}
	if run := r.starts(bulk.Discard, bulk.LetterFilter{Video: "vid_x"}); run.Status != bulk.Completed {
		t.Errorf("a run of no letter is %s", run.Status)
	}
}
