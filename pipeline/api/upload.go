package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// lingerTime and lingerBytes bound what is read after a refusal.
const (
	lingerTime  = 3 * time.Second
	lingerBytes = 64 << 20
)

// postVideo takes an upload: a form with the file, or JSON with a URL. The steps are in the package comment.
func (s *server) postVideo(w http.ResponseWriter, r *http.Request) {
	if isFetch(r) {
		e, replayed, err := s.takeFetch(w, r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		s.answerUpload(w, r, e, replayed)
		return
	}
	body := newUploadBody(w, r, maxForm(s.cfg), s.cfg.Limits)
	e, replayed, err := s.takeUpload(r, body)
	if err != nil {
		s.refuseUpload(w, r, body, err)
		return
	}
	body.done()
	s.answerUpload(w, r, e, replayed)
}

// answerUpload answers the video of an upload that was accepted. replayed says that an earlier request made
// it.
func (s *server) answerUpload(w http.ResponseWriter, r *http.Request, e pipeline.Event, replayed bool) {
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

// takeUpload is steps 1 to 4 of the package comment.
func (s *server) takeUpload(r *http.Request, body *uploadBody) (pipeline.Event, bool, error) {
	ctx := r.Context()
	leave, err := s.enterUpload(ctx, r)
	if err != nil {
		return pipeline.Event{}, false, err
	}
	defer leave()
	f, err := s.openForm(r, body)
	if err != nil {
		return pipeline.Event{}, false, err
	}
	defer f.in.meter.close(context.WithoutCancel(ctx))
	req, err := f.read(ctx)
	if err == nil {
		err = ctx.Err() // the client is gone: nobody would learn of the video
	}
	if err != nil {
		f.in.discard(ctx)
		return pipeline.Event{}, false, f.in.explain(body, err)
	}
	return f.in.accept(ctx, req)
}

// tooManyUploads is the failure of an upload beyond the limit of all, or of its client.
func (s *server) tooManyUploads(own bool) error {
	if own {
		return fail(codeClientUploads, "%d uploads from your address are under way, which is the limit for one.",
			s.uploads.each)
	}
	return fail(codeTooManyUploads, "%d uploads are under way, which is the limit.", s.uploads.all)
}

// refuseUpload answers err, perhaps in the middle of the body, and then reads on for a moment. A client
// whose connection is closed while it is sending would lose the answer (RFC 9112, 9.6).
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
	_, _ = io.CopyN(io.Discard, r.Body, lingerBytes) // the bytes and their errors do not matter any more
}

// refuseUnread answers err before anything of the body was read.
func (s *server) refuseUnread(w http.ResponseWriter, r *http.Request, err error) {
	if r.Body == http.NoBody || r.Body == nil {
		s.refuse(w, r, err)
		return
	}
	s.refuseUpload(w, r, &uploadBody{control: http.NewResponseController(w)}, err)
}

// afterUpload returns the video from the catalog or, when that is late, from the event alone.
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

// formAround is more than a form has around its file, as a rule: a quota refuses an upload at once if it
// would refuse it even so.
const formAround = 64 << 10

// openForm is step 1: it refuses what can be refused before the body is read.
func (s *server) openForm(r *http.Request, body *uploadBody) (*form, error) {
	if err := checkUploadQuery(r.URL); err != nil {
		return nil, err
	}
	boundary, err := boundaryOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	in, err := newIntake(s.cfg, "form", projectOf(r.Context()), r.Header.Get("Idempotency-Key"),
		r.Header.Get("traceparent"))
	if err != nil {
		return nil, err
	}
	if r.ContentLength > body.limit {
		return nil, in.tooLarge()
	}
	if err := s.admitNew(r.Context()); err != nil {
		return nil, err
	}
	in.meter = newMeter(s.cfg.Quotas, in.project)
	if n := r.ContentLength; n > 0 { // the file and the form around it; close gives back what the file lacks
		if err := in.meter.take(r.Context(), max(1, n-formAround), n); err != nil {
			return nil, err
		}
	}
	return newForm(in, body, boundary), nil
}

// checkUploadQuery refuses any query: uploads send fields of the form.
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
			return "", failAt("/header/Content-Type", codeMediaType, "The request has no Content-Type.")
		}
		return "", failAt("/header/Content-Type", codeMediaType, "Content-Type is %.80q.", printable(contentType))
	}
	if err != nil || params["boundary"] == "" {
		f := failAt("/header/Content-Type", codeUploadMalformed, "Content-Type is %.80q: it has no boundary.",
			printable(contentType))
		f.remedy = "Let the library that builds the form set Content-Type: it knows the boundary."
		return "", f.because(err)
	}
	return params["boundary"], nil
}

// explain returns how the body ended if that made the upload fail, and err otherwise.
func (in *intake) explain(body *uploadBody, err error) error {
	_, large := errors.AsType[*http.MaxBytesError](body.err)
	switch {
	case large:
		return in.tooLarge()
	case body.slow:
		return fail(codeUploadSlow, "The upload was slower than %d bytes a second for too long.",
			in.cfg.Limits.MinUploadRate)
	case errors.Is(body.err, os.ErrDeadlineExceeded):
		return fail(codeUploadTimeout, "The server received no bytes for %s.", in.cfg.Limits.UploadIdle)
	case body.err != nil, errors.Is(err, context.Canceled):
		return fail(codeUploadBroken, "The body ended before the form did.").because(err)
	}
	return err
}
