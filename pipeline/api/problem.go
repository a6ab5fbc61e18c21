package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/live"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
)

// code names a kind of error of the API. Codes never change their meaning.
type code string

// The codes that the API adds to those of package pipeline.
const (
	codeNotFound        code = "not_found"
	codeMethod          code = "method_not_allowed"
	codeUnauthorized    code = "unauthorized"
	codeHostUnknown     code = "host_unknown"
	codeCrossOrigin     code = "cross_origin"
	codeHeadersTooLarge code = "headers_too_large"
	codeURITooLong      code = "uri_too_long"
	codeBodyTooLarge    code = "body_too_large"
	codeTooManyRequests code = "too_many_requests"
	codeInvalid         code = "request_invalid"
	codeCursor          code = "cursor_invalid"
	codeCursorAhead     code = "cursor_ahead"
	codeWebSocket       code = "websocket_required"
	codeRange           code = "range_not_satisfiable"
	codeMediaType       code = "media_type_unsupported"
	codeUploadMalformed code = "upload_malformed"
	codeUploadBroken    code = "upload_interrupted"
	codeUploadTimeout   code = "upload_timeout"
	codeUploadSlow      code = "upload_too_slow"
	codeUploadTooLarge  code = "upload_too_large"
	codeUploadEmpty     code = "upload_empty"
	codeUploadFile      code = "upload_file_missing"
	codeFieldUnknown    code = "field_unknown"
	codeFieldRepeated   code = "field_repeated"
	codeFieldTooLarge   code = "field_too_large"
	codeFieldTooDeep    code = "field_too_deep"
	codePartHeader      code = "part_header_too_large"
	codeMetadata        code = "metadata_invalid"
	codePipelineUnknown code = "pipeline_unknown"
	codeStepInvalid     code = "*_invalid"     // * is a worker type: watermark_invalid
	codeStepMissing     code = "*_unsupported" // likewise
	codeKeyReused       code = "idempotency_key_reused"
	codeKeyBusy         code = "idempotency_key_in_use"
	codeVideoDeleted    code = "video_deleted"
	codeUploadEnded     code = "upload_ended"
	codeUploadBusy      code = "upload_busy"
	codeUploadLength    code = "upload_length_mismatch"
	codeOffset          code = "offset_mismatch"
	codeUploadMethod    code = "upload_method_mismatch"
	codeNoMultipart     code = "multipart_unsupported"
	codePartsMissing    code = "parts_missing"
	codeChecksum        code = "checksum_mismatch"
	codeTusVersion      code = "tus_version_unsupported"
	codeTusInvalid      code = "tus_request_invalid"
	codeTooManyUploads  code = "too_many_uploads"
	codeTooManyStreams  code = "too_many_streams"
	codeClientUploads   code = "too_many_client_uploads"
	codeClientStreams   code = "too_many_client_streams"
	codeTooManyVideos   code = "too_many_videos"
	codeTooManyStills   code = "too_many_thumbnails"
	codeClientStills    code = "too_many_client_thumbnails"
	codeNotPlayable     code = "not_playable"
	codeQueueFull       code = "queue_full"
	codeState           code = "state_conflict"
	codePrecondition    code = "precondition_failed"
	codeUnavailable     code = "unavailable"
	codeReadModel       code = "read_model_damaged"
	codeWebhookRefused       = code(pipeline.CodeWebhookRefused)
	codeFetchRefused         = code(pipeline.CodeFetchRefused)
	codeParameters           = code(pipeline.CodeParameters)
	codeDiskFull             = code(pipeline.CodeDiskFull)
	codeDiskReadOnly         = code(pipeline.CodeDiskReadOnly)
	codeLogFull              = code(pipeline.CodeLogFull)
	codeStorageFailed        = code(pipeline.CodeStorageFailed)
	codeInternal             = code(pipeline.CodeInternal)
)

// codeEntry says what a code means on HTTP.
type codeEntry struct {
	status    int
	title     string
	retryable bool // whether the same request may succeed later
	remedy    string
}

