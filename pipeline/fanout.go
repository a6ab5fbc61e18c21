package pipeline

import "context"

// fanOut is step 3: every job of the plan that is pending and whose `after` jobs are completed is enqueued. A
// job that is enqueued already is enqueued once: the task's subject admits one message, and a late duplicate
// is dropped by the worker loop because its cause is stale.
func (c *Coordinator) fanOut(ctx context.Context, v *Video) error {
	if v.Finished.Sequence != 0 {
		return nil
	}
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if f.State != JobPending || !f.fresh() || !v.completed(j.After) {
			continue // what a job needs that has begun comes from its worker loop
		}
		if err := c.Tasks.Enqueue(ctx, v.task(j, f.Last, v.unblockedBy(j))); err != nil {
			return err
		}
	}
	return nil
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
