package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

const (
	// formOverhead is what a form may have beside its file, its watermark and its metadata.
	formOverhead = 1 << 20
	// cleanTimeout bounds the deletion of what a refused upload has stored.
	cleanTimeout = 30 * time.Second
	// acceptTimeout bounds the write of the event, which goes on when the client is gone.
	acceptTimeout = 30 * time.Second
	// lingerTime and lingerBytes bound what is read after a refusal.
	lingerTime  = 3 * time.Second
	lingerBytes = 64 << 20
)

// postVideo takes an upload. The steps are in the package comment.
func (s *server) postVideo(w http.ResponseWriter, r *http.Request) {
	l := s.cfg.Limits
	body := &uploadBody{
		limit: l.MaxUpload + l.MaxWatermark + l.MaxMetadata + formOverhead,
		idle:  l.UploadIdle, control: http.NewResponseController(w),
	}
	body.body = http.MaxBytesReader(w, r.Body, body.limit)
	e, replayed, err := s.takeUpload(r, body)
	if err != nil {
		s.refuseUpload(w, r, body, err)
		return
	}
	body.done()
	view, err := s.afterUpload(r.Context(), e)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	view.AddURLs(s.cfg.PublicURL)
	w.Header().Set("Location", s.cfg.PublicURL+"/v1/videos/"+view.ID)
	s.writeJSON(w, r, http.StatusCreated, view)
}

// takeUpload is steps 1 to 4.
func (s *server) takeUpload(r *http.Request, body *uploadBody) (pipeline.Event, bool, error) {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		return pipeline.Event{}, false, fail(codeTooManyUploads, "%d uploads are under way.", cap(s.uploads))
	}
	up, err := s.openUpload(r, body)
	if err != nil {
		return pipeline.Event{}, false, err
	}
	return up.take(r.Context())
}

// refuseUpload answers err, perhaps in the middle of the body. Then it reads on for a moment: a client that
// is still sending when its connection is closed would lose the answer (RFC 9112, 9.6).
func (s *server) refuseUpload(w http.ResponseWriter, r *http.Request, body *uploadBody, err error) {
	if !body.ended {
		w.Header().Set("Connection", "close")
	}
	s.refuse(w, r, err)
	if body.ended || body.err != nil || body.moved.IsZero() && r.Header.Get("Expect") != "" {
		body.done()
		return
	}
	if body.control.Flush() != nil || body.control.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, lingerBytes) // nothing is made of it
}

// afterUpload returns the video as reads see it, or, when the catalog is late, as the event alone tells it.
func (s *server) afterUpload(ctx context.Context, e pipeline.Event) (pipeline.VideoView, error) {
	project, video, _, err := pipeline.Address(e.Subject)
	if err != nil {
		return pipeline.VideoView{}, err
	}
	if s.caught(ctx, e.Sequence) {
		view, err := s.cfg.Catalog.Video(ctx, project, video)
		if err == nil {
			return view, nil
		}
		if errors.Is(err, pipeline.ErrNotFound) {
			return view, fail(codeVideoDeleted, "The video %s was deleted.", video)
		}
		s.cfg.Logger.WarnContext(ctx, "read new video", "request_id", requestID(ctx), "video", video, "error", err)
	}
	var view pipeline.VideoView
	return view, view.Apply(e)
}

// upload is one upload under way.
type upload struct {
	s       *server
	project string
	video   string
	parent  string // traceparent of the request
	body    *uploadBody
	form    *form
}

// openUpload is step 1: what can be refused before the body is read.
func (s *server) openUpload(r *http.Request, body *uploadBody) (*upload, error) {
	if err := checkUploadQuery(r.URL); err != nil {
		return nil, err
	}
	boundary, err := boundaryOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	video, err := videoID(projectOf(r.Context()), r.Header.Get("Idempotency-Key"))
	if err != nil {
		return nil, err
	}
	if r.ContentLength > body.limit {
		return nil, s.tooLarge()
	}
	if err := s.admit(r.Context()); err != nil {
		return nil, err
	}
	return &upload{
		s: s, project: projectOf(r.Context()), video: video, parent: r.Header.Get("traceparent"), body: body,
		form: newForm(s, video, body, boundary),
	}, nil
}

// checkUploadQuery refuses any query: what is wanted of a video stands in the form.
func checkUploadQuery(u *url.URL) error {
	err := checkQuery(u)
	if f, ok := errors.AsType[*failure](err); ok && len(u.Query()) > 0 {
		f.remedy = "Send it as a field of the form."
	}
	return err
}

// boundaryOf returns the boundary of a form (RFC 7578, 4.1).
func boundaryOf(contentType string) (string, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if media != "multipart/form-data" {
		if contentType == "" {
			return "", failAt("/header/Content-Type", codeMediaType, "There is no Content-Type.")
		}
		return "", failAt("/header/Content-Type", codeMediaType, "Content-Type is %.80q.", printable(contentType))
	}
	if err != nil || params["boundary"] == "" {
		f := failAt("/header/Content-Type", codeUploadMalformed, "Content-Type is %.80q: it has no boundary.",
			printable(contentType))
		f.remedy = "Let what makes the form set Content-Type: it knows the boundary."
		return "", f.because(err)
	}
	return params["boundary"], nil
}

