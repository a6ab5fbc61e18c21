package pipeline

import (
	"context"
	"errors"
)

// Delete appends video.deleted: reads answer that there is no such video from then on, its open jobs are
// canceled, and its objects and events go. Deleting again does nothing.
func Delete(ctx context.Context, log Log, project, video string) (Event, error) {
	events, err := log.Last(ctx, UploadedSubject(project, video), DeletedSubject(project, video))
	if err != nil {
		return Event{}, err
	}
	switch uploaded, deleted := events[0], events[1]; {
	case deleted.Sequence != 0:
		return deleted, nil
	case uploaded.Sequence == 0:
		return Event{}, ErrNotFound
	default:
		e, err := NewEvent("upload", VideoDeleted, DeletedSubject(project, video), video, uploaded, struct{}{})
		if err != nil {
			return Event{}, err
		}
		e.Sequence, err = log.Append(ctx, e, 0)
		if errors.Is(err, ErrConflict) {
			return Delete(ctx, log, project, video) // somebody else was faster; theirs is the event
		}
		return e, err
	}
}

// Purged is the data of video.purged: what the statistics count of a video whose events are gone.
type Purged struct {
	Samples []Sample `json:"samples,omitempty"`
}

// errForgotten ends the evaluation of a deleted video.
var errForgotten = errors.New("the video is deleted")

// forget cancels the open jobs of a deleted video, deletes its objects, and purges its events. A worker that
// still runs one of the jobs loses its token with the cancellation, and removes its own output. What the
// statistics need is told by video.purged first, so that they can be computed anew from the log.
func (c *Coordinator) forget(ctx context.Context, v *Video) error {
	if v.Deleted.Sequence == 0 {
		return nil
	}
	if v.Uploaded.Sequence != 0 && v.Deleted.Type == VideoDeleted {
		notify, err := v.openNotify()
		if err != nil {
			return err
		}
		if err := c.cancelJobs(ctx, v, v.Deleted, append(v.openJobs(), notify...)); err != nil {
			return err
		}
	}
	if err := c.Objects.DeletePrefix(ctx, "videos/"+v.ID+"/"); err != nil {
		return err
	}
	if v.Deleted.Type == VideoDeleted {
		history, err := c.Archive.History(ctx, v.Project, v.ID)
		if err != nil {
			return err
		}
		samples, err := SamplesOf(history)
		if err != nil {
			return err
		}
		told, subject := Purged{samples}, DeletedSubject(v.Project, v.ID)
		if _, err := c.append(ctx, v, VideoPurged, subject, v.Deleted, told, v.Deleted.Sequence); err != nil {
			return err
		}
	}
	if err := c.Archive.Purge(ctx, v.Project, v.ID); err != nil {
		return err
	}
	return errForgotten
}
