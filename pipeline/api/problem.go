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
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/live"
	"github.com/reelmill/reelmill/pipeline/quota"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
)

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

	Quota *access.Standing `json:"quota,omitempty" doc:"The quota that refuses the request"`
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
	case p.Code == codeUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
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

	quota *access.Standing // that refuses the request; may be nil
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
	if f := authFailure(err); f != nil {
		return f
	}
	if e, ok := errors.AsType[*quota.Exceeded](err); ok {
		return exceeded(e)
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
	case errors.Is(err, pipeline.ErrHeld):
		return fail(codeVideoHeld, "The video has a legal hold, so it cannot be deleted.")
	case errors.Is(err, pipeline.ErrSourceGone):
		return fail(codeSourceGone, "%s.", sentence(err.Error()))
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
		Remedy: f.named(entry.remedy), Quota: f.quota,
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
