package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

var (
	opGetUpload = huma.Operation{
		OperationID: "get-upload", Method: http.MethodGet, Path: "/v1/uploads/{id}", Tags: []string{"uploads"},
		Summary: "Read an upload: its status, and how many bytes the server keeps",
		Description: "It lacks `url` and `content_url`: the server keeps only a hash of the token in them. " +
			"An upload can be read until 24 hours after its end.",
	}
	opListUploads = huma.Operation{
		OperationID: "list-uploads", Method: http.MethodGet, Path: "/v1/uploads", Tags: []string{"uploads"},
		Summary: "List the uploads", Description: "In the reverse order of their ids. An upload without an " +
			"Idempotency-Key has an id that sorts by time.",
	}
	opCancelUpload = huma.Operation{
		OperationID: "cancel-upload", Method: http.MethodPost, Path: "/v1/uploads/{id}/cancel",
		Tags: []string{"uploads"}, Summary: "Cancel an upload", DefaultStatus: http.StatusOK,
		Description: "A request that sends bytes is cut off, and the bytes are removed. Canceling it again " +
			"answers the same. An upload that is completed is a `state_conflict`: cancel its video.",
	}
)

// routeUploads lists the routes of uploads, if the store takes objects in pieces.
func (s *server) routeUploads() error {
	if s.pieces == nil {
		return nil
	}
	if err := s.openTus(); err != nil {
		return err
	}
	s.mux.HandleFunc("POST /v1/uploads", s.checkedQuery(s.postUpload))
	handle(s, opListUploads, s.listUploads)
	handle(s, opGetUpload, s.getUpload)
	handle(s, opCancelUpload, s.cancelUpload)
	s.routeParts()
	s.mux.HandleFunc("PUT /v1/uploads/{token}/content", s.checkedQuery(s.putContent))
	for _, path := range []string{"/v1/tus", "/v1/tus/{$}"} { // clients write both
		s.mux.HandleFunc("POST "+path, s.checkedQuery(s.createByTus))
		s.mux.HandleFunc("OPTIONS "+path, s.tusOptions)
	}
	for _, method := range []string{http.MethodHead, http.MethodPatch, http.MethodDelete, http.MethodPost} {
		s.mux.HandleFunc(method+" /v1/tus/{token}", s.checkedQuery(s.resumeByTus))
	}
	s.mux.HandleFunc("OPTIONS /v1/tus/{token}", s.tusOptions)
	return nil
}

// uploadView is an upload as it is answered.
type uploadView struct {
	ID         string         `json:"id" doc:"upl_ and 26 letters and digits"`
	Status     uploadState    `json:"status" enum:"waiting,uploading,completed,errored,canceled,expired"`
	Video      string         `json:"video_id" doc:"The id that the video has once the upload is completed"`
	Filename   string         `json:"filename" doc:"As the uploader called it"`
	Method     uploadMethod   `json:"method" enum:"tus,multipart" doc:"How the bytes come: tus means by tus 1.0 or with one PUT"`
	Size       *int64         `json:"size" doc:"Bytes of the whole file; null if it is not known yet"`
	Offset     int64          `json:"offset" doc:"Bytes that the server keeps; a client goes on from there. With multipart, bytes of whole parts in the bucket"`
	PartSize   *int64         `json:"part_size" doc:"With multipart, bytes of each part; the last one has what is left. Otherwise null"`
	URL        string         `json:"url,omitempty" doc:"Where tus clients send the bytes; only in the answer to POST"`
	ContentURL string         `json:"content_url,omitempty" doc:"Where one PUT sends the bytes; only in the answer to POST"`
	PartsURL   string         `json:"parts_url,omitempty" doc:"Where a client asks for the URLs of parts (POST) and what has arrived (GET); with multipart, only in the answer to POST"`
	Complete   string         `json:"complete_url,omitempty" doc:"Where a POST says that all parts are sent; with multipart, only in the answer to POST"`
	CreatedAt  time.Time      `json:"created_at"`
	ExpiresAt  *time.Time     `json:"expires_at" doc:"When the upload ends if no further byte comes; null after its end"`
	EndedAt    *time.Time     `json:"ended_at" doc:"When it was completed, errored, canceled or expired"`
	Problem    *uploadProblem `json:"error" doc:"Why no video can be made of it; null otherwise"`
}

