package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

const (
	// finishTimeout bounds the end of an upload: the store may have to read all bytes once more.
	finishTimeout = 30 * time.Minute
	// lockTimeout bounds the wait for a request that works on the same upload.
	lockTimeout = 20 * time.Second
)

// kept returns how many bytes of an upload the store keeps. Parts of a multipart upload count when they are
// whole, in any order.
func (s *server) kept(ctx context.Context, d uploadDoc) (int64, error) {
	switch {
	case d.Status == uploadCompleted:
		return d.Size, nil
	case d.Status.ended():
		return 0, nil
	}
	if d.Method == byMultipart {
		return s.partBytes(ctx, d)
	}
	n, err := s.pieces.Kept(ctx, d.Key)
	if !errors.Is(err, storage.ErrNotFound) {
		return n, ofStore(err)
	}
	info, err := s.cfg.Store.Stat(ctx, d.Key) // finished, and the video is not made yet
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil // not begun
	}
	return info.Size, ofStore(err)
}

// repair makes the video of an upload whose bytes are all kept, if that was not done: an answer was lost, a
// process died, or the video was refused for a reason that passes. It may be called as often as one likes, by
// whoever holds the lock.
func (s *server) repair(ctx context.Context, d uploadDoc, offset int64) (uploadDoc, error) {
	if d.Status.ended() || d.Size == 0 || offset != d.Size || d.Method == byMultipart && !d.Completing {
		return d, nil
	}
	return s.finishUpload(ctx, d)
}

// finishUpload turns an upload whose bytes are all kept into a video: it makes an object of the bytes, writes
// video.uploaded, and then the document. Each step may be repeated, so that a crash between two of them loses
// nothing. When the video is refused for a reason that passes, the bytes stay, and the error is one that the
// client may retry. The caller holds the lock.
func (s *server) finishUpload(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	ctx = context.WithValue(ctx, projectKey{}, d.Project)
	done, err := s.hasVideo(ctx, d)
	if err != nil {
		return d, err
	}
	if !done {
		if d, err = s.makeVideo(ctx, d); err != nil {
			return d, err
		}
	}
	return s.saveEnd(ctx, d, uploadCompleted, nil), nil
}

// hasVideo reports whether the log has the video that the upload is for.
func (s *server) hasVideo(ctx context.Context, d uploadDoc) (bool, error) {
	last, err := s.cfg.Log.Last(ctx, pipeline.UploadedSubject(d.Project, d.Video))
	if err != nil {
		return false, orUnavailable(err)
	}
	return last[0].Sequence != 0, nil
}

// makeVideo is steps 1 and 2 of finishUpload.
func (s *server) makeVideo(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	if err := s.admit(ctx); err != nil {
		return d, patient(err)
	}
	info, err := s.makeSource(ctx, d)
	if err != nil {
		return d, err
	}
	in := s.intakeOf(d)
	in.addSource(pipeline.Object{
		Key: d.Key, Size: info.Size, SHA256: info.SHA256, ContentType: storage.ContentType(d.Key),
		Filename: d.Filename,
	})
	var e pipeline.Event
	err = s.checkBytes(ctx, d)
	if err == nil {
		e, _, err = in.accept(ctx, d.Request)
	}
	if err == nil {
		s.caught(ctx, e.Sequence)
		return d, nil
	}
	f := classify(err)
	if codes[f.code].retryable {
		return d, f
	}
	p := f.document(ctx)
	d, failed := s.endUpload(ctx, d, uploadErrored, &uploadProblem{
		p.Code, p.Title, p.Detail, p.Remedy, p.Retryable,
	})
	if failed != nil {
		return d, failed
	}
	return d, f
}

// makeSource makes an object of the bytes that are kept, and returns its size and SHA-256.
func (s *server) makeSource(ctx context.Context, d uploadDoc) (storage.Info, error) {
	if d.Method == byMultipart {
		return s.joinParts(ctx, d)
	}
	info, err := s.pieces.Finish(ctx, d.Key)
	return info, ofStore(err)
}

// intakeOf returns the intake of an upload.
func (s *server) intakeOf(d uploadDoc) *intake {
	return &intake{
		cfg: s.cfg, traits: s.cfg.Planner.Traits(), at: "body", project: d.Project, video: d.Video,
		parent: d.TraceParent, assets: map[string]pipeline.Object{},
	}
}

// patient turns the refusal of a client that has sent too much into one of the server: tus clients take 429
// for the end, and here nothing is wrong with the request.
func patient(err error) error {
	f := classify(err)
	if f.code == codeTooManyVideos {
		late := *f
		late.code = codeQueueFull
		return &late
	}
	return f
}

// endUpload removes the bytes of an upload that has no video, and writes how it ended. The bytes go first: a
// request of another process that writes them keeps the upload as it is (codeUploadBusy).
func (s *server) endUpload(ctx context.Context, d uploadDoc, as uploadState, p *uploadProblem) (
	uploadDoc, error,
) {
	var arrived int64
	if d.Reserved != nil {
		var err error
		if arrived, err = s.kept(ctx, d); err != nil {
			return d, err
		}
	}
	if err := s.discard(ctx, d); err != nil {
		return d, ofStore(err)
	}
	if err := s.cfg.Store.Delete(ctx, d.Key); err != nil {
		return d, ofStore(err)
	}
	d.Status, d.Problem, d.EndedAt = as, p, time.Now().UTC()
	if err := s.saveUpload(ctx, d, false); err != nil {
		return d, err
	}
	s.waiting.ended()
	s.release(ctx, d, arrived) // last: what is given back twice would let too much through
	return d, nil
}

// discard removes the bytes of an upload that are no object yet.
func (s *server) discard(ctx context.Context, d uploadDoc) error {
	if d.Method == byMultipart {
		return s.parts.AbortMultipart(ctx, d.Key)
	}
	return s.pieces.Abandon(ctx, d.Key)
}

// saveEnd writes that an upload has ended. An error is logged only: the log has the video, and whoever looks
// at the upload next writes the document.
func (s *server) saveEnd(ctx context.Context, d uploadDoc, as uploadState, p *uploadProblem) uploadDoc {
	d.Status, d.Problem, d.EndedAt = as, p, time.Now().UTC()
	if err := s.saveUpload(ctx, d, false); err != nil {
		s.cfg.Logger.WarnContext(ctx, "write that an upload is completed; the next sweep does", "upload", d.ID,
			"error", err)
		return d
	}
	s.waiting.ended()
	return d
}

// expiryStep is which part of its time an upload may have lost before a byte makes it full again: so a client
// that sends many small pieces costs few writes.
const expiryStep = 100

// touch writes that bytes of an upload came: it expires later.
func (s *server) touch(ctx context.Context, d uploadDoc) uploadDoc {
	whole := s.cfg.Limits.UploadExpires
	expires := time.Now().UTC().Add(whole)
	if d.Status.ended() || expires.Sub(d.ExpiresAt) < whole/expiryStep {
		return d
	}
	later := d
	later.ExpiresAt = expires
	if err := s.saveUpload(ctx, later, false); err != nil {
		s.cfg.Logger.WarnContext(ctx, "put off the expiry of an upload", "upload", d.ID, "error", err)
		return d
	}
	return later
}

// waitingUploads counts uploads that have not ended, roughly: each sweep counts them anew.
type waitingUploads struct {
	mu sync.Mutex
	n  int
}

// add counts one more, unless that would be more than limit.
func (w *waitingUploads) add(limit int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n >= limit {
		return false
	}
	w.n++
	return true
}

func (w *waitingUploads) ended() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n = max(0, w.n-1)
}

func (w *waitingUploads) set(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n = n
}
