package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/storage"
)

// uploadMethod is how the bytes of an upload come.
type uploadMethod string

const (
	byTus       uploadMethod = "tus"       // through the server: by tus, or with one PUT
	byMultipart uploadMethod = "multipart" // straight to the bucket, in parts, to presigned URLs
)

// presignTTL is how long the URL of a part can be used, unless uploads expire sooner.
const presignTTL = time.Hour

var (
	opPresignParts = huma.Operation{
		OperationID: "presign-parts", Method: http.MethodPost, Path: "/v1/uploads/{id}/parts",
		Tags: []string{"uploads"}, DefaultStatus: http.StatusOK,
		Summary: "Ask for the URLs of parts of a multipart upload",
		Description: "Each URL takes PUTs of the bytes of its part, until `expires_at`. Their number is part of " +
			"the signature: the bucket refuses any other. A part may be sent again; the last one counts.",
	}
	opListParts = huma.Operation{
		OperationID: "list-parts", Method: http.MethodGet, Path: "/v1/uploads/{id}/parts",
		Tags: []string{"uploads"}, Summary: "List the parts of a multipart upload that have arrived",
		Description: "As the bucket tells, in the order of their numbers. A client that goes on sends the others.",
	}
)

// routeParts lists the routes of multipart uploads. A server without them refuses to make such an upload.
func (s *server) routeParts() {
	handle(s, opPresignParts, s.presignParts)
	handle(s, opListParts, s.listParts)
	s.mux.HandleFunc("POST /v1/uploads/{id}/complete", s.checkedQuery(s.completeUpload))
}

// takeMethod reads how the bytes are to come.
func (in *intake) takeMethod(o *uploadOrder, text string) error {
	switch m := uploadMethod(text); m {
	case byTus:
		o.method = ""
	case byMultipart:
		o.method = m
	default:
		return in.fail("method", codeInvalid, "method is %.40q; it can be tus or multipart.", printable(text))
	}
	return nil
}

// checkMethod refuses a multipart upload that the store cannot take.
func (s *server) checkMethod(in *intake, o uploadOrder) error {
	switch {
	case o.method != byMultipart:
		return nil
	case s.parts == nil:
		return in.fail("method", codeNoMultipart, "The server keeps its objects in a folder, not in a bucket.")
	case o.size == 0:
		return in.fail("size", codeInvalid, "A multipart upload needs its size.")
	}
	return nil
}

// wantMethod refuses a request for an upload whose bytes come another way.
func (d uploadDoc) wantMethod(want uploadMethod) error {
	if isParts := d.Method == byMultipart; isParts != (want == byMultipart) {
		if isParts {
			return fail(codeUploadMethod, "The bytes of this upload come in parts, straight to the bucket.")
		}
		return fail(codeUploadMethod, "The upload is not a multipart upload.")
	}
	return nil
}

// beginParts begins the upload in the bucket, and notes the size of its parts. It may be repeated.
func (s *server) beginParts(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	if d.PartSize > 0 || d.Status.ended() {
		return d, nil
	}
	d, unlock, err := s.lockUpload(ctx, d)
	if err != nil {
		return d, err
	}
	defer unlock()
	if d.PartSize > 0 || d.Status.ended() {
		return d, nil
	}
	m, err := s.parts.BeginMultipart(ctx, d.Key, d.Size)
	if errors.Is(err, storage.ErrSize) {
		return d, failAt("/body/size", codeUploadTooLarge, "The bucket takes no file of %d bytes.", d.Size)
	}
	if err != nil {
		return d, ofStore(err)
	}
	d.PartSize = m.PartSize
	return d, s.saveUpload(ctx, d, false)
}

// lockUpload waits until nobody works on an upload, and returns its document as the one before has left it.
func (s *server) lockUpload(ctx context.Context, d uploadDoc) (uploadDoc, func(), error) {
	waiting, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, err := s.locks.lock(waiting, d.ID, func() {})
	if err != nil {
		return d, nil, err
	}
	if d, err = s.loadUpload(ctx, d.Project, d.ID); err != nil {
		unlock()
		return d, nil, noSuch("upload", err)
	}
	return d, unlock, nil
}

// multipartOf returns the multipart upload that a segment of a path names: by its token, from anywhere, or by
// its id.
func (s *server) multipartOf(ctx context.Context, named string) (d uploadDoc, err error) {
	if _, isToken := parseToken(named); isToken {
		d, err = s.uploadOf(ctx, named)
	} else if d, err = s.loadUpload(ctx, projectOf(ctx), named); err != nil {
		err = noSuch("upload", err)
	}
	if err == nil {
		err = d.wantMethod(byMultipart)
	}
	return d, err
}