// admit refuses an upload for which the server has no time, no room or no workers.
func (s *server) admit(ctx context.Context) error {
	if s.stopping(ctx) {
		return fail(codeUnavailable, "The server is being stopped.")
	}
	if err := s.cfg.FreeSpace(); err != nil {
		return fail(codeDiskFull, "The server has no room for uploads.").because(err)
	}
	if err := s.cfg.LogRoom(ctx); err != nil {
		return err
	}
	if s.cfg.Backlog == nil {
		return nil
	}
	ofProject, total, err := s.cfg.Backlog.Backlog(ctx, projectOf(ctx))
	switch l := s.cfg.Limits; {
	case err != nil: // an upload needs the log, which takes it or does not
		s.cfg.Logger.WarnContext(ctx, "count open videos", "request_id", requestID(ctx), "error", err)
	case total >= l.MaxVideos:
		return fail(codeQueueFull, "%d videos have not ended.", total)
	case ofProject >= l.MaxProjectVideos:
		return fail(codeTooManyVideos, "%d videos of the project have not ended; %d may be.",
			ofProject, l.MaxProjectVideos)
	}
	return nil
}

// stopping reports whether the process, or the server of ctx, is about to end.
func (s *server) stopping(ctx context.Context) bool {
	select {
	case <-closing(ctx):
		return true
	default:
		return s.cfg.Stopping()
	}
}

func (s *server) tooLarge() *failure {
	return failAt("/form/file", codeUploadTooLarge, "The limit is %d bytes.", s.cfg.Limits.MaxUpload)
}

// videoID returns a new id, or the one that belongs to an idempotency key of a project.
func videoID(project, key string) (string, error) {
	if key == "" {
		return pipeline.NewID("vid"), nil
	}
	if len(key) > 255 {
		return "", failAt("/header/Idempotency-Key", codeInvalid,
			"The key has %d characters; 255 are allowed.", len(key))
	}
	return pipeline.DerivedID("vid", sha256.Sum256([]byte(project+"\n"+key))), nil
}

// take is steps 2 to 4. What it stored is deleted when the event was certainly not written.
func (u *upload) take(ctx context.Context) (pipeline.Event, bool, error) {
	doc, err := u.form.read(ctx)
	if err == nil {
		err = ctx.Err() // hung up: nobody would learn of the video
	}
	if err != nil {
		u.discard(ctx)
		return pipeline.Event{}, false, u.explain(err)
	}
	accepting, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
	defer cancel()
	e, replayed, err := pipeline.Accept(accepting, u.s.cfg.Log, u.project, u.video, doc, u.parent)
	if replayed || errors.Is(err, pipeline.ErrReused) || errors.Is(err, pipeline.ErrDeleted) {
		u.discard(ctx) // the first upload's objects are the video's
	}
	if err != nil {
		return e, false, orUnavailable(err)
	}
	if replayed {
		err = u.checkDeleted(accepting)
	}
	return e, replayed, err
}

// checkDeleted refuses a replay of an upload whose video was deleted.
func (u *upload) checkDeleted(ctx context.Context) error {
	last, err := u.s.cfg.Log.Last(ctx, pipeline.DeletedSubject(u.project, u.video))
	if err != nil {
		return orUnavailable(err)
	}
	if last[0].Sequence != 0 {
		return fail(codeVideoDeleted, "The video %s was deleted.", u.video)
	}
	return nil
}

// discard deletes what the upload has stored, also when the client is gone.
func (u *upload) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	for _, key := range u.form.stored {
		if err := u.s.cfg.Store.Delete(ctx, key); err != nil {
			u.s.cfg.Logger.WarnContext(ctx, "delete object of a refused upload; the janitor will", "key", key,
				"request_id", requestID(ctx), "error", err)
		}
	}
}

// explain tells an error of the client's body from one of the store.
func (u *upload) explain(err error) error {
	_, large := errors.AsType[*http.MaxBytesError](u.body.err)
	f, known := errors.AsType[*failure](err)
	switch {
	case large:
		return u.s.tooLarge()
	case errors.Is(u.body.err, os.ErrDeadlineExceeded):
		return fail(codeUploadTimeout, "No byte came for %s.", u.s.cfg.Limits.UploadIdle)
	case u.body.err != nil:
		return fail(codeUploadBroken, "The body ended before the form did.")
	case known:
		return f
	case errors.Is(err, context.Canceled):
		return fail(codeUploadBroken, "The body ended before the form did.")
	case errors.Is(err, storage.ErrFull):
		return err
	default:
		return fail(codeStorageFailed, "The object store did not take the file.").because(err)
	}
}

// uploadBody reads a body for as long as bytes come, and remembers how it ended.
type uploadBody struct {
	body    io.Reader
	limit   int64 // bytes of the whole body
	control *http.ResponseController
	idle    time.Duration
	moved   time.Time // when the deadline was last moved; zero before the first read
	ended   bool      // the body came to its proper end
	err     error     // what else ended it
}

// Read implements io.Reader.
func (b *uploadBody) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.moved) >= min(deadlineStep, b.idle/4) {
		b.moved = now
		if err := b.control.SetReadDeadline(now.Add(b.idle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, fmt.Errorf("set read deadline: %w", err)
		}
	}
	n, err := b.body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
	case err != nil:
		b.err = err
	}
	return n, err
}

// done lifts the deadline: the server goes on reading, to notice a client that hangs up.
func (b *uploadBody) done() {
	_ = b.control.SetReadDeadline(time.Time{}) // without deadlines there was none to lift
}
