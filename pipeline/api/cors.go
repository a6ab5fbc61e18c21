package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline/access"
)

// corsMaxAge is how many seconds a browser may keep the answer to a preflight of the API. It learns of new
// flags after that time.
const corsMaxAge = "600"

// cors sets the headers that let pages of other sites read an answer: those that Access names, and no others
// (https://fetch.spec.whatwg.org/#http-cors-protocol). Credentials are allowed for playback alone. It reports
// whether it has answered the request: a preflight of an allowed page for the API.
func (g *guard) cors(w http.ResponseWriter, r *http.Request) bool {
	h, origin := w.Header(), r.Header.Get("Origin")
	if strings.HasPrefix(r.URL.Path, "/play/") {
		g.corsOfPlay(h, origin)
		return false
	}
	if _, ok := tokenIn(r.URL.Path); ok {
		return corsOfUpload(w, r)
	}
	if !slices.Contains(g.origins, origin) && byToken(r) {
		return corsOfToken(w, r)
	}
	if len(g.origins) == 0 {
		return false
	}
	h.Add("Vary", "Origin")
	if !slices.Contains(g.origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposed)
	if !isPreflight(r) {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, If-Match, Last-Event-ID, "+sentByPages)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// Headers that a page may read and send, those of tus among them.
const (
	exposed = "Location, ETag, Retry-After, Idempotency-Replayed, X-Request-Id, Upload-Offset, Upload-Length, " +
		"Upload-Defer-Length, Upload-Metadata, Upload-Expires, Tus-Resumable, Tus-Version, Tus-Max-Size, " +
		"Tus-Extension, Tus-Checksum-Algorithm"
	sentByPages = "Content-Type, Content-Range, Idempotency-Key, X-Request-Id, X-Requested-With, traceparent, " +
		"tracestate, Tus-Resumable, Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Offset, " +
		"Upload-Checksum, X-HTTP-Method-Override"
)

// corsOfUpload lets every page send bytes to the URL of an upload, and read what is answered. The token in
// the URL is the permission: a page that has it got it from somebody who may upload, and without it the
// visitor's browser is of no use to a page. So a site need not be listed in Access to upload, only to create
// uploads.
func corsOfUpload(w http.ResponseWriter, r *http.Request) (answered bool) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposed)
	if !isPreflight(r) {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "HEAD, PATCH, PUT, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", sentByPages)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// byToken reports whether a request may come from a page of any origin, since an upload token or a read token
// is its permission. A preflight has no header with a token; it may if the request may have one.
func byToken(r *http.Request) bool {
	if isPreflight(r) && isCreation(r.URL.Path) {
		asked := strings.ToLower(strings.Join(r.Header.Values("Access-Control-Request-Headers"), ","))
		names := strings.FieldsFunc(asked, func(c rune) bool { return c == ',' || c == ' ' })
		return r.Header.Get("Access-Control-Request-Method") == http.MethodPost &&
			slices.Contains(names, "authorization")
	}
	return createsByToken(r) || readsByQuery(r)
}

// createsByToken reports whether a request makes an upload with an upload token, valid or not.
func createsByToken(r *http.Request) bool {
	return createsUpload(r) && access.KindOfToken(bearer(r).Reveal()) == access.UploadToken
}

// corsOfToken lets every page use its token, and read what is answered. A page without one gains nothing: its
// request is refused, by the guard if it has no token, and otherwise since the token is not ours.
func corsOfToken(w http.ResponseWriter, r *http.Request) (answered bool) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposed)
	if !isPreflight(r) {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Last-Event-ID, "+sentByPages)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// isPreflight reports whether a browser asks whether a page may send a request.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// isAllowedPreflight reports whether r is a preflight for a page that cors has allowed to read the answer. If
// the request itself will be refused, the page can only read why if its preflight is not.
func isAllowedPreflight(w http.ResponseWriter, r *http.Request) bool {
	return isPreflight(r) && w.Header().Get("Access-Control-Allow-Origin") != ""
}

// corsOfPlay sets the headers of playback. Whatever the origins, a page elsewhere may show a file by its
// address, as with <video src>, unless no origin is allowed: Cross-Origin-Resource-Policy cannot list any.
// Pages that are listed may send credentials, of which one cookie counts: that with the token of a viewer.
func (g *guard) corsOfPlay(h http.Header, origin string) {
	switch {
	case slices.Equal(g.play, []string{noOne}):
		return
	case len(g.play) == 0:
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		h.Add("Vary", "Origin")
		if slices.Contains(g.play, origin) {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, Accept-Ranges, ETag, X-Request-Id")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

// playPreflight answers the preflight of a player on another site; guard.cors has said whether it may play.
func (s *server) playPreflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Range, If-Range, If-None-Match, If-Modified-Since, X-Request-Id")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