// viewUpload describes an upload of which offset bytes are kept. The zero token adds no URLs.
func (s *server) viewUpload(d uploadDoc, offset int64, t uploadToken) uploadView {
	v := uploadView{
		ID: d.ID, Status: d.Status, Video: d.Video, Filename: d.Filename, Offset: offset,
		CreatedAt: d.CreatedAt, Problem: d.Problem, Method: cmp.Or(d.Method, byTus),
	}
	if d.PartSize > 0 {
		v.PartSize = &d.PartSize
	}
	if d.Size > 0 {
		v.Size = &d.Size
	}
	if d.Status == uploadWaiting && offset > 0 {
		v.Status = uploadUploading
	}
	if d.Status.ended() {
		v.EndedAt = &d.EndedAt
	} else {
		v.ExpiresAt = &d.ExpiresAt
	}
	switch at := s.cfg.PublicURL + "/v1/uploads/" + t.String(); {
	case t == uploadToken{}:
	case d.Method == byMultipart:
		v.PartsURL, v.Complete = at+"/parts", at+"/complete"
	default:
		v.URL, v.ContentURL = s.tusURL(t), at+"/content"
	}
	return v
}

// tusURL returns the URL of an upload for tus clients.
func (s *server) tusURL(t uploadToken) string { return s.cfg.PublicURL + "/v1/tus/" + t.String() }

// postUpload answers POST /v1/uploads.
func (s *server) postUpload(w http.ResponseWriter, r *http.Request) {
	in, err := newIntake(s.cfg, "body", projectOf(r.Context()), "", r.Header.Get("traceparent"))
	if err != nil {
		s.refuseUnread(w, r, err)
		return
	}
	in.token = grantOf(r.Context()).Token
	order, err := in.readOrder(w, r, uploadFields())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	key := keyFor(r.Context(), r.Header.Get("Idempotency-Key"))
	d, token, replayed, err := s.createUpload(r.Context(), in, order, key)
	if err != nil {
		s.refuse(w, r, in.tokenUsed(err))
		return
	}
	if d.Method == byMultipart {
		if d, err = s.beginParts(r.Context(), d); err != nil {
			s.refuse(w, r, err)
			return
		}
	}
	var offset int64
	if replayed {
		if offset, err = s.kept(r.Context(), d); err != nil {
			s.refuse(w, r, err)
			return
		}
		w.Header().Set("Idempotency-Replayed", "true")
	}
	w.Header().Set("Location", s.cfg.PublicURL+"/v1/uploads/"+d.ID)
	w.Header().Set("Cache-Control", "no-store") // the URLs are secrets
	s.writeJSON(w, r, http.StatusCreated, s.viewUpload(d, offset, token))
}

// createUpload writes the document of a new upload, or finds the one that belongs to an idempotency key.
func (s *server) createUpload(ctx context.Context, in *intake, o uploadOrder, key string) (
	d uploadDoc, t uploadToken, replayed bool, err error,
) {
	if joinMistakes(o.wrong...) != nil {
		return d, t, false, in.checkOrder(o)
	}
	d, err = s.newUpload(in, o, key)
	if err != nil {
		return d, t, false, err
	}
	if key != "" { // a repeated request is answered also when the server takes no new uploads
		before, err := s.loadUpload(ctx, d.Project, d.ID)
		if !errors.Is(err, pipeline.ErrNotFound) {
			return replayUpload(before, d, key, err)
		}
	}
	if err := in.checkOrder(o); err != nil {
		return d, t, false, err
	}
	if err := s.checkMethod(in, o); err != nil {
		return d, t, false, err
	}
	if err := s.admitNew(ctx); err != nil {
		return d, t, false, err
	}
	if !s.waiting.add(s.cfg.Limits.MaxWaitingUploads) {
		return d, t, false, fail(codeTooManyUploads, "%d uploads have not ended, which is the limit.",
			s.cfg.Limits.MaxWaitingUploads)
	}
	if d, err = s.reserve(ctx, d); err != nil {
		s.waiting.ended()
		return d, t, false, err
	}
	t = newToken(&d, key)
	err = s.saveUpload(ctx, d, true)
	if errors.Is(err, storage.ErrExists) { // another request with the key came first
		s.waiting.ended()
		s.release(ctx, d, 0)
		before, err := s.loadUpload(ctx, d.Project, d.ID)
		return replayUpload(before, d, key, err)
	}
	return d, t, false, err
}

// newUpload returns the document of an upload, without a token.
func (s *server) newUpload(in *intake, o uploadOrder, key string) (uploadDoc, error) {
	now := time.Now().UTC()
	d := uploadDoc{
		ID: pipeline.NewID("upl"), Project: in.project, Video: in.video,
		Filename: cleanFilename(o.filename), Size: o.size, Request: o.req, TusMetadata: o.tus,
		TraceParent: in.parent, Status: uploadWaiting, CreatedAt: now, Method: o.method,
		ExpiresAt: now.Add(s.cfg.Limits.UploadExpires),
	}
	if in.token != nil {
		d.Types = in.token.Types
	}
	if key != "" {
		if err := checkKey(key); err != nil {
			return d, err
		}
		order := []any{o.filename, o.size, d.Request}
		if o.method != "" { // the hashes of orders without a method stay as they were
			order = append(order, o.method)
		}
		asked, err := json.Marshal(order)
		if err != nil {
			return d, fmt.Errorf("encode request: %w", err)
		}
		sum := sha256.Sum256(asked)
		d.RequestHash = hex.EncodeToString(sum[:])
		d.ID = pipeline.DerivedID("upl", sha256.Sum256([]byte("upload\n"+in.project+"\n"+key)))
	}
	d.Key = pipeline.SourceKey(d.Video, d.ID+extension(d.Filename))
	return d, nil
}

