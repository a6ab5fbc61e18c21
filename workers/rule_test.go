package workers

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fold returns a job whose last event has the sequence seq.
func fold(seq uint64, t pipeline.EventType, data pipeline.JobEvent) pipeline.JobFold {
	return pipeline.JobFold{
		Last: pipeline.Event{Sequence: seq, Type: t}, Data: data, State: pipeline.JobStateOf(t),
	}
}

// TestDecide checks every branch of the attempt rule.
func TestDecide(t *testing.T) {
	const me, other = 7, 8
	owned := pipeline.JobEvent{Owner: me}
	foreign := pipeline.JobEvent{Owner: other}
	lost := func(owner uint64, n int) pipeline.JobEvent { return pipeline.JobEvent{Owner: owner, Lost: n} }
	for name, test := range map[string]struct {
		cause uint64
		last  pipeline.JobFold
		want  action
	}{
		"first task of a job that nobody began":     {0, pipeline.JobFold{State: pipeline.StateJobPending}, run},
		"completed":                                 {0, fold(5, pipeline.JobCompleted, owned), drop},
		"completed, by another message":             {3, fold(5, pipeline.JobCompleted, foreign), drop},
		"completed, even the state it was made for": {5, fold(5, pipeline.JobCompleted, owned), drop},
		"canceled": {0, fold(5, pipeline.JobCanceled, owned), drop},
		"errored: its dead letter may be missing": {0, fold(5, pipeline.JobErrored, owned), letter},
		"errored, by another message":             {3, fold(5, pipeline.JobErrored, foreign), letter},

		"the retry it was made for":                  {5, fold(5, pipeline.JobRetrying, foreign), run},
		"started by me: my lease ran out":            {0, fold(5, pipeline.JobStarted, owned), run},
		"a retry, started by me: my lease ran out":   {3, fold(5, pipeline.JobStarted, owned), run},
		"interrupted by me: I was given back":        {0, fold(5, pipeline.JobInterrupted, owned), run},
		"retrying, by me: my ack was lost":           {0, fold(5, pipeline.JobRetrying, owned), rearm},
		"started by another: a stale duplicate":      {0, fold(5, pipeline.JobStarted, foreign), drop},
		"interrupted by another: a stale duplicate":  {0, fold(5, pipeline.JobInterrupted, foreign), drop},
		"retrying, by another: a stale duplicate":    {0, fold(5, pipeline.JobRetrying, foreign), drop},
		"an older retry than the job's":              {3, fold(5, pipeline.JobRetrying, foreign), drop},
		"a state that this job never had":            {9, pipeline.JobFold{State: pipeline.StateJobPending}, drop},
		"lost four times before, and now: none left": {0, fold(5, pipeline.JobStarted, lost(me, 4)), spend},
		"lost twice before, and now: others first":   {0, fold(5, pipeline.JobStarted, lost(me, 2)), shelve},
		"the redrive it was made for": {5, fold(5, pipeline.JobRequeued,
			pipeline.JobEvent{Attempt: 9, Generation: 1}), run},
		"requeued: a duplicate of its first life":    {0, fold(5, pipeline.JobRequeued, foreign), drop},
		"shelved, and the retry it was made for":     {5, fold(5, pipeline.JobRetrying, lost(other, 3)), run},
		"lost once before, and now: one is left":     {0, fold(5, pipeline.JobStarted, lost(me, 1)), run},
		"lost often, but a stale duplicate":          {0, fold(5, pipeline.JobStarted, lost(other, 9)), drop},
		"lost twice, then given back":                {0, fold(5, pipeline.JobInterrupted, lost(me, 2)), run},
		"none left, and the retry it was made for":   {5, fold(5, pipeline.JobRetrying, lost(other, 5)), spend},
		"lost thrice, then retrying: the ack is due": {0, fold(5, pipeline.JobRetrying, lost(me, 3)), rearm},
	} {
		if got := decide(me, test.cause, test.last, 5); got != test.want {
			t.Errorf("%s: action %d, want %d", name, got, test.want)
		}
	}
}

// TestShelfTime: a job waits twice as long after each loss, but never longer than five minutes.
func TestShelfTime(t *testing.T) {
	want := 2 * time.Second
	for lost := shelveAfter; lost < 100; lost++ {
		if got := shelfTime(lost); got != want {
			t.Errorf("lost %d times: %s, want %s", lost, got, want)
		}
		want = min(2*want, 5*time.Minute)
	}
}

