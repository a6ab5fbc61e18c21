package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// aggregate is step 4: it appends video.playable when there is something to play, and the one end of the
// video when every job of the plan is terminal. The end waits for optional jobs too, so that its warnings are
// complete.
func (c *Coordinator) aggregate(ctx context.Context, v *Video) error {
	if v.Finished.Sequence != 0 {
		return nil
	}
	if err := c.playable(ctx, v); err != nil {
		return err
	}
	switch unfetched := v.unfetched(); {
	case unfetched != nil:
		return c.finish(ctx, v, v.Fetch.Last, Finish{State: StateVideoErrored, Problem: unfetched})
	case v.Inspect.State == StateJobErrored && v.Inspected.Sequence == 0:
		return c.finish(ctx, v, v.Inspect.Last, Finish{State: StateVideoErrored, Problem: v.Inspect.Data.Problem})
	case v.Inspected.Sequence == 0:
		return nil
	case v.Verdict.Verdict == VerdictReject:
		return c.finish(ctx, v, v.Inspected, Finish{State: StateVideoRejected, Problem: v.Verdict.Reason})
	case v.settled():
		return c.finish(ctx, v, v.lastJobEvent(), v.outcome())
	}
	return nil
}

// playable appends video.playable once the openers of the plan are completed, or a completed job has a
// manifest among its outputs.
func (c *Coordinator) playable(ctx context.Context, v *Video) error {
	if v.Playable.Sequence != 0 {
		return nil
	}
	data, cause, ok := v.opened()
	if !ok {
		data, cause, ok = v.manifest()
	}
	if !ok {
		return nil
	}
	data.Notify = v.Upload.Webhook != nil
	e, err := c.append(ctx, v, VideoPlayable, PlayableSubject(v.Project, v.ID), cause, data, 0)
	v.Playable, v.Opened = e, data
	return err
}

// ManifestPath is the path of a video's manifest while the video is still being made. A job may publish its
// manifest there, too.
const ManifestPath = "master.m3u8"

// opened reports whether every opener is completed and one of them has made a video rendition; the API then
// makes a manifest of what there is. The cause is the event of the last opener to complete.
func (v *Video) opened() (data Playable, cause Event, ok bool) {
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		switch {
		case !j.Opener:
			continue
		case f.State != StateJobCompleted:
			return Playable{}, Event{}, false
		case f.Last.Sequence > cause.Sequence:
			cause = f.Last
		}
		if _, found := f.output(KindRendition); found {
			data, ok = Playable{Path: ManifestPath, Job: j.Name}, true
		}
	}
	return data, cause, ok
}

// manifest returns the manifest that a completed job has published. Of several it returns the job's last:
// jobs write the one for players after all others.
func (v *Video) manifest() (data Playable, cause Event, ok bool) {
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if o, found := f.output(KindManifest); found && f.State == StateJobCompleted {
			return Playable{Path: o.Path, Job: j.Name}, f.Last, true
		}
	}
	return Playable{}, Event{}, false
}

// output returns the last output of a kind that the job left.
func (f JobFold) output(kind OutputKind) (Output, bool) {
	if f.Data.Result == nil {
		return Output{}, false
	}
	for _, o := range slices.Backward(f.Data.Result.Outputs) {
		if o.Kind == kind {
			return o, true
		}
	}
	return Output{}, false
}

// Playable is the data of video.playable.
type Playable struct {
	Path string `json:"path"` // of the manifest, below the video
	Job  string `json:"job"`  // the job that made the picture, or the manifest
	// Notify says that a webhook must be sent. It is absent from events of versions that sent webhooks for the
	// end only.
	Notify bool `json:"notify,omitempty"`
}

// outcome decides how a settled video ends: errored with the problem of its first required job that failed,
// or of the optional job because of which a required job was skipped; else ready. Each optional job that
// failed adds a warning, and so does a job that was completed without one that was tried again later.
func (v *Video) outcome() Finish {
	end := Finish{State: StateVideoReady}
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if f.State == StateJobCompleted {
			end.Warnings = append(end.Warnings, v.late(j)...)
			continue
		}
		problem := f.Data.Problem
		if problem == nil {
			continue // skipped or canceled: the job that caused it has the problem
		}
		if j.Optional {
			end.Warnings = append(end.Warnings, *problem)
			continue
		}
		if end.Problem == nil {
			end.State, end.Problem = StateVideoErrored, problem
		}
	}
	if end.State == StateVideoReady && !v.requiredCompleted() {
		end.State, end.Problem = StateVideoErrored, v.whySkipped()
	}
	return end
}

// late returns a warning that a completed job lacks the outputs of jobs that were completed after it. They
// had failed, and were tried again.
func (v *Video) late(j Job) []Problem {
	late := slices.DeleteFunc(slices.Clone(j.Tolerates), func(name string) bool {
		f := v.Jobs[name]
		return f.State != StateJobCompleted || f.Last.Sequence < v.Jobs[j.Name].Last.Sequence
	})
	if len(late) == 0 {
		return nil
	}
	p := ProblemOf(Fail(CodePartlyUsed, "%s lacks what %s made, since it was completed before; to have it, "+
		"upload the video again", j.Name, strings.Join(late, ", ")))
	p.Job, p.Step = j.Name, j.Step
	return []Problem{*p}
}

// whySkipped returns the problem of a settled video in which no required job failed and one was skipped: that
// of the optional job for which the required one waits.
func (v *Video) whySkipped() *Problem {
	after := map[string][]string{}
	for _, j := range v.Plan {
		after[j.Name] = j.required()
	}
	for _, j := range v.Plan {
		if j.Optional || v.Jobs[j.Name].State == StateJobCompleted {
			continue
		}
		for waiting := j.required(); len(waiting) > 0; waiting = waiting[1:] {
			name := waiting[0]
			if p := v.Jobs[name].Data.Problem; p != nil {
				named := *p
				named.Detail = fmt.Sprintf("the required job %s waits for the optional job %s, which failed: %s",
					j.Name, name, p.Detail)
				return &named
			}
			waiting = append(waiting, after[name]...)
			delete(after, name) // looked at
		}
	}
	return ProblemOf(Fail(CodeInternal, "a required job was skipped or canceled"))
}

func (v *Video) requiredCompleted() bool {
	return !slices.ContainsFunc(v.Plan, func(j Job) bool {
		return !j.Optional && v.Jobs[j.Name].State != StateJobCompleted
	})
}

// lastJobEvent returns the latest event of the jobs of the plan; the verdict when there is none.
func (v *Video) lastJobEvent() Event {
	last := v.Inspected
	for _, j := range v.Plan {
		if f := v.Jobs[j.Name]; f.Last.Sequence > last.Sequence {
			last = f.Last
		}
	}
	return last
}

// finish appends the one end of the video, or of its generation.
func (c *Coordinator) finish(ctx context.Context, v *Video, cause Event, end Finish) error {
	if v.Finished.Sequence != 0 {
		return nil
	}
	end.Notify, end.Generation = v.Upload.Webhook != nil, v.Generation
	subject := FinishedSubject(v.Project, v.ID)
	e, err := c.append(ctx, v, end.State.finishType(), subject, cause, end, v.Reopened.Sequence)
	v.Finished, v.End = e, end
	return err
}
