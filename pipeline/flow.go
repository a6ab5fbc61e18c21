package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// flow is the story as a table: what each event leads to, in order.
var flow = []struct {
	on    []EventType
	react func(*Coordinator, context.Context, *Video) error
}{
	{[]EventType{VideoDeleted}, (*Coordinator).forget},
	{[]EventType{VideoUploaded}, (*Coordinator).inspect},
	{[]EventType{JobCompleted}, (*Coordinator).judge},
	{[]EventType{VideoInspected, JobCompleted}, (*Coordinator).fanOut},
	{[]EventType{VideoInspected, JobCompleted, JobErrored, JobCanceled}, (*Coordinator).aggregate},
	{[]EventType{VideoReady, VideoErrored, VideoRejected, VideoCanceled}, (*Coordinator).notify},
}

// Leads reports whether an event of type t leads to anything. The others are told, not acted on.
func Leads(t EventType) bool {
	for _, row := range flow {
		if slices.Contains(row.on, t) {
			return true
		}
	}
	return false
}

// Tasks is where the coordinator leaves work.
type Tasks interface {
	// Enqueue stores t for its worker type. A task of the same job and cause that still waits is not stored
	// twice. The task is on disk when Enqueue returns.
	Enqueue(ctx context.Context, t Task) error
}

// Objects is the store as the coordinator sees it.
type Objects interface {
	// DeletePrefix deletes every object whose key begins with prefix; none is no error.
	DeletePrefix(ctx context.Context, prefix string) error
}

// Coordinator runs the flow. It holds no state: any number may run, anywhere.
type Coordinator struct {
	Log     Log
	Tasks   Tasks
	Objects Objects
	Planner Planner
}

// Handle does all that is missing for the video that e belongs to. The event only says that there may be
// something: the whole table is evaluated against the fold each time, so a crash after any line is repaired
// by the next delivery. An error means that e must be delivered again.
func (c *Coordinator) Handle(ctx context.Context, e Event) error {
	if !Leads(e.Type) {
		return nil
	}
	project, video, _, err := Address(e.Subject)
	if err != nil {
		return err
	}
	for range maxConflicts {
		err = c.evaluate(ctx, project, video)
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("video %s: %w", video, err)
	}
	return nil
}

// maxConflicts bounds how often one delivery is evaluated anew because another coordinator was faster. Each
// conflict means that the video has moved on, so a fold that is not contended comes soon.
const maxConflicts = 8

// evaluate folds the video and runs the table over it once. ErrConflict says that the fold was out of date:
// what the other coordinator saw may be older than what this one knows, so giving up here could leave the
// last step undone.
func (c *Coordinator) evaluate(ctx context.Context, project, video string) error {
	v, err := Fold(ctx, c.Log, project, video)
	if err != nil || v.Uploaded.Sequence == 0 {
		return err
	}
	for _, row := range flow {
		err := row.react(c, ctx, v)
		if errors.Is(err, errForgotten) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errForgotten ends the evaluation of a deleted video.
var errForgotten = errors.New("the video is deleted")

// forget cancels the open jobs of a deleted video and deletes its objects. A worker that still runs one loses
// its token with the cancellation, and removes its own output.
func (c *Coordinator) forget(ctx context.Context, v *Video) error {
	if v.Deleted.Sequence == 0 {
		return nil
	}
	open := []struct {
		job  Job
		fold JobFold
	}{
		{Job{Name: inspectJob, Step: inspectJob, Worker: inspectJob}, v.Inspect},
		{Job{Name: notifyJob, Step: notifyJob, Worker: NotifyWorker}, v.Notify},
	}
	for _, j := range v.Plan {
		open = append(open, struct {
			job  Job
			fold JobFold
		}{j, v.Jobs[j.Name]})
	}
	for _, o := range open {
		if JobStateOf(o.fold.Last.Type).Terminal() {
			continue
		}
		data := JobEvent{Job: o.job.Name, Step: o.job.Step, Worker: o.job.Worker}
		subject := JobSubject(v.Project, v.ID, o.job.Name)
		if _, err := c.append(ctx, v, JobCanceled, subject, v.Deleted, data, o.fold.Last.Sequence); err != nil {
			return err
		}
	}
	if err := c.Objects.DeletePrefix(ctx, "videos/"+v.ID+"/"); err != nil {
		return err
	}
	return errForgotten
}

// append writes the next event of a subject of v, caused by cause.
func (c *Coordinator) append(ctx context.Context, v *Video, t EventType, subject string, cause Event,
	data any, after uint64,
) (Event, error) {
	e, err := NewEvent("coordinator", t, subject, v.ID, cause, data)
	if err != nil {
		return Event{}, err
	}
	e.Sequence, err = c.Log.Append(ctx, e, after)
	return e, err
}