func TestBegun(t *testing.T) {
	task := pipeline.Task{Job: pipeline.Job{Name: "j", Step: "s", Worker: "w"}}
	for name, test := range map[string]struct {
		last          pipeline.JobFold
		attempt, lost int
	}{
		"first":             {pipeline.JobFold{State: pipeline.StateJobPending}, 1, 0},
		"after a failure":   {fold(5, pipeline.JobRetrying, pipeline.JobEvent{Attempt: 1, Failed: 1}), 2, 0},
		"after a loss":      {fold(5, pipeline.JobStarted, pipeline.JobEvent{Attempt: 2, Lost: 1}), 3, 2},
		"after giving back": {fold(5, pipeline.JobInterrupted, pipeline.JobEvent{Attempt: 1, Lost: 1}), 2, 1},
		"after a redrive":   {fold(5, pipeline.JobRequeued, pipeline.JobEvent{Attempt: 9, Generation: 2}), 10, 0},
	} {
		got := begun(task, test.last, 7, "p")
		if got.Attempt != test.attempt || got.Lost != test.lost || got.Failed != test.last.Data.Failed ||
			got.Generation != test.last.Data.Generation || got.Problem != nil ||
			got.Owner != 7 || got.Process != "p" || got.Job != "j" || got.Step != "s" || got.Worker != "w" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for code, kept := range map[pipeline.Code]bool{
		pipeline.CodeWorkerCrashed: true, pipeline.CodeOutOfMemory: true, pipeline.CodeStorageFailed: false,
	} {
		data := pipeline.JobEvent{Attempt: 1, Problem: pipeline.ProblemOf(pipeline.Fail(code, "x"))}
		if got := begun(task, fold(5, pipeline.JobRetrying, data), 7, "p"); (got.Problem != nil) != kept {
			t.Errorf("after %s: problem %+v", code, got.Problem)
		}
	}
}

func TestNextTry(t *testing.T) {
	problem := func(c pipeline.Code) *pipeline.Problem { return pipeline.ProblemOf(pipeline.Fail(c, "x")) }
	own := pipeline.Job{Retry: []pipeline.Seconds{1, 100}}
	for name, test := range map[string]struct {
		job    pipeline.Job
		code   pipeline.Code
		failed int
		delay  time.Duration // 0: no further attempt
	}{
		"first failure":            {pipeline.Job{}, pipeline.CodeStorageFailed, 1, 2 * time.Second},
		"fourth failure":           {pipeline.Job{}, pipeline.CodeStorageFailed, 4, 5 * time.Minute},
		"fifth failure":            {pipeline.Job{}, pipeline.CodeStorageFailed, 5, 0},
		"the job's own delays":     {own, pipeline.CodeInternal, 2, 100 * time.Second},
		"the job's own end":        {own, pipeline.CodeInternal, 3, 0},
		"a full disk":              {own, pipeline.CodeDiskFull, 1, time.Second},
		"the input's fault":        {own, pipeline.CodeMalformed, 1, 0},
		"a bug":                    {own, pipeline.CodeEncodeFailed, 1, 0},
		"out of memory":            {own, pipeline.CodeOutOfMemory, 1, time.Second},
		"out of memory later on":   {own, pipeline.CodeOutOfMemory, 2, 100 * time.Second},
		"a crash of ffmpeg":        {own, pipeline.CodeEncoderCrashed, 1, time.Second},
		"a second crash of ffmpeg": {own, pipeline.CodeEncoderCrashed, 2, 0},
	} {
		var least, most time.Duration = time.Hour, 0
		for range 200 {
			delay, ok := nextTry(test.job, problem(test.code), test.failed)
			if ok != (test.delay > 0) {
				t.Fatalf("%s: another attempt: %v", name, ok)
			}
			least, most = min(least, delay), max(most, delay)
		}
		if test.delay > 0 && (least < test.delay*8/10 || most > test.delay*12/10 || most-least < test.delay/10) {
			t.Errorf("%s: delays from %s to %s, want %s give or take a fifth", name, least, most, test.delay)
		}
	}
}