// codes is the table of all errors that the API answers.
var codes = map[code]codeEntry{
	codeNotFound: {404, "Not found", false, "Check the address and the id. The video may have been deleted."},
	codeMethod:   {405, "The method is not allowed here", false, "Use a method that the Allow header lists."},
	codeUnauthorized: {401, "Not authorized", false,
		"Send the credentials of a project."},
	codeHostUnknown: {421, "The host is unknown", false,
		"If the name leads to this server, start it with --allow-host (or REELMILL_ALLOW_HOST) and the name."},
	codeCrossOrigin: {403, "The request comes from another site", false,
		"If the page is yours, start the server with --allow-origin and its origin."},
	codeHeadersTooLarge: {431, "The header is too large", false, "Send fewer and shorter headers."},
	codeURITooLong:      {414, "The address is too long", false, "Send a shorter one, with fewer parameters."},
	codeBodyTooLarge:    {413, "The body is too large", false, "Send a smaller body, or none."},
	codeTooManyRequests: {429, "Too many requests from one address", true,
		"Send fewer requests a second. If a proxy sends them for many people, name it with --trusted-proxies, or " +
			"raise --max-client-rate."},
	codeInvalid: {422, "The request is invalid", false, "Correct what errors[] names."},
	codeCursor: {422, "The cursor is invalid", false,
		"Send next_cursor of the previous page unchanged, or leave cursor out for the first page."},
	codeCursorAhead: {409, "The cursor is beyond the event log", false,
		"Forget the cursor and what you have seen, since the log is another one now. Then begin without a cursor."},
	codeWebSocket: {426, "The address is that of a WebSocket", false,
		"Open it as a WebSocket. Without one, follow GET /v1/events/stream."},
	codeRange: {416, "The range is not satisfiable", false,
		"Ask for a range within the size that Content-Range gives."},
	codeMediaType: {415, "The media type is not supported", false,
		"Send multipart/form-data with the video in a part named file, or application/json with the url of the " +
			"video."},
	codeUploadMalformed: {400, "The form is malformed", false, "Send a multipart/form-data body (RFC 7578)."},
	codeUploadBroken: {400, "The upload was cut short", true,
		"Send it again. With the same Idempotency-Key it becomes one video."},
	codeUploadTimeout: {408, "The upload stalled", true,
		"Send it again over a steadier connection. With the same Idempotency-Key it becomes one video."},
	codeUploadSlow: {408, "The upload is too slow", true,
		"Send it over a faster connection, or lower --min-upload-rate on the server. With the same " +
			"Idempotency-Key it becomes one video."},
	codeUploadTooLarge: {413, "The upload is too large", false,
		"Send a smaller file, or raise --max-upload on the server."},
	codeUploadEmpty: {422, "The file is empty", false, "Check the file, then send it again."},
	codeUploadFile: {422, "There is no file", false,
		"Send the video in a part named file, with a filename."},
	codeFieldUnknown: {422, "A field is unknown", false,
		"Correct the name or leave the field out. /openapi.json describes every field."},
	codeFieldRepeated: {422, "A field appears twice", false, "Send it once."},
	codeFieldTooLarge: {413, "A field is too large", false, "Shorten it."},
	codeFieldTooDeep:  {422, "The JSON in a field is nested too deep", false, "Send JSON with fewer levels."},
	codePartHeader: {413, "The header of a part is too large", false,
		"Send only Content-Disposition and Content-Type, with a shorter file name."},
	codeMetadata: {422, "The metadata is invalid", false,
		`Send a JSON object of strings, such as {"title":"Cats"}.`},
	codePipelineUnknown: {422, "The pipeline is unknown", false, "Use a pipeline that GET /v1/pipelines lists."},
	codeStepInvalid:     {422, "The * is invalid", false, "Correct what the detail names."},
	codeStepMissing: {422, "The pipeline has no *", false,
		"Use a pipeline with a step of the worker *, or leave the * out."},
	codeKeyReused: {422, "The Idempotency-Key belongs to another request", false,
		"Use a new key for each request, and the same key for every try of it."},
	codeKeyBusy: {409, "A request with this Idempotency-Key is under way", true,
		"Wait for its answer, or send the same request again in some seconds."},
	codeVideoDeleted: {410, "The video was deleted", false,
		"Use a new Idempotency-Key to upload it again."},
	codeUploadEnded: {410, "The upload has ended", false, "Create another upload with POST /v1/uploads."},
	codeUploadBusy: {423, "Another request works on the upload", true,
		"Ask for the offset with HEAD, and go on from there. Send one request for an upload at a time."},
	codeUploadLength: {422, "The length differs from that of the upload", false,
		"Send as many bytes as the upload was created for, or create another one with the right size."},
	codeOffset: {409, "The offset is not that of the upload", true,
		"Ask for the offset with HEAD, or in GET /v1/uploads/{id}, and send what comes after it."},
	codeUploadMethod: {409, "The upload takes its bytes another way", false,
		"Send the bytes as the answer that made the upload says: to its url or content_url or, of a multipart " +
			"upload, in parts."},
	codeNoMultipart: {422, "The server has no multipart uploads", false,
		"Leave method out, and send the bytes by tus, which goes on after a broken connection, too. Only a " +
			"server whose --store is a bucket of S3 has multipart uploads."},
	codePartsMissing: {409, "Parts of the upload are missing", true,
		"Send the missing parts, for which POST parts_url answers URLs. GET parts_url lists those that have " +
			"arrived. Then complete the upload again."},
	codeChecksum: {460, "The checksum differs", true,
		"Send the same bytes again: they were changed on the way, or the checksum is of others."},
	codeTusVersion: {412, "The version of tus is not supported", false,
		"Use a client for tus 1.0, which sends Tus-Resumable: 1.0.0."},
	codeTusInvalid: {400, "The tus request is malformed", false,
		"Use a client for tus 1.0 (https://tus.io), or correct what the detail names."},
	codeTooManyUploads: {503, "Too many uploads are under way", true, "Try again after Retry-After seconds."},
	codeTooManyStreams: {503, "Too many event streams are open", true,
		"Try again after Retry-After seconds, or raise --max-streams on the server."},
	codeClientUploads: {429, "Too many uploads from one address are under way", true,
		"Wait until some have ended. If a proxy sends them for many people, name it with --trusted-proxies, or " +
			"raise --max-client-uploads."},
	codeClientStreams: {429, "Too many event streams are open to one address", true,
		"Close some. If a proxy opens them for many people, name it with --trusted-proxies."},
	codeTooManyVideos: {429, "The project has too many videos under way", true,
		"Wait until some videos end, or cancel some. Try again after Retry-After seconds."},
	codeTooManyStills: {503, "Too many thumbnails are being made", true,
		"Try again after Retry-After seconds. A thumbnail that was made is kept for a day."},
	codeClientStills: {429, "One address waits for too many thumbnails", true,
		"Ask for fewer at once, or show the storyboard, which has all of them in one image. If a proxy asks for " +
			"many people, name it with --trusted-proxies."},
	codeNotPlayable: {409, "The video has no picture at this time yet", true,
		"Wait until the video is playable, or ready: GET /v1/videos/{id}?wait=30s&until=playable tells."},
	codeQueueFull: {503, "The server has too many videos under way", true,
		"Try again after Retry-After seconds. More workers shorten the queue."},
	codeState: {409, "The state does not allow that", false,
		"Only errored jobs can be retried. If the video was canceled, retry the video; if the server rejected " +
			"the file, upload another."},
	codePrecondition: {412, "The video was changed meanwhile", false,
		"Read the video again, and send the change with its new ETag."},
	codeUnavailable: {503, "The server cannot do that now", true,
		"Try again later. The server's log names the part that failed."},
	codeReadModel: {503, "The read model is damaged", true,
		"Restart the server: it makes the read model anew from the event log. `reelmill rebuild` does the same " +
			"while the server is stopped."},
	codeWebhookRefused: {422, "The webhook address is refused", false,
		"Send an http(s) address that the server may call."},
	codeFetchRefused: {422, "The URL of the source is refused", false,
		"Send the http(s) URL of a file that the server may fetch. To allow private addresses, start servers and " +
			"workers with --fetch-allow-private."},
	codeParameters: {422, "The parameters are invalid", false, "Correct the field that the detail names."},
	codeDiskReadOnly: {503, "The disk is read-only", true,
		"Mount the disk of the server for writing again. The server then takes uploads again by itself."},
	codeDiskFull: {507, "The disk is full", true,
		"Free space on the server. It then takes uploads again by itself."},
	codeLogFull: {507, "The event log is full", true, pipeline.Describe(pipeline.CodeLogFull).Remedy},
	codeStorageFailed: {503, "The object store failed", true,
		"Try again. If that fails too, check the object store."},
	codeInternal: {500, "Internal error", true,
		"Look for this request_id in the server's log, which has the whole error."},
}