type presignInput struct {
	ID   string `path:"id" doc:"The upload's id, or the token in its parts_url"`
	Body struct {
		Numbers []int `json:"numbers" minItems:"1" maxItems:"1000" doc:"Of the parts; the first part has number 1"`
	}
}

// partURL is where the bytes of a part go.
type partURL struct {
	Number int    `json:"number"`
	Size   int64  `json:"size" doc:"Bytes of the part: the URL takes exactly as many"`
	URL    string `json:"url" doc:"Where a PUT sends them. Whoever has it can send this part"`
}

type presigned struct {
	ExpiresAt time.Time `json:"expires_at" doc:"When the URLs end; ask again for what is not sent by then"`
	Parts     []partURL `json:"parts"`
}

type presignOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         presigned
}

func (s *server) presignParts(ctx context.Context, in *presignInput) (*presignOutput, error) {
	d, err := s.openParts(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	m := storage.Multipart{Size: d.Size, PartSize: d.PartSize}
	for i, number := range in.Body.Numbers {
		if m.SizeOf(number) == 0 {
			return nil, failAt("/body/numbers/"+strconv.Itoa(i), codeInvalid,
				"There is no part %d; the parts are 1 to %d.", number, m.Parts())
		}
	}
	ttl := max(time.Second, min(presignTTL, s.cfg.Limits.UploadExpires))
	expires := time.Now().UTC().Add(ttl)
	parts, err := s.parts.PresignParts(ctx, d.Key, in.Body.Numbers, ttl)
	if err != nil {
		return nil, ofParts(err)
	}
	out := presigned{ExpiresAt: expires}
	for _, p := range parts {
		out.Parts = append(out.Parts, partURL{p.Number, p.Size, p.URL})
	}
	return &presignOutput{"no-store", out}, nil
}

// openParts returns a multipart upload that takes parts, and puts off its expiry: the client lives.
func (s *server) openParts(ctx context.Context, named string) (uploadDoc, error) {
	d, err := s.multipartOf(ctx, named)
	if err != nil {
		return d, err
	}
	if d, err = s.touchNow(ctx, d); err != nil {
		return d, err
	}
	if d.Status.ended() {
		return d, fail(codeUploadEnded, "The upload is %s.", d.Status)
	}
	return s.beginParts(ctx, d) // the request that made it may have died before
}

// touchNow is touch, unless somebody works on the upload.
func (s *server) touchNow(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	unlock := s.locks.try(d.ID)
	if unlock == nil {
		return d, nil
	}
	defer unlock()
	d, err := s.loadUpload(ctx, d.Project, d.ID)
	if err != nil {
		return d, noSuch("upload", err)
	}
	return s.touch(ctx, d), nil
}

// ofParts is ofStore for an upload in the bucket, which others can abort.
func ofParts(err error) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fail(codeUploadEnded, "The bucket has no such upload any more: a rule of the bucket, or somebody, "+
			"has aborted it.").because(err)
	case errors.Is(err, storage.ErrSize):
		return fail(codePartsMissing, "Parts have not arrived, or have another size.").because(err)
	}
	return ofStore(err)
}

type listPartsInput struct {
	ID     string `path:"id" doc:"The upload's id, or the token in its parts_url"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"Parts on a page"`
	Cursor string `query:"cursor" maxLength:"16" doc:"The next_cursor of the previous page"`
}

// arrivedPart is a part that the bucket has.
type arrivedPart struct {
	Number int   `json:"number"`
	Size   int64 `json:"size" doc:"Bytes of the part"`
}

type listPartsOutput struct{ Body list[arrivedPart] }

