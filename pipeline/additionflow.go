package pipeline

import (
	"context"
	"errors"
	"slices"
)

// reopenAdditions reopens each addition that had failed and of which a job was requeued. All its other jobs
// that did not complete are requeued first: what they had stored is removed.
func (c *Coordinator) reopenAdditions(ctx context.Context, v *Video) error {
	reopened := false
	for i := range v.Additions {
		a := &v.Additions[i]
		requeued := func(j Job) bool {
			last := v.Jobs[j.Name].Last
			return last.Type == JobRequeued && last.Sequence > a.Last.Sequence
		}
		if !a.failed() || !slices.ContainsFunc(a.Plan, requeued) {
			continue
		}
		if gone := v.CheckSource(); gone != nil {
			return c.refuseRequeued(ctx, v, gone)
		}
		for _, j := range a.Plan {
			f := v.Jobs[j.Name]
			if f.State != StateJobErrored && f.State != StateJobCanceled {
				continue
			}
			if _, err := requeue(ctx, c.Log, v, f, ""); err != nil {
				return err
			}
		}
		end := AdditionEnd{
			Number: a.Number, State: StateAdditionProcessing, Renditions: a.Renditions,
			Generation: a.End.Generation + 1,
		}
		if err := c.endAddition(ctx, v, a, VideoOutputsReopened, a.Last, end); err != nil {
			return err
		}
		reopened = true
	}
	if !reopened {
		return nil
	}
	fresh, err := Fold(ctx, c.Log, v.Project, v.ID)
	if err == nil {
		*v = *fresh
	}
	return err
}

// endAddition appends the next event of the ends of an addition.
func (c *Coordinator) endAddition(
	ctx context.Context, v *Video, a *AdditionFold, t EventType, cause Event, end AdditionEnd,
) error {
	subject := ExtendedEndSubject(v.Project, v.ID, a.Number)
	e, err := NewEvent("coordinator", t, subject, v.ID, cause, end)
	if err != nil {
		return err
	}
	if t == VideoOutputsReopened { // not while retention deletes the source
		e, err = appendFenced(ctx, c.Log, e, v.Last, a.Last.Sequence)
	} else {
		e, err = Append(ctx, c.Log, e, a.Last.Sequence)
	}
	if err == nil {
		a.Last, a.End, v.Last = e, end, e.Sequence
	}
	return err
}

// undoAdditions cancels all jobs of additions that failed, and removes what they stored. A job that was
// completed is canceled, too: its outputs are the video's no more.
func (c *Coordinator) undoAdditions(ctx context.Context, v *Video) error {
	for i := range v.Additions {
		a := &v.Additions[i]
		if !a.failed() {
			continue
		}
		jobs := v.part(a).openJobs()
		for _, j := range a.Plan {
			if f := v.Jobs[j.Name]; f.State == StateJobCompleted {
				jobs = append(jobs, openJob{Job: j, last: f.Last})
			}
		}
		if err := c.cancelJobs(ctx, v, a.Last, jobs); err != nil {
			return err
		}
	}
	return nil
}

// runAdditions enqueues the jobs of open additions whose turn it is. It first ends those that a quota
// refuses, and all if the video was canceled, as it may be while it is processed again.
func (c *Coordinator) runAdditions(ctx context.Context, v *Video) error {
	for i := range v.Additions {
		a := &v.Additions[i]
		if !a.open() {
			continue
		}
		refused, err := c.judgeAddition(ctx, v, a)
		switch {
		case err != nil:
			return err
		case refused != nil:
			err = c.failAddition(ctx, v, a, a.Requested, refused)
		case v.Finished.Type == VideoCanceled:
			end := AdditionEnd{
				Number: a.Number, State: StateAdditionCanceled, Renditions: a.Renditions, Generation: a.End.Generation,
			}
			err = c.endAddition(ctx, v, a, VideoOutputsFailed, v.Finished, end)
		default:
			err = c.fanOut(ctx, v.part(a))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// judgeAddition returns why a quota refuses an addition of which no job has begun; nil if none does.
func (c *Coordinator) judgeAddition(ctx context.Context, v *Video, a *AdditionFold) (*Problem, error) {
	begun := func(j Job) bool { return v.Jobs[j.Name].Last.Sequence != 0 }
	if c.Quotas == nil || a.End.Generation > 0 || slices.ContainsFunc(a.Plan, begun) {
		return nil, nil
	}
	return c.Quotas.Judge(ctx, v.Project, a.Requested)
}

// concludeAdditions ends open additions: those of which a job failed, and those whose jobs are all completed.
func (c *Coordinator) concludeAdditions(ctx context.Context, v *Video) error {
	for i := range v.Additions {
		a := &v.Additions[i]
		if !a.open() {
			continue
		}
		if err := c.conclude(ctx, v, a); err != nil {
			return err
		}
	}
	return nil
}

func (c *Coordinator) conclude(ctx context.Context, v *Video, a *AdditionFold) error {
	last, completed := a.begun(), true
	for _, j := range a.Plan {
		f := v.Jobs[j.Name]
		switch f.State {
		case StateJobErrored:
			return c.failAddition(ctx, v, a, f.Last, f.Data.Problem)
		case StateJobCompleted:
			if f.Last.Sequence > last.Sequence {
				last = f.Last
			}
		default:
			completed = false
		}
	}
	if !completed {
		return nil
	}
	w := v.part(a) // a video without renditions was not playable before
	if err := c.playable(ctx, w); err != nil {
		return err
	}
	v.Playable, v.Opened = w.Playable, w.Opened
	end := AdditionEnd{
		Number: a.Number, State: StateAdditionReady, Renditions: a.Renditions, Generation: a.End.Generation,
	}
	return c.endAddition(ctx, v, a, VideoOutputsAdded, last, end)
}

// failAddition ends an addition because of a problem. The first job that fails ends it: the others would make
// what nobody gets.
func (c *Coordinator) failAddition(
	ctx context.Context, v *Video, a *AdditionFold, cause Event, problem *Problem,
) error {
	if problem == nil {
		problem = ProblemOf(errors.New("a job failed without saying why"))
	}
	end := AdditionEnd{
		Number: a.Number, State: StateAdditionErrored, Problem: problem, Renditions: a.Renditions,
		Generation: a.End.Generation,
	}
	return c.endAddition(ctx, v, a, VideoOutputsFailed, cause, end)
}

// CancelAddition appends video.outputs_failed with the state canceled. The jobs of the addition end, and what
// they stored is removed; the video stays ready. Canceling again does nothing. ErrState: the addition has
// ended in another way. ErrNotFound: there is no such video or addition.
func CancelAddition(ctx context.Context, log Log, project, video string, number int) (Event, error) {
	for range maxConflicts {
		v, err := Fold(ctx, log, project, video)
		switch {
		case err != nil:
			return Event{}, err
		case v.Uploaded.Sequence == 0, v.Deleted.Sequence != 0, number < 1, number > len(v.Additions):
			return Event{}, ErrNotFound
		}
		a := &v.Additions[number-1]
		switch {
		case a.End.State == StateAdditionCanceled:
			return a.Last, nil
		case !a.open():
			return Event{}, stateError("the addition is %s", a.End.State)
		}
		end := AdditionEnd{
			Number: number, State: StateAdditionCanceled, Renditions: a.Renditions, Generation: a.End.Generation,
		}
		subject := ExtendedEndSubject(project, video, number)
		e, err := NewEvent("upload", VideoOutputsFailed, subject, video, a.begun(), end)
		if err != nil {
			return Event{}, err
		}
		e, err = Append(ctx, log, e, a.Last.Sequence)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
}
