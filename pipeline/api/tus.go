package api

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"

	"github.com/reelmill/reelmill/storage"
)

// tus 1.0 (https://tus.io/protocols/resumable-upload) is spoken by tusd's handler. This file adds what tusd
// lacks: tokens, the extensions expiration and checksum, our limits, and errors as problem documents.

const (
	tusVersion    = "1.0.0"
	tusAlgorithms = "sha1,sha256,md5"
	tusBytes      = "application/offset+octet-stream"
)

// tusHash returns a new hash of an algorithm of tusAlgorithms; nil for others.
func tusHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha1": // of the protocol; it finds accidents, not attacks
		return sha1.New()
	case "sha256":
		return sha256.New()
	case "md5":
		return md5.New()
	}
	return nil
}

// openTus makes tusd's handler. It answers no CORS, which is the edge's, and its log is that of the edge.
func (s *server) openTus() error {
	composer := handler.NewStoreComposer()
	composer.UseCore(tusStore{})
	composer.UseTerminater(tusStore{})
	composer.UseLengthDeferrer(tusStore{})
	composer.UseLocker(s.locks)
	silent := slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.Level(100)})
	tusd, err := handler.NewHandler(handler.Config{
		StoreComposer: composer, BasePath: "/v1/tus/", MaxSize: s.cfg.Limits.MaxUpload, DisableDownload: true,
		Cors: &handler.CorsConfig{Disable: true}, AcquireLockTimeout: lockTimeout,
		// The store has contexts of its own, which do not end with a request.
		GracefulRequestCompletionTimeout: time.Nanosecond,
		Logger:                           slog.New(silent),
	})
	if err != nil {
		return fmt.Errorf("tus: %w", err)
	}
	s.tusd, s.tusExtensions = tusd, tusd.SupportedExtensions()+",expiration,checksum"
	return nil
}

// tusOptions tells what the server can do.
func (s *server) tusOptions(w http.ResponseWriter, r *http.Request) {
	s.serveTus(w, r, &tusCall{s: s, r: r})
}

// createByTus creates an upload, perhaps with its first bytes.
func (s *server) createByTus(w http.ResponseWriter, r *http.Request) {
	r = overridden(r)
	if r.Method != http.MethodPost {
		s.refuseUnread(w, r, fail(codeMethod, "%s is not allowed here.", printable(r.Method)))
		return
	}
	r.URL.Path = "/"
	s.callTus(w, r, &tusCall{s: s})
}

// resumeByTus answers a request to the URL of an upload.
func (s *server) resumeByTus(w http.ResponseWriter, r *http.Request) {
	r = overridden(r)
	if !slices.Contains([]string{http.MethodHead, http.MethodPatch, http.MethodDelete}, r.Method) {
		w.Header().Set("Allow", "HEAD, PATCH, DELETE, OPTIONS")
		s.refuseUnread(w, r, fail(codeMethod, "%s is not allowed here.", printable(r.Method)))
		return
	}
	// Before tusd locks the upload: whoever has no token must not disturb who has it.
	d, err := s.uploadOf(r.Context(), r.PathValue("token"))
	if err == nil {
		err = d.wantMethod(byTus)
	}
	if err != nil {
		s.refuseUnread(w, r, err)
		return
	}
	token, _ := parseToken(r.PathValue("token"))
	r.URL.Path = "/" + d.ID
	s.callTus(w, r, &tusCall{s: s, known: d, token: token})
}

// overridden returns a request of its own, with the method that X-HTTP-Method-Override names. Only a POST may
// have it: the guard has checked that like PATCH and DELETE, and would let a GET pass.
func overridden(r *http.Request) *http.Request {
	own := r.Clone(r.Context())
	own.Header.Del("X-HTTP-Method-Override") // tusd would obey it, too
	if method := r.Header.Get("X-HTTP-Method-Override"); r.Method == http.MethodPost && method != "" {
		own.Method = method
	}
	return own
}

// callTus lets tusd answer a request whose body obeys our limits.
func (s *server) callTus(w http.ResponseWriter, r *http.Request, c *tusCall) {
	if r.Method == http.MethodPatch || r.Method == http.MethodPost && r.Header.Get("Content-Type") == tusBytes {
		leave, err := s.enterUpload(r.Context(), r)
		if err != nil {
			s.refuseUnread(w, r, err)
			return
		}
		defer leave()
		if c.sum, err = readChecksum(r.Header.Get("Upload-Checksum")); err != nil {
			s.refuseUnread(w, r, err)
			return
		}
		c.body = newUploadBody(w, r, s.cfg.Limits.MaxUpload, s.cfg.Limits)
		r.Body = io.NopCloser(c.body) // net/http closes its own
	}
	c.r = r
	s.serveTus(w, r, c)
}

// readChecksum reads Upload-Checksum: an algorithm, and the sum in base64. Nil: there is none.
func readChecksum(header string) (*storage.Checksum, error) {
	if header == "" {
		return nil, nil
	}
	algorithm, sum, _ := strings.Cut(header, " ")
	h := tusHash(algorithm)
	if h == nil {
		return nil, failAt("/header/Upload-Checksum", codeTusInvalid, "%.40q is none of the algorithms %s.",
			printable(algorithm), tusAlgorithms)
	}
	want, err := base64.StdEncoding.DecodeString(sum)
	if err != nil || len(want) != h.Size() {
		return nil, failAt("/header/Upload-Checksum", codeTusInvalid, "%.80q is no %s in base64.",
			printable(sum), algorithm)
	}
	return &storage.Checksum{Hash: h, Want: want}, nil
}

