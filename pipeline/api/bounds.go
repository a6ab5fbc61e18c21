package api

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Bounds of every request. net/http refuses more than maxHeaderBytes by itself, with a bare 431.
const (
	maxHeaders   = 100      // header lines
	maxHeaderSum = 32 << 10 // bytes of them
	maxURI       = 8 << 10  // bytes of path and query
	maxQueries   = 64       // parameters
	maxBody      = 64 << 10 // bytes of a body, except of uploads
	maxDepth     = 16       // of JSON: arrays and objects within each other
)

// checkBounds refuses a request whose header, address or body is too large. It bounds a body whose length the
// client does not say.
func checkBounds(w http.ResponseWriter, r *http.Request) error {
	lines, size := 0, 0
	for name, values := range r.Header {
		lines += len(values)
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	switch {
	case lines > maxHeaders:
		return fail(codeHeadersTooLarge, "The request has %d header lines; the limit is %d.", lines, maxHeaders)
	case size > maxHeaderSum:
		return fail(codeHeadersTooLarge, "The header has %d bytes; the limit is %d.", size, maxHeaderSum)
	case len(r.RequestURI) > maxURI:
		return fail(codeURITooLong, "Path and query have %d bytes; the limit is %d.", len(r.RequestURI), maxURI)
	}
	if n := strings.Count(r.URL.RawQuery, "&") + 1; n > maxQueries {
		return fail(codeURITooLong, "The query has %d parameters; the limit is %d.", n, maxQueries)
	}
	if boundsItsBody(r) {
		return nil
	}
	if r.ContentLength > maxBody {
		return fail(codeBodyTooLarge, "The body has %d bytes; the limit is %d here.", r.ContentLength, maxBody)
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	return nil
}

// boundsItsBody reports whether a request is for a handler of uploads, which bounds the body itself.
func boundsItsBody(r *http.Request) bool {
	switch r.URL.Path {
	case "/v1/videos", "/v1/uploads":
		return r.Method == http.MethodPost
	case "/v1/tus", "/v1/tus/":
		return true
	}
	_, ok := tokenIn(r.URL.Path)
	return ok
}

// tooDeep reports whether JSON has more than maxDepth arrays and objects within each other. It says false of
// what is no JSON: the parser refuses that.
func tooDeep(text []byte) bool {
	d := json.NewDecoder(strings.NewReader(string(text)))
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth > maxDepth {
			return true
		}
	}
}
