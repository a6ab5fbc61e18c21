package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// bodyTimeout bounds the body of a request that needs none.
const bodyTimeout = 10 * time.Second

// deadlineStep is how often a deadline moves while bytes flow.
const deadlineStep = time.Second

type requestIDKey struct{}

// requestID returns the id of the request of ctx.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type projectKey struct{}

// projectOf returns the project of the request of ctx.
func projectOf(ctx context.Context) string {
	p, _ := ctx.Value(projectKey{}).(string)
	return p
}

type clientKey struct{}

// clientOf returns the client of the request of ctx; see guard.clientOf.
func clientOf(ctx context.Context) netip.Prefix {
	client, _ := ctx.Value(clientKey{}).(netip.Prefix)
	return client
}

// edge wraps all handlers: it gives a request its id, deadlines and project, logs it, and answers panics.
func (s *server) edge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := r.Header.Get("X-Request-Id")
		if !pipeline.ValidName(id) {
			id = pipeline.NewID("req")
		}
		setCommonHeaders(w.Header())
		w.Header().Set("X-Request-Id", id)
		aw := newAnswer(w, s.cfg.Limits.WriteIdle)
		defer aw.finish()
		if r.Body != http.NoBody {
			aw.setReadDeadline(began.Add(bodyTimeout)) // uploads move it
		}
		r = r.WithContext(withPublic(context.WithValue(r.Context(), requestIDKey{}, id), s.cfg.PublicURL))
		defer func() {
			s.cfg.Logger.DebugContext(r.Context(), "request", "request_id", id, "method", r.Method,
				"path", shownPath(r.URL.Path), "status", aw.status, "bytes", aw.bytes, "took", time.Since(began))
		}()
		defer s.recover(aw, r)
		s.enter(aw, r, next)
	})
}

// setCommonHeaders sets what keeps an answer from being taken for a page or a script, or from being embedded
// in a page of another site. Playback replaces some of it.
func setCommonHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
}

// enter lets a request in that the guard and the limits of its client allow. Then route looks for its
// credential.
func (s *server) enter(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if s.guard.cors(w, r) { // first: a page that may read the server's answers may read refusals, too
		return
	}
	if err := s.guard.check(r); err != nil && !isAllowedPreflight(w, r) {
		s.refuseUnread(w, r, err)
		return
	}
	if err := s.checkLimits(w, r); err != nil {
		s.refuseUnread(w, r, err)
		return
	}
	next.ServeHTTP(w, r)
}

// checkLimits refuses a request that is too large, or one too many of its client. Health probes do not count:
// they may come from the address of a proxy or of a node, and must not fail when its clients send too much.
func (s *server) checkLimits(w http.ResponseWriter, r *http.Request) error {
	s.noticeProxy(r)
	if r.URL.Path != opHealth.Path && r.URL.Path != opReady.Path && !s.rates.allow(s.guard.clientOf(r)) {
		return fail(codeTooManyRequests, "Your address sends more than %d requests a second.",
			s.cfg.Limits.MaxClientRate)
	}
	return checkBounds(w, r)
}

// recover answers a panic with a problem document. When an answer has begun, it cuts the connection.
func (s *server) recover(w *answer, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // huma panics when it cannot write to a client that is gone
	}
	s.cfg.Logger.ErrorContext(r.Context(), "panic", "request_id", requestID(r.Context()), "panic", fmt.Sprint(v),
		"stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	s.refuse(w, r, fail(codeInternal, "The server has a bug, which this request triggered."))
}

// answer is a ResponseWriter that counts bytes and gives up on a client that takes none for too long.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
	moved   time.Time // when the write deadline was last moved
	status  int       // 0 before the header
	bytes   int64
	gone    bool // the connection was taken over
}

func newAnswer(w http.ResponseWriter, idle time.Duration) *answer {
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), idle: idle}
}

// Unwrap lets http.ResponseController find the connection.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *answer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.move()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.move()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Hijack implements http.Hijacker. Deadlines are then those of whoever has the connection.
func (w *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := w.control.Hijack()
	w.gone = w.gone || err == nil
	return conn, buffers, err
}

// move extends the write deadline, at most once a second.
func (w *answer) move() {
	now := time.Now()
	if w.gone || now.Sub(w.moved) < min(deadlineStep, w.idle/4) {
		return
	}
	w.moved = now
	// A writer without deadlines, as in tests, has no connection that could stall.
	_ = w.control.SetWriteDeadline(now.Add(w.idle))
}

// finish extends the deadline for the last flush, which net/http does after the handler.
func (w *answer) finish() {
	w.moved = time.Time{}
	w.move()
}

func (w *answer) setReadDeadline(at time.Time) {
	_ = w.control.SetReadDeadline(at) // as in move
}
