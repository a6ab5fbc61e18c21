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
	{[]EventType{VideoDeleted, VideoPurged, VideoChanged}, (*Coordinator).forget}, // and a late change
	{[]EventType{JobRequeued}, (*Coordinator).reopen},
	{[]EventType{VideoSourceDeleted}, (*Coordinator).dropSource},
	{[]EventType{VideoCanceled, VideoInspected, JobCanceled}, (*Coordinator).stop},
	{[]EventType{VideoUploaded, JobRequeued}, (*Coordinator).fetch},
	{[]EventType{JobCompleted}, (*Coordinator).allowFetched},
	{[]EventType{VideoUploaded, JobCompleted, JobRequeued}, (*Coordinator).inspect},
	{[]EventType{JobCompleted}, (*Coordinator).judge},
	{[]EventType{VideoInspected}, (*Coordinator).allowEncoding},
	{append(settling, JobRequeued), (*Coordinator).fanOut},
	{settling, (*Coordinator).aggregate},
	{[]EventType{JobRequeued}, (*Coordinator).reopenAdditions},
	{adding, (*Coordinator).runAdditions}, // before the next: it decides by what the fold has of others
	{[]EventType{JobCompleted, JobErrored}, (*Coordinator).concludeAdditions},
	{[]EventType{VideoOutputsFailed, JobCompleted}, (*Coordinator).undoAdditions},
	{append(ends, VideoPlayable, JobRequeued), (*Coordinator).notify},
}

// settling are the events after which other jobs may get their turn, or none is left.
var settling = []EventType{VideoInspected, VideoReopened, JobCompleted, JobErrored, JobCanceled}

// adding are the events after which jobs of additions may get their turn: when an addition has ended, another
// may make the manifests anew.
var adding = []EventType{VideoOutputsRequested, VideoOutputsReopened, VideoOutputsAdded, VideoOutputsFailed,
	JobCompleted, JobRequeued, VideoReady, VideoErrored, VideoCanceled}

// ends are the events that end a video.
var ends = []EventType{VideoReady, VideoErrored, VideoRejected, VideoCanceled}

// Leads reports whether an event of type t leads to anything. The others are only reported.
func Leads(t EventType) bool {
	for _, row := range flow {
		if slices.Contains(row.on, t) {
			return true
		}
	}
	return false
}

// Tasks is the queue as the coordinator sees it.
type Tasks interface {
	// Enqueue stores t for its worker type. It does nothing if a task with the same job and cause still waits.
	// The task is on disk when Enqueue returns.
	Enqueue(ctx context.Context, t Task) error
	// Withdraw removes the tasks and schedules of the named jobs, including tasks that a worker holds. It is no
	// error when there are none.
	Withdraw(ctx context.Context, project, video string, jobs ...string) error
}

// Archive is the event log as deletion sees it.
type Archive interface {
	// History returns every event of a video, in order.
	History(ctx context.Context, project, video string) ([]Event, error)
	// Purge removes the events of a video whose sequence is unwanted, but none on its DeletedSubject.
	Purge(ctx context.Context, project, video string, unwanted func(sequence uint64) bool) error
}

// Objects is the store as the coordinator sees it.
type Objects interface {
	// DeletePrefix deletes every object whose key begins with prefix; none is no error.
	DeletePrefix(ctx context.Context, prefix string) error
}

// Coordinator runs the flow. It holds no state: any number may run, anywhere.
type Coordinator struct {
	Log     Log
	Archive Archive
	Tasks   Tasks
	Objects Objects
	Planner Planner
	// Slots returns how many attempts of a worker type all processes together run at once; 0 when that is
	// unknown, as when Slots is nil. It is called for every event, so it must answer from memory. Its answer may
	// change at any time: it only decides how many jobs of a video are enqueued ahead (fanout.go).
	Slots func(worker string) int
	// PublicURL is where people reach the server, such as https://video.example.org, for the URLs in webhooks.
	// Empty: webhooks have paths.
	PublicURL string
	// Quotas judges what a quota allows; nil: everything.
	Quotas Quotas
}

// Handle does all that is missing for the video that e belongs to. The event is only a hint: each time the
// whole table is evaluated against the fold, so the next delivery repairs a crash after any line. An error
// means that e must be delivered again.
func (c *Coordinator) Handle(ctx context.Context, e Event) error {
	if !Leads(e.Type) {
		return nil
	}
	project, video, _, err := Address(e.Subject)
	if err != nil {
		return err
	}
	return c.Evaluate(ctx, project, video)
}

// Evaluate does all that is missing for a video, whatever led to it. Doing it again does nothing.
func (c *Coordinator) Evaluate(ctx context.Context, project, video string) error {
	var err error
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

// maxConflicts bounds how often one delivery is evaluated again because another coordinator was faster. Each
// conflict means that the video has moved on, so an uncontended fold comes soon.
const maxConflicts = 8

// evaluate folds the video and runs the table over it once. ErrConflict says that the fold was out of date,
// and the caller must try again: the other coordinator may have seen less than this one, so giving up could
// leave the last step undone.
func (c *Coordinator) evaluate(ctx context.Context, project, video string) error {
	v, err := Fold(ctx, c.Log, project, video)
	if err != nil {
		return err
	}
	return c.react(ctx, v)
}

// react runs the table over a fold once.
func (c *Coordinator) react(ctx context.Context, v *Video) error {
	if v.Uploaded.Sequence == 0 && v.Deleted.Sequence == 0 {
		return nil
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

// append writes the next event of a subject of v, caused by cause.
func (c *Coordinator) append(ctx context.Context, v *Video, t EventType, subject string, cause Event,
	data any, after uint64,
) (Event, error) {
	e, err := NewEvent("coordinator", t, subject, v.ID, cause, data)
	if err != nil {
		return Event{}, err
	}
	return Append(ctx, c.Log, e, after)
}
