package pipeline

import "context"

// fanOut is step 3: it enqueues the jobs of the plan whose turn it is. Enqueuing a job again has no effect:
// the task's subject admits one message, and the worker loop drops a late duplicate because its cause is
// stale.
func (c *Coordinator) fanOut(ctx context.Context, v *Video) error {
	if v.Finished.Sequence != 0 {
		return nil
	}
	for _, j := range v.turns(c.window) {
		f := v.Jobs[j.Name]
		if !f.fresh() {
			continue // its worker loop looks after a job that has begun
		}
		if err := c.Tasks.Enqueue(ctx, v.task(j, f.Last, v.unblockedBy(j))); err != nil {
			return err
		}
	}
	return nil
}

// LeastWindow is the smallest window. A window is how many jobs of one video and worker type are on their way
// to workers at a time. Tasks of a project are served by age, so a video with all its jobs enqueued at once
// would hold up the videos behind it. With a window it gives way after that many jobs. Twice the slots keep
// every worker busy while the next tasks are enqueued.
const LeastWindow = 4

// unknownWindow is the window while the number of slots is unknown.
const unknownWindow = 64

// window returns the window of a worker type.
func (c *Coordinator) window(worker string) int {
	slots := 0
	if c.Slots != nil {
		slots = c.Slots(worker)
	}
	if slots <= 0 {
		return unknownWindow
	}
	return max(LeastWindow, 2*slots)
}

// turns returns the jobs of the plan that should be on their way to a worker, in the order of the plan. These
// are the jobs that have begun and, of those that may begin, the jobs in the window and those that are High
// in the plan, which somebody waits for. The window holds the first jobs that may run and have not ended. A
// job that ends, in any way, leaves its place to the next.
//
// The result depends on the fold and the window only, not on what was enqueued. So a job may be on its way
// that no longer has a turn: the window has shrunk, or an earlier job has become runnable.
func (v *Video) turns(window func(worker string) int) []Job {
	var turns []Job
	left := map[string]int{} // places in the window, by worker type
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if f.State.Terminal() || f.fresh() && !v.runnable(j) {
			continue
		}
		if j.priority() != High {
			if _, known := left[j.Worker]; !known {
				left[j.Worker] = window(j.Worker)
			}
			if left[j.Worker]--; left[j.Worker] < 0 && f.fresh() {
				continue
			}
		}
		turns = append(turns, j)
	}
	return turns
}

// fresh reports whether the coordinator must enqueue the job: it has not begun in this generation.
func (f JobFold) fresh() bool { return f.Last.Sequence == 0 || f.Last.Type == JobRequeued }

// unblockedBy returns the event that made j runnable: the end of the last of the jobs before it, or the
// verdict.
func (v *Video) unblockedBy(j Job) Event {
	cause := v.Inspected
	for _, a := range j.After {
		if last := v.Jobs[a].Last; last.Sequence > cause.Sequence {
			cause = last
		}
	}
	return cause
}

// TasksOf returns the tasks of a video's jobs that may be in the queue, with a worker, or waiting for their
// turn. They are as they were enqueued, except that Cause is the last event of the job, and URLs in a webhook
// are paths. An unknown video has none.
func TasksOf(ctx context.Context, log Log, project, video string) ([]Task, error) {
	v, err := Fold(ctx, log, project, video)
	if err != nil {
		return nil, err
	}
	return v.due("")
}
