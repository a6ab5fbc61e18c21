package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	// sweepUploadsEvery is how often all uploads are looked at.
	sweepUploadsEvery = time.Minute
	// uploadMemory is how long an upload that has ended can be read.
	uploadMemory = 24 * time.Hour
)

// Handler is the whole API. It serves without Run, too; then uploads that clients abandon stay for ever, and
// one whose last answer was lost waits for its client.
type Handler struct {
	http.Handler
	s *server
}

// Run looks at all uploads at once, and then each minute, until ctx ends: it makes the videos that a crash or
// a full disk has prevented, ends uploads that have expired, and forgets those that ended a day ago. Each
// hour it forgets the answers to idempotency keys that are a day old.
func (h *Handler) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepUploadsEvery)
	defer tick.Stop()
	var answers time.Time
	for {
		if time.Since(answers) > sweepAnswers {
			answers = time.Now()
			if err := h.s.sweepStoredAnswers(ctx, answers); err != nil && ctx.Err() == nil {
				h.s.cfg.Logger.WarnContext(ctx, "remove old answers to idempotency keys; the next sweep tries again",
					"error", err)
			}
		}
		if err := h.s.sweepUploads(ctx, time.Now()); err != nil && ctx.Err() == nil {
			h.s.cfg.Logger.WarnContext(ctx, "sweep uploads; the next sweep tries again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweepUploads looks at all uploads once. One that fails does not hold up the others.
func (s *server) sweepUploads(ctx context.Context, now time.Time) error {
	if s.pieces == nil {
		return nil
	}
	var failed error
	open := 0
	now = now.Add(-s.cfg.Jumped())
	for info, err := range s.cfg.Store.List(ctx, uploadsPrefix) {
		if err != nil {
			return errors.Join(failed, err)
		}
		project, id, ok := locateUpload(info.Key)
		if !ok {
			continue
		}
		d, err := s.sweepUpload(ctx, project, id, now)
		if err != nil {
			failed = err // the last one will do
		}
		if d.ID != "" && !d.Status.ended() {
			open++
		}
	}
	s.waiting.set(open)
	return failed
}

// sweepUpload looks at one upload, unless somebody works on it.
func (s *server) sweepUpload(ctx context.Context, project, id string, now time.Time) (uploadDoc, error) {
	unlock := s.locks.try(id)
	if unlock == nil {
		return uploadDoc{ID: id, Status: uploadUploading}, nil
	}
	defer unlock()
	d, err := s.loadUpload(ctx, project, id)
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		return uploadDoc{}, nil // it was removed meanwhile
	case err != nil:
		return d, err
	case d.Status.ended():
		if now.Sub(d.EndedAt) < uploadMemory {
			return d, nil
		}
		return d, s.cfg.Store.Delete(ctx, uploadKey(project, id))
	}
	offset, err := s.kept(ctx, d)
	if err != nil {
		return d, err
	}
	repaired, err := s.repair(ctx, d, offset)
	if repaired.Status.ended() || !now.After(repaired.ExpiresAt) {
		return repaired, err
	}
	// It may be the source of a video whose upload has no note of its end. While the log does not answer, that
	// is not known.
	done, unknown := s.hasVideo(ctx, repaired)
	if done || unknown != nil {
		return repaired, errors.Join(err, unknown)
	}
	ended, failed := s.endUpload(ctx, repaired, uploadExpired, nil)
	return ended, errors.Join(err, failed)
}