// fieldError says what is wrong with one part of a request.
type fieldError struct {
	Pointer string `json:"pointer" doc:"A JSON pointer into the request, such as /query/limit or /form/metadata"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// problemDocument is the body of every error (RFC 9457).
type problemDocument struct {
	Type      string       `json:"type" doc:"Where the code is explained; a path when the server has no --public-url"`
	Title     string       `json:"title" doc:"The code in words, always the same"`
	Status    int          `json:"status" doc:"The HTTP status"`
	Detail    string       `json:"detail" doc:"What happened this time"`
	Code      code         `json:"code" doc:"What failed"`
	Retryable bool         `json:"retryable" doc:"Whether the same request may succeed later"`
	RequestID string       `json:"request_id" doc:"Also in X-Request-Id and in the server's log"`
	Remedy    string       `json:"remedy,omitempty" doc:"What to do about it"`
	Errors    []fieldError `json:"errors,omitempty" doc:"What is wrong with each part of the request"`
}

// Error implements error.
func (p *problemDocument) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *problemDocument) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problemDocument) ContentType(string) string { return problemType }

// GetHeaders implements huma.HeadersError.
func (p *problemDocument) GetHeaders() http.Header {
	h := http.Header{"Cache-Control": {"no-store"}}
	switch {
	case p.Code == codeTooManyVideos, p.Code == codeQueueFull:
		h.Set("Retry-After", strconv.Itoa(retryBacklog))
	case p.Code == codeTooManyRequests:
		h.Set("Retry-After", "1")
	case p.Status == http.StatusServiceUnavailable, p.Status == http.StatusTooManyRequests,
		p.Status == http.StatusInsufficientStorage:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	return h
}

const (
	problemType  = "application/problem+json"
	retryAfter   = 5  // seconds
	retryBacklog = 30 // seconds: a video takes longer than a request
)

// failure is an error that is answered to the client.
type failure struct {
	code    code
	detail  string
	pointer string     // of the one part of the request that is wrong; may be empty
	remedy  string     // instead of that of the code; may be empty
	worker  string     // the worker type that a code with a star is about
	others  []*failure // what else is wrong with the request
	err     error      // the cause, for the log; may be nil
}

// Error says the code, the detail and, for the log, the cause.
func (f *failure) Error() string {
	if f.err != nil {
		return fmt.Sprintf("%s: %s: %v", f.named(string(f.code)), f.detail, f.err)
	}
	return f.named(string(f.code)) + ": " + f.detail
}

// named puts the worker type for the stars of text.
func (f *failure) named(text string) string { return strings.ReplaceAll(text, "*", f.worker) }

// Unwrap returns the cause, or nil.
func (f *failure) Unwrap() error { return f.err }

func fail(c code, format string, args ...any) *failure {
	return &failure{code: c, detail: fmt.Sprintf(format, args...)}
}

// failAt is fail for one part of the request.
func failAt(pointer string, c code, format string, args ...any) *failure {
	f := fail(c, format, args...)
	f.pointer = pointer
	return f
}

// failAll returns one failure of several, or nil for none. Its code is that of the first.
func failAll(wrong []*failure) error {
	if len(wrong) == 0 {
		return nil
	}
	first := *wrong[0]
	first.others = wrong[1:min(len(wrong), maxErrors)]
	if len(first.others) > 0 {
		first.remedy = codes[codeInvalid].remedy
	}
	return &first
}

// maxErrors bounds how many mistakes of a request are answered.
const maxErrors = 20

// joinMistakes returns one failure that names everything that is wrong with a request, or nil for nothing. An
// error that is no mistake of the client is returned alone. What is said of a part first stands.
func joinMistakes(errs ...error) error {
	var all []*failure
	for _, err := range errs {
		if err == nil {
			continue
		}
		f, ok := errors.AsType[*failure](err)
		if !ok || codes[f.code].status >= http.StatusInternalServerError {
			return err
		}
		alone := *f
		alone.others = nil
		for _, one := range append([]*failure{&alone}, f.others...) {
			said := func(other *failure) bool { return other.pointer == one.pointer }
			if one.pointer == "" || !slices.ContainsFunc(all, said) {
				all = append(all, one)
			}
		}
	}
	return failAll(all)
}

// because gives the failure its cause.
func (f *failure) because(err error) *failure {
	f.err = err
	return f
}

// classify turns any error into a failure. An error that it does not know is internal: the log has it, and
// the answer does not.
func classify(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if p, ok := errors.AsType[*pipeline.Error](err); ok {
		if _, known := codes[code(p.Code)]; known && code(p.Code) != codeInternal {
			return fail(code(p.Code), "%s", p.Detail).because(err)
		}
	}
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		return fail(codeNotFound, "There is no such video.")
	case errors.Is(err, pipeline.ErrDeleted):
		return fail(codeVideoDeleted, "The video that was uploaded with this key was deleted.")
	case errors.Is(err, pipeline.ErrState):
		return fail(codeState, "%s.", sentence(strings.TrimSuffix(err.Error(), ": "+pipeline.ErrState.Error())))
	case errors.Is(err, pipeline.ErrReused):
		return fail(codeKeyReused, "This key belongs to an upload with another file or other fields.")
	case errors.Is(err, catalog.ErrCursor):
		return failAt("/query/cursor", codeCursor, "The cursor is not one that this list returned.")
	case errors.Is(err, live.ErrAhead):
		return fail(codeCursorAhead, "%s.", sentence(err.Error()))
	case errors.Is(err, catalog.ErrDamaged):
		return fail(codeReadModel, "The read model, from which the server answers, is damaged.").because(err)
	case errors.Is(err, storage.ErrFull):
		return fail(codeDiskFull, "The object store is full.").because(err)
	case errors.Is(err, storage.ErrUnavailable):
		return fail(codeStorageFailed, "The object store does not answer.").because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, catalog.ErrClosed):
		return fail(codeUnavailable, "The request was not answered in time.").because(err)
	}
	return fail(codeInternal, "The server failed in an unexpected way.").because(err)
}

// sentence begins text with a capital letter.
func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// noSuch turns pipeline.ErrNotFound into a failure that names what is missing, and returns other errors as
// they are.
func noSuch(thing string, err error) error {
	if errors.Is(err, pipeline.ErrNotFound) {
		return fail(codeNotFound, "There is no such %s.", thing)
	}
	return err
}

// document returns the answer to the request of ctx.
func (f *failure) document(ctx context.Context) *problemDocument {
	entry, code := codes[f.code], code(f.named(string(f.code)))
	p := &problemDocument{
		Type: problemURL(ctx, string(code)), Title: f.named(entry.title), Status: entry.status,
		Detail: f.detail, Code: code, Retryable: entry.retryable, RequestID: requestID(ctx),
		Remedy: f.named(entry.remedy),
	}
	if f.remedy != "" {
		p.Remedy = f.remedy
	}
	if f.pointer != "" {
		p.Errors = []fieldError{{f.pointer, string(code), f.detail}}
	}
	for _, o := range f.others {
		p.Errors = append(p.Errors, fieldError{o.pointer, o.named(string(o.code)), o.detail})
		p.Detail += " " + o.detail
	}
	return p
}

type publicKey struct{}

// withPublic returns a context in which the addresses of problems begin with public.
func withPublic(ctx context.Context, public string) context.Context {
	return context.WithValue(ctx, publicKey{}, public)
}

// problemURL returns the address of a code in the catalogue of errors. Without --public-url it is a path, as
// all addresses in answers (RFC 9457, 3.1.1, allows a relative reference).
func problemURL(ctx context.Context, code string) string {
	public, _ := ctx.Value(publicKey{}).(string)
	return public + "/docs/errors#" + code
}

// fromHuma turns huma's own errors into problem documents, and returns other values as they are.
func fromHuma(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := fail(codeInvalid, "%s", m.Detail).document(ctx.Context())
	var details []string
	for _, e := range m.Errors[:min(len(m.Errors), maxErrors)] {
		detail := explainParameter(ctx.Operation(), e)
		details = append(details, detail)
		at := "/" + strings.ReplaceAll(wholeOf(e.Location), ".", "/")
		p.Errors = append(p.Errors, fieldError{Pointer: at, Code: string(codeInvalid), Detail: detail})
	}
	if len(details) > 0 {
		p.Detail = strings.Join(details, " ")
	}
	return p, nil
}

// wholeOf returns the location of a list for that of an element, such as query.status[1].
func wholeOf(location string) string {
	if strings.HasPrefix(location, "query.") {
		location, _, _ = strings.Cut(location, "[")
	}
	return location
}

// explainParameter says what is wrong with a parameter, and lists the values that it may have.
func explainParameter(op *huma.Operation, e *huma.ErrorDetail) string {
	in, name, _ := strings.Cut(wholeOf(e.Location), ".")
	value := printable(fmt.Sprint(e.Value))
	for _, p := range op.Parameters {
		if p.In != in || p.Name != name || p.Schema == nil {
			continue
		}
		values := p.Schema.Enum
		if p.Schema.Items != nil {
			values = p.Schema.Items.Enum
		}
		if len(values) == 0 {
			continue
		}
		var known []string
		for _, v := range values {
			known = append(known, fmt.Sprint(v))
		}
		return sentence(pipeline.Unknown("value of "+name, value, known)) + "."
	}
	if strings.HasPrefix(e.Message, "invalid date/time") {
		return fmt.Sprintf("The parameter %s is %.40q; write a time such as 2026-11-26T18:00:00Z.", name, value)
	}
	return fmt.Sprintf("The parameter %s is %.40q: %s.", name, value, e.Message)
}

// refuse answers err, for handlers that are not huma's.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problem(r.Context(), err)
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	doc, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(doc); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "write problem", "request_id", p.RequestID, "error", err)
	}
}

// problem returns the answer to err, and logs err with its cause: as an error when the server is at fault.
func (s *server) problem(ctx context.Context, err error) *problemDocument {
	f := classify(err)
	p := f.document(ctx)
	level := slog.LevelDebug // the client is at fault, or gone
	switch {
	case ctx.Err() != nil:
	case p.Status == http.StatusServiceUnavailable, p.Status == http.StatusInsufficientStorage:
		level = slog.LevelWarn // the client may try again later
	case p.Status >= 500:
		level = slog.LevelError
	}
	s.cfg.Logger.Log(ctx, level, "request failed", "request_id", p.RequestID, "code", p.Code, "error", f)
	return p
}
