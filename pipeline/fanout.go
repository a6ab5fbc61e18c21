package pipeline

import "context"

// fanOut is step 3: the jobs of the plan whose turn it is are enqueued. A job that is enqueued already is
// enqueued once: the task's subject admits one message, and a late duplicate is dropped by the worker loop
// because its cause is stale.
func (c *Coordinator) fanOut(ctx context.Context, v *Video) error {
	if v.Finished.Sequence != 0 {
		return nil
	}
	for _, j := range v.turns(c.window) {
		f := v.Jobs[j.Name]
		if !f.fresh() {
			continue // what a job needs that has begun comes from its worker loop
		}
		if err := c.Tasks.Enqueue(ctx, v.task(j, f.Last, v.unblockedBy(j))); err != nil {
			return err
		}
	}
	return nil
}

// LeastWindow is the smallest window: how many jobs of one video and worker type are on their way to workers
// at a time. Tasks of a project are served by age, so a video that had all its jobs enqueued at once would
// hold up the videos behind it. With a window it gives way after as many jobs. Twice the slots keep every
// worker busy while the next tasks are enqueued.
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

// turns returns the jobs of the plan that are to be on their way to a worker, in the order of the plan: those
// that have begun, and of those that may begin the ones that are High in the plan, which somebody waits for,
// and the ones in the window. It takes the first jobs that may run and have not ended, whatever became of
// them so far; one that has ended in any way leaves its place to the next.
//
// It follows from the fold and the window alone, and not from what was enqueued. So jobs may be on their way
// that have no turn any more: the window has become smaller, or a job before them has become runnable.
func (v *Video) turns(window func(worker string) int) []Job {
	var turns []Job
	left := map[string]int{} // of the windows, by worker type
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if f.State.Terminal() || f.fresh() && !v.completed(j.After) {
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

// fresh reports whether the coordinator is to enqueue the job: it was never begun, in this generation.
func (f JobFold) fresh() bool { return f.Last.Sequence == 0 || f.Last.Type == JobRequeued }

// unblockedBy returns the event that made j runnable: the completion of the last of the jobs before it, or
// the verdict.
func (v *Video) unblockedBy(j Job) Event {
	cause := v.Inspected
	for _, a := range j.After {
		if last := v.Jobs[a].Last; last.Sequence > cause.Sequence {
			cause = last
		}
	}
	return cause
}

// TasksOf returns the tasks of the jobs of a video that may be on their way to a worker, or with one, and of
// those that wait for their turn. They are as they were enqueued, but Cause is the last event of the job, and
// the URL in a webhook is a path. There are none for an unknown video.
func TasksOf(ctx context.Context, log Log, project, video string) ([]Task, error) {
	v, err := Fold(ctx, log, project, video)
	if err != nil {
		return nil, err
	}
	return v.due("")
}