func (s *server) listParts(ctx context.Context, in *listPartsInput) (*listPartsOutput, error) {
	after := 0
	if in.Cursor != "" {
		var err error
		if after, err = strconv.Atoi(in.Cursor); err != nil || after < 1 {
			return nil, failAt("/query/cursor", codeCursor, "The cursor is not one that this list returned.")
		}
	}
	d, err := s.openParts(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	m, numbers, err := s.arrived(ctx, d)
	if err != nil {
		return nil, err
	}
	from, found := slices.BinarySearch(numbers, after)
	if found {
		from++
	}
	numbers = numbers[from:]
	next := ""
	if len(numbers) > in.Limit {
		numbers = numbers[:in.Limit]
		next = strconv.Itoa(numbers[in.Limit-1])
	}
	parts := []arrivedPart{}
	for _, n := range numbers {
		parts = append(parts, arrivedPart{n, m.SizeOf(n)})
	}
	return &listPartsOutput{newList(parts, next)}, nil
}

// arrived returns the parts that have arrived: all, when the object is made and its video is not.
func (s *server) arrived(ctx context.Context, d uploadDoc) (storage.Multipart, []int, error) {
	m, numbers, err := s.parts.ArrivedParts(ctx, d.Key)
	if !errors.Is(err, storage.ErrNotFound) {
		return m, numbers, ofParts(err)
	}
	lost := err
	m = storage.Multipart{Size: d.Size, PartSize: d.PartSize}
	info, err := s.cfg.Store.Stat(ctx, d.Key)
	if errors.Is(err, storage.ErrNotFound) {
		return m, nil, ofParts(lost)
	}
	if err != nil || info.Size != d.Size {
		return m, nil, ofParts(errors.Join(err, lost))
	}
	for n := range m.Parts() {
		numbers = append(numbers, n+1)
	}
	return m, numbers, nil
}

// partBytes returns how many bytes the parts have that have arrived: none of an upload that is not begun, or
// that the bucket has lost.
func (s *server) partBytes(ctx context.Context, d uploadDoc) (n int64, err error) {
	if d.PartSize == 0 {
		return 0, nil
	}
	m, numbers, err := s.arrived(ctx, d)
	if err != nil && classify(err).code == codeUploadEnded {
		return 0, nil
	}
	for _, number := range numbers {
		n += m.SizeOf(number)
	}
	return n, err
}

// completeUpload makes the video of a multipart upload. It may be repeated.
func (s *server) completeUpload(w http.ResponseWriter, r *http.Request) {
	view, err := s.completeParts(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	s.writeJSON(w, r, http.StatusOK, view)
}

func (s *server) completeParts(r *http.Request) (view uploadView, err error) {
	leave, err := s.enterUpload(r.Context(), r) // the server reads all bytes once
	if err != nil {
		return view, err
	}
	defer leave()
	d, err := s.multipartOf(r.Context(), r.PathValue("id"))
	if err != nil {
		return view, err
	}
	d, unlock, err := s.lockUpload(r.Context(), d)
	if err != nil {
		return view, err
	}
	defer unlock()
	if err := mayReceive(d); err != nil {
		return view, err
	}
	if d.Status != uploadCompleted {
		if d, err = s.wholeUpload(context.WithoutCancel(r.Context()), d); err != nil {
			return view, err
		}
	}
	return s.viewUpload(d, d.Size, uploadToken{}), nil
}

// wholeUpload makes the video of a multipart upload, unless parts are missing. From then on whoever sees the
// upload makes the video, if this server dies before it has.
func (s *server) wholeUpload(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	if !d.Completing {
		m, numbers, err := s.arrived(ctx, d)
		if err != nil {
			return d, err
		}
		if missing := missingParts(m, numbers); missing != "" {
			return d, fail(codePartsMissing, "Of %d parts, these have not arrived: %s.", m.Parts(), missing)
		}
		d.Completing = true
		if err := s.saveUpload(ctx, d, false); err != nil {
			return d, err
		}
	}
	return s.finishUpload(ctx, s.touch(ctx, d))
}

// maxMissing bounds how many ranges of parts a failure names.
const maxMissing = 50

// missingParts names the parts that have not arrived, such as "2, 5-7"; empty for none.
func missingParts(m storage.Multipart, arrived []int) string {
	var ranges []string
	next := 1
	for _, n := range append(slices.Clone(arrived), m.Parts()+1) {
		switch {
		case n == next+1:
			ranges = append(ranges, strconv.Itoa(next))
		case n > next:
			ranges = append(ranges, fmt.Sprintf("%d-%d", next, n-1))
		}
		next = n + 1
	}
	if len(ranges) > maxMissing {
		ranges = append(ranges[:maxMissing], "and more")
	}
	return strings.Join(ranges, ", ")
}

// joinParts makes the source of the parts, and reads it once: nobody has seen the bytes yet.
func (s *server) joinParts(ctx context.Context, d uploadDoc) (storage.Info, error) {
	if _, err := s.parts.CompleteMultipart(ctx, d.Key); err != nil {
		return storage.Info{}, ofParts(err)
	}
	info, err := storage.Sum(ctx, s.cfg.Store, d.Key)
	if err == nil && info.Size != d.Size {
		err = fmt.Errorf("the object has %d bytes, want %d: %w", info.Size, d.Size, storage.ErrSize)
	}
	if err != nil {
		return info, ofStore(err)
	}
	return info, nil
}
