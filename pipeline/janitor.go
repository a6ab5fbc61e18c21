package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// StoredObject is an object as the janitor sees it.
type StoredObject struct {
	Key      string
	Modified time.Time
}

// Shelf is the object store as the janitor sees it.
type Shelf interface {
	// Objects yields the objects whose key begins with prefix, in the order of their keys.
	Objects(ctx context.Context, prefix string) iter.Seq2[StoredObject, error]
	Delete(ctx context.Context, key string) error
}

// Owners knows which project a video belongs to.
type Owners interface {
	// Owner returns the project that a video belongs or belonged to; ErrNotFound when the log has no such video.
	Owner(ctx context.Context, video string) (string, error)
}

// Janitor deletes objects that nobody will ever read: uploads that were stored but never accepted, and
// outputs of attempts that did not win. Worker loops delete what they can themselves; the janitor cleans up
// after those that were killed, also while they deleted a source (Expirer). It leaves young objects alone,
// since somebody may still be writing them.
type Janitor struct {
	Log    Log
	Owners Owners
	Shelf  Shelf
	// Uploads is the age at which an object without a video is deleted; 24 hours when 0.
	Uploads time.Duration
	// Losers is the age at which an output is deleted if its attempt neither runs nor won; 1 hour when 0.
	Losers time.Duration
	// Jumped returns how far the clock has been set forward since the process began, which makes objects seem
	// older than they are. Nil: never.
	Jumped func() time.Duration
}

// Clean goes over the whole store once and returns how many objects it deleted.
func (j *Janitor) Clean(ctx context.Context) (deleted int, err error) {
	var now *shelved
	for o, err := range j.Shelf.Objects(ctx, videosPrefix) {
		if err != nil {
			return deleted, fmt.Errorf("list objects: %w", err)
		}
		at, ok := Locate(o.Key)
		if !ok {
			continue
		}
		if now == nil || now.id != at.Video {
			if now, err = j.look(ctx, at.Video); err != nil {
				return deleted, err
			}
		}
		if age := time.Since(o.Modified) - j.jumped(); o.Modified.IsZero() || age < now.patience(j, o.Key, at) {
			continue
		}
		if err := j.Shelf.Delete(ctx, o.Key); err != nil {
			return deleted, fmt.Errorf("delete %s: %w", o.Key, err)
		}
		deleted++
	}
	return deleted, nil
}

func (j *Janitor) jumped() time.Duration {
	if j.Jumped == nil {
		return 0
	}
	return j.Jumped()
}

// shelved is the video whose objects are being looked at.
type shelved struct {
	id    string
	video *Video // nil when the log has no such video
}

func (j *Janitor) look(ctx context.Context, id string) (*shelved, error) {
	project, err := j.Owners.Owner(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return &shelved{id: id}, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := Fold(ctx, j.Log, project, id)
	return &shelved{id, v}, err
}

// forever is an age that no object reaches.
const forever = time.Duration(1<<63 - 1)

// patience returns the age at which to delete the object with this key; at is the key's location.
func (s *shelved) patience(j *Janitor, key string, at Location) time.Duration {
	uploads, losers := j.Uploads, j.Losers
	if uploads == 0 {
		uploads = 24 * time.Hour
	}
	if losers == 0 {
		losers = time.Hour
	}
	switch {
	case s.video == nil:
		return uploads
	case s.video.Deleted.Sequence != 0:
		return losers
	case at.Job == "":
		switch used := s.video.Upload.uses(key); {
		case used && s.video.CheckSource() != nil:
			return losers // the process that deletes the source was killed
		case used:
			return forever
		}
		return uploads // of a repeated upload; an earlier try was accepted
	}
	f, known := s.video.Jobs[at.Job]
	switch {
	case at.Job == InspectStep:
		f, known = s.video.Inspect, true
	case at.Job == FetchStep && s.video.Upload.Fetch != nil:
		f, known = s.video.Fetch, true
	}
	switch {
	case at.Job == FetchStep && s.video.CheckSource() != nil:
		return losers // likewise
	case at.Token == 0, !known:
		return forever
	case f.State == StateJobCompleted && f.Data.Token == at.Token:
		return forever // the winner's
	case f.State == StateJobProcessing && f.Last.Sequence == at.Token:
		return forever // it runs
	case at.Token > f.Last.Sequence:
		return forever // it began after the fold was read
	}
	return losers
}

// uses reports whether the object of key is the source or an asset of the upload.
func (u Upload) uses(key string) bool {
	for _, o := range u.Assets {
		if o.Key == key {
			return true
		}
	}
	return u.Source.Key == key
}
