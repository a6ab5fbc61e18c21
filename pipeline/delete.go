package pipeline

import (
	"context"
	"errors"
)

// Delete appends video.deleted. From then on readers are told that there is no such video; its open jobs are
// canceled, and its objects and events are removed. Deleting again does nothing. ErrHeld: the video has a
// legal hold. ErrNotFound: there is no such video.
func Delete(ctx context.Context, log Log, project, video string) (Event, error) {
	for range maxConflicts {
		o, err := readOwn(ctx, log, project, video)
		switch {
		case err != nil:
			return Event{}, err
		case o.deleted.Sequence != 0:
			return o.deleted, nil
		case o.uploaded.Sequence == 0:
			return Event{}, ErrNotFound
		case o.held.Type == VideoHeld:
			return Event{}, ErrHeld
		}
		e, err := NewEvent("upload", VideoDeleted, DeletedSubject(project, video), video, o.uploaded, Deletion{})
		if err != nil {
			return Event{}, err
		}
		e, err = appendFenced(ctx, log, e, o.last, 0)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
}

// Purged is the data of video.purged: what remains of a video whose events were removed.
type Purged struct {
	Samples []Sample `json:"samples,omitempty"` // what the statistics count for the video
	// Removed holds the sequences of the removed events, to tell this gap in the log from a loss. Nil when an
	// earlier version wrote the event without them.
	Removed Runs `json:"removed,omitzero"`
}

// errForgotten ends the evaluation of a deleted video.
var errForgotten = errors.New("the video is deleted")

// forget cancels the open jobs of a deleted video, deletes its objects, and purges its events. A worker that
// still runs one of the jobs loses its token with the cancellation, and removes its own output.
func (c *Coordinator) forget(ctx context.Context, v *Video) error {
	if v.Deleted.Sequence == 0 {
		return nil
	}
	if v.Uploaded.Sequence != 0 && v.Deleted.Type == VideoDeleted {
		if err := c.cancelDeleted(ctx, v); err != nil {
			return err
		}
	}
	if err := c.Objects.DeletePrefix(ctx, videoPrefix(v.ID)); err != nil {
		return err
	}
	if err := c.purge(ctx, v); err != nil {
		return err
	}
	return errForgotten
}

// cancelDeleted cancels the jobs of a deleted video that have begun, and withdraws the tasks of the others. A
// job without an event needs none now: a worker that begins it after all sees video.deleted and gives up. So
// deleting a long film takes little room in a log that is nearly full.
func (c *Coordinator) cancelDeleted(ctx context.Context, v *Video) error {
	open, err := v.openNotify(c.PublicURL)
	if err != nil {
		return err
	}
	var begun []openJob
	var idle []string
	for i := range v.Additions {
		open = append(open, v.part(&v.Additions[i]).openJobs()...)
	}
	for _, j := range append(v.openJobs(), open...) {
		if j.last.Sequence != 0 {
			begun = append(begun, j)
		} else {
			idle = append(idle, j.Name)
		}
	}
	if len(idle) > 0 {
		if err := c.Tasks.Withdraw(ctx, v.Project, v.ID, idle...); err != nil {
			return err
		}
	}
	return c.cancelJobs(ctx, v, v.Deleted, begun)
}

// purge removes the events of a deleted video. First it appends video.purged, which stays, with the sequences
// of these events and what the statistics need of them: any other gap in the log is a loss. Events that a
// late process appends meanwhile are recorded and removed in the same way.
func (c *Coordinator) purge(ctx context.Context, v *Video) error {
	at, subject := v.Deleted, DeletedSubject(v.Project, v.ID)
	var told Purged
	if at.Type == VideoPurged {
		if err := at.Decode(&told); err != nil {
			return err
		}
	}
	for range maxConflicts {
		history, err := c.Archive.History(ctx, v.Project, v.ID)
		if err != nil {
			return err
		}
		left := sequencesBut(history, subject)
		if len(left) == 0 && at.Type == VideoPurged {
			return nil
		}
		removed := told.Removed.Sequences()
		first, silent := at.Type == VideoDeleted, at.Type == VideoPurged && told.Removed == nil
		if first {
			if told.Samples, err = SamplesOf(history); err != nil {
				return err
			}
		}
		if first || !silent && len(left.Without(removed)) > 0 {
			removed = Merge(append(left, removed...))
			told.Removed = removed.Runs()
			if at, err = c.append(ctx, v, VideoPurged, subject, at, told, at.Sequence); err != nil {
				return err
			}
		}
		if silent { // an earlier version recorded none; a partial record would be taken for a complete one
			removed = left
		}
		if err := c.Archive.Purge(ctx, v.Project, v.ID, removed.Has); err != nil {
			return err
		}
	}
	return nil // a later event leads to an evaluation of its own
}

// sequencesBut returns the sequences of the events that are not on a subject.
func sequencesBut(events []Event, subject string) Sequences {
	var numbers []uint64
	for _, e := range events {
		if e.Subject != subject {
			numbers = append(numbers, e.Sequence)
		}
	}
	return SequencesOf(numbers)
}
