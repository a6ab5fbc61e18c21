package pipeline

import (
	"context"
	"slices"
)

// InspectStep is the first step of every video whose source is there. Its one job and the worker type of that
// job have the same name.
const InspectStep = "inspect"

// inspect is step 2, first half: a video whose source is there gets its inspect job.
func (c *Coordinator) inspect(ctx context.Context, v *Video) error {
	if _, ok := v.source(); !ok || !v.Inspect.fresh() || v.Finished.Sequence != 0 {
		return nil // its worker loop looks after a job that has begun
	}
	return c.Tasks.Enqueue(ctx, v.task(v.inspectJob(), v.Inspect.Last, v.sourced()))
}

func (v *Video) inspectJob() Job {
	return Job{Name: InspectStep, Step: InspectStep, Worker: InspectStep, Priority: High, Timeout: 120}
}

// judge is step 2, second half: it turns the finding of the inspect job into the verdict and the plan, once
// and for all.
func (c *Coordinator) judge(ctx context.Context, v *Video) error {
	if v.Inspect.State != StateJobCompleted || v.Inspected.Sequence != 0 || v.Finished.Sequence != 0 {
		return nil
	}
	data := Inspected{Inspection: v.finding(), Plan: []Job{}}
	if data.Verdict == VerdictAccept {
		plan, err := NewPlan(v.Upload.Pipeline, v.Upload.Requested, *data.Media, c.Planner)
		if err != nil {
			return c.finish(ctx, v, v.Inspect.Last, Finish{State: StateVideoErrored, Problem: ProblemOf(err)})
		}
		data.Plan = slices.Concat(data.Plan, plan)
	}
	e, err := c.append(ctx, v, VideoInspected, InspectedSubject(v.Project, v.ID), v.Inspect.Last, data, 0)
	if err != nil {
		return err
	}
	v.Inspected, v.Plan, v.Verdict = e, data.Plan, data.Inspection
	for _, j := range v.Plan {
		v.Jobs[j.Name] = JobFold{State: StateJobPending}
	}
	return nil
}

// finding returns what the inspect job found. If the finding is missing, or accepts the video without any
// facts, the worker made a mistake. The video is then rejected, since nothing can be planned from it.
func (v *Video) finding() Inspection {
	r := v.Inspect.Data.Result
	switch {
	case r == nil || r.Inspection == nil:
	case r.Inspection.Verdict == VerdictReject:
		return *r.Inspection
	case r.Inspection.Verdict == VerdictAccept && r.Inspection.Media != nil:
		return *r.Inspection
	}
	return Inspection{
		Verdict: VerdictReject, Reason: ProblemOf(Fail(CodeInternal, "the inspection has no finding")),
	}
}