// serveTus passes a request to tusd, and answers what tusd refuses.
func (s *server) serveTus(w http.ResponseWriter, r *http.Request, c *tusCall) {
	answer := &tusAnswer{ResponseWriter: w, c: c}
	s.tusd.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), tusCallKey{}, c)))
	if answer.status == 0 {
		if c.body != nil {
			c.body.done()
		}
		return
	}
	for _, name := range []string{"Content-Length", "Content-Type"} {
		w.Header().Del(name) // of tusd's own text
	}
	err := c.refusal(answer)
	if classify(err).code == codeTusVersion {
		w.Header().Set("Tus-Version", tusVersion)
	}
	if c.body == nil {
		s.refuse(w, r, err)
		return
	}
	s.refuseUpload(w, r, c.body, err)
}

// tusAnswer is the answer of tusd. It adds the headers that tusd lacks, and holds back refusals.
type tusAnswer struct {
	http.ResponseWriter
	c      *tusCall
	status int // of a refusal
	text   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (w *tusAnswer) WriteHeader(status int) {
	if status >= 400 {
		w.status = status
		return
	}
	h := w.Header()
	switch c := w.c; {
	case c.r.Method == http.MethodOptions:
		h.Set("Tus-Extension", c.s.tusExtensions)
		h.Set("Tus-Checksum-Algorithm", tusAlgorithms)
	case c.upload != nil:
		if h.Get("Location") != "" {
			h.Set("Location", c.s.tusURL(c.token)) // tusd's has the Host header, which any client can set
		}
		if c.before {
			h.Set("Idempotency-Replayed", "true")
		}
		if d := c.upload.d; !d.Status.ended() {
			h.Set("Upload-Expires", d.ExpiresAt.UTC().Format(http.TimeFormat))
		}
		h.Del("Content-Length") // of HEAD, in which tusd gives the size of the upload
	}
	h.Set("Cache-Control", "no-store")
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *tusAnswer) Write(p []byte) (int, error) {
	if w.status != 0 {
		return w.text.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// SetReadDeadline is called by tusd through http.ResponseController, after each read: uploadBody has
// deadlines of its own, which tusd may only end.
func (w *tusAnswer) SetReadDeadline(at time.Time) error {
	if w.c.body != nil && !at.After(time.Now()) {
		w.c.body.interrupt()
	}
	return nil
}

// SetWriteDeadline is called by tusd: answer has a deadline of its own.
func (w *tusAnswer) SetWriteDeadline(time.Time) error { return nil }

// refusal returns why a request was refused.
func (c *tusCall) refusal(w *tusAnswer) error {
	name, text, _ := strings.Cut(strings.TrimSpace(w.text.String()), ": ")
	ended := slices.Contains([]string{"ERR_UNEXPECTED_EOF", "ERR_CONNECTION_RESET", "ERR_READ_TIMEOUT"}, name)
	switch {
	case c.body != nil && c.body.stopped.Load():
		name = "ERR_UPLOAD_INTERRUPTED"
	case c.err != nil && c.body != nil && c.body.err != nil:
		return c.s.explainBody(c.body, c.err)
	case c.err != nil:
		return c.err
	case c.body != nil && c.body.err != nil && (ended || name == "ERR_INTERNAL_SERVER_ERROR"):
		return c.s.explainBody(c.body, c.body.err)
	case name == "":
		name = w.code() // HEAD has no text
	}
	if f := refusedByTusd(name, text); f != nil {
		return f
	}
	return fail(codeInternal, "The server failed in an unexpected way.").
		because(fmt.Errorf("tusd: %s: %s", name, text))
}

// code returns tusd's code for a refusal without a text.
func (w *tusAnswer) code() string {
	if w.status == http.StatusLocked {
		return "ERR_UPLOAD_LOCKED"
	}
	return ""
}

// refusedByTusd returns the failure for a code of tusd; nil for those that mean a fault of the server.
func refusedByTusd(name, text string) *failure {
	switch name {
	case "ERR_UNSUPPORTED_VERSION":
		return failAt("/header/Tus-Resumable", codeTusVersion, "The server speaks version %s.", tusVersion)
	case "ERR_MAX_SIZE_EXCEEDED":
		return failAt("/header/Upload-Length", codeUploadTooLarge, "The upload is larger than the server allows.")
	case "ERR_UPLOAD_SIZE_EXCEEDED":
		return fail(codeUploadLength, "The request has more bytes than the upload lacks.")
	case "ERR_INVALID_CONTENT_TYPE":
		f := failAt("/header/Content-Type", codeMediaType, "The Content-Type is not %s.", tusBytes)
		f.remedy = "Send " + tusBytes + "."
		return f
	case "ERR_MISMATCHED_OFFSET":
		return failAt("/header/Upload-Offset", codeOffset, "The server keeps another number of bytes.")
	case "ERR_UPLOAD_LOCKED", "ERR_LOCK_TIMEOUT":
		return fail(codeUploadBusy, "Another request writes to the upload.")
	case "ERR_UPLOAD_INTERRUPTED":
		return fail(codeUploadBusy, "Another request for the upload came, so this one was ended.")
	case "ERR_INVALID_UPLOAD_LENGTH", "ERR_INVALID_OFFSET", "ERR_AMBIGUOUS_UPLOAD_LENGTH",
		"ERR_INVALID_UPLOAD_LENGTH_DEFER", "ERR_NOT_IMPLEMENTED", "ERR_INVALID_CONCAT",
		"ERR_CONCATENATION_UNSUPPORTED":
		return fail(codeTusInvalid, "%s.", sentence(printable(text)))
	}
	return nil
}
