package pipeline

import "context"

// inspectJob is the name of the job, and the worker type, that every video begins with.
const inspectJob = "inspect"

// inspect is step 2, first half: an uploaded video gets its inspect job.
func (c *Coordinator) inspect(ctx context.Context, v *Video) error {
	if v.Inspect.Last.Sequence != 0 {
		return nil // enqueued once; what it needs next comes from its worker loop
	}
	return c.Tasks.Enqueue(ctx, v.task(Job{
		Name: inspectJob, Step: inspectJob, Worker: inspectJob, Priority: High, Timeout: 120,
	}, v.Uploaded))
}

// judge is step 2, second half: the finding of the inspect job becomes the verdict and the plan, once and for all.
func (c *Coordinator) judge(ctx context.Context, v *Video) error {
	if v.Inspect.State != JobStateCompleted || v.Inspected.Sequence != 0 || v.Finished.Sequence != 0 {
		return nil
	}
	var data Inspected
	if r := v.Inspect.Data.Result; r != nil && r.Inspection != nil {
		data.Inspection = *r.Inspection
	} else {
		data.Inspection = Inspection{Verdict: VerdictReject, Reason: ProblemOf(Fail(CodeInternal, "the inspection has no finding"))}
	}
	if data.Verdict == VerdictAccept {
		plan, err := NewPlan(v.Upload.Pipeline, v.Upload.Requested, *data.Media, c.Planner)
		if err != nil {
			return c.finish(ctx, v, v.Inspect.Last, Finish{State: VideoStateErrored, Problem: ProblemOf(err)})
		}
		data.Plan = plan
	}
	e, err := c.append(ctx, v, VideoInspected, InspectedSubject(v.Project, v.ID), v.Inspect.Last, data, 0)
	if err != nil {
		return err
	}
	v.Inspected, v.Plan, v.Verdict = e, data.Plan, data.Inspection
	for _, j := range v.Plan {
		v.Jobs[j.Name] = JobFold{State: JobPending}
	}
	return nil
}