// replayUpload answers a repeated request with the upload that the first one made; err is that of reading it.
func replayUpload(before, again uploadDoc, key string, err error) (uploadDoc, uploadToken, bool, error) {
	if err != nil {
		return before, uploadToken{}, false, noSuch("upload", err)
	}
	if before.RequestHash != again.RequestHash {
		return before, uploadToken{}, false, pipeline.ErrReused
	}
	t, err := reopenToken(before, key)
	return before, t, true, err
}

type uploadInput struct {
	ID string `path:"id" doc:"The upload's id"`
}

type uploadOutput struct{ Body uploadView }

// getUpload also does what a lost answer or a crash has left undone: it makes the video of an upload whose
// bytes are all kept.
func (s *server) getUpload(ctx context.Context, in *uploadInput) (*uploadOutput, error) {
	d, err := s.loadUpload(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, noSuch("upload", err)
	}
	offset, err := s.kept(ctx, d)
	if err != nil {
		return nil, err
	}
	if unlock := s.locks.try(d.ID); unlock != nil {
		defer unlock()
		if d, err = s.repair(ctx, d, offset); err != nil {
			_ = s.problem(ctx, err) // which logs it: the answer is the state, whose repair is tried again
		}
	}
	return &uploadOutput{s.viewUpload(d, offset, uploadToken{})}, nil
}

type listUploadsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Uploads on a page"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The next_cursor of the previous page"`
}

type uploadsOutput struct{ Body list[uploadView] }

// listUploads reads the documents of one page. Only their keys are listed to the end.
func (s *server) listUploads(ctx context.Context, in *listUploadsInput) (*uploadsOutput, error) {
	if in.Cursor != "" && !pipeline.ValidName(in.Cursor) {
		return nil, failAt("/query/cursor", codeCursor, "The cursor is not one that this list returned.")
	}
	var ids []string
	for info, err := range s.cfg.Store.List(ctx, uploadsPrefix+projectOf(ctx)+"/") {
		if err != nil {
			return nil, ofStore(err)
		}
		if _, id, ok := locateUpload(info.Key); ok && (in.Cursor == "" || id < in.Cursor) {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids)
	next := ""
	if len(ids) > in.Limit {
		ids = ids[:in.Limit]
		next = ids[in.Limit-1]
	}
	views := []uploadView{}
	for _, id := range ids {
		d, err := s.loadUpload(ctx, projectOf(ctx), id)
		if errors.Is(err, pipeline.ErrNotFound) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		offset, err := s.kept(ctx, d)
		if err != nil {
			return nil, err
		}
		views = append(views, s.viewUpload(d, offset, uploadToken{}))
	}
	return &uploadsOutput{newList(views, next)}, nil
}

func (s *server) cancelUpload(ctx context.Context, in *uploadInput) (*uploadOutput, error) {
	if _, err := s.loadUpload(ctx, projectOf(ctx), in.ID); err != nil {
		return nil, noSuch("upload", err)
	}
	waiting, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, err := s.locks.lock(waiting, in.ID, func() {})
	if err != nil {
		return nil, err
	}
	defer unlock()
	d, err := s.loadUpload(ctx, projectOf(ctx), in.ID) // as the request before has left it
	if err != nil {
		return nil, noSuch("upload", err)
	}
	if d, err = s.stopUpload(ctx, d); err != nil {
		return nil, err
	}
	return &uploadOutput{s.viewUpload(d, 0, uploadToken{})}, nil
}

// stopUpload cancels an upload that somebody holds the lock of.
func (s *server) stopUpload(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	if d.Status == uploadCanceled {
		return d, nil
	}
	if !d.Status.ended() {
		done, err := s.hasVideo(ctx, d)
		if err != nil {
			return d, err
		}
		if !done {
			return s.endUpload(ctx, d, uploadCanceled, nil)
		}
	}
	f := fail(codeState, "The upload is %s.", d.Status)
	if f.remedy = "It has ended; nothing of it is kept."; d.Status == uploadCompleted || !d.Status.ended() {
		f = fail(codeState, "The upload is completed.")
		f.remedy = "Cancel or delete its video, " + d.Video + "."
	}
	return d, f
}
