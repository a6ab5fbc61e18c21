package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

// bucket is a real bucket whose public address is a proxy that can break.
type bucket struct {
	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request, on http.Handler) // nil: none
	parts []string                                                      // numbers of the parts that came
}

// ServeHTTP implements http.Handler.
func (b *bucket) serve(on http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		fault := b.fault
		b.parts = append(b.parts, r.URL.Query().Get("partNumber"))
		b.mu.Unlock()
		if fault == nil {
			fault = func(w http.ResponseWriter, r *http.Request, on http.Handler) { on.ServeHTTP(w, r) }
		}
		fault(w, r, on)
	}
}

// newBucketEnv returns an env whose server has a bucket with parts of 5 MiB.
func newBucketEnv(t *testing.T) (*env, *bucket) {
	t.Helper()
	config := s3test.StartGateway(t)
	config.PartSize = 5 << 20
	at, err := url.Parse(config.Endpoint)
	must(t, err)
	b := &bucket{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // the signature is for the host that the client called
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = at.Scheme, at.Host, r.In.Host
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	front := httptest.NewServer(b.serve(proxy))
	t.Cleanup(front.Close)
	config.PublicEndpoint = front.URL
	store, err := s3.Open(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	return newEnvWith(t, store), b
}

const bucketFilm = 10<<20 + 123 // of three parts

// TestUploadFileMultipart sends a file to the bucket, whatever breaks on the way.
func TestUploadFileMultipart(t *testing.T) {
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request, on http.Handler){
		"nothing": nil,
		"503": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("<Error><Code>SlowDown</Code></Error>")) // the client gets no less
		},
		"expired": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusForbidden) },
		"cut":     func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		"answer lost": func(_ http.ResponseWriter, r *http.Request, on http.Handler) {
			on.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, b := newBucketEnv(t)
			path, sum := random(t, bucketFilm)
			n := 0
			if fault != nil {
				b.fault = func(w http.ResponseWriter, r *http.Request, on http.Handler) {
					if n++; n%2 == 1 {
						fault(w, r, on)
						return
					}
					on.ServeHTTP(w, r)
				}
			}
			told := []string{}
			var last int64
			v, err := e.client.UploadFile(t.Context(), path, Options{
				Multipart: true, Title: "T", Again: func(err error) { told = append(told, err.Error()) },
				Progress: func(sent, total int64) {
					if last = sent; total != bucketFilm {
						t.Errorf("%d of %d bytes", sent, total)
					}
				},
			})
			must(t, err)
			if v.SHA256 != sum || v.Title != "T" || last != bucketFilm || (len(told) == 0) != (fault == nil) || e.videos() != 1 {
				t.Errorf("told %q, %d bytes in the end: %+v", told, last, v)
			}
			if name == "503" && !strings.Contains(told[0], "status 503 (SlowDown) to part 1") {
				t.Errorf("told %q", told)
			}
			if strings.Contains(strings.Join(told, ""), "Signature") {
				t.Errorf("it tells a secret: %q", told)
			}
		})
	}
}

// TestUploadFileMultipartGoesOn stops an upload after a part. Another call sends only the others, and a third
// one returns the video.
func TestUploadFileMultipartGoesOn(t *testing.T) {
	e, b := newBucketEnv(t)
	path, sum := random(t, bucketFilm)
	o := Options{Multipart: true, State: filepath.Join(t.TempDir(), "state.json")}
	ctx, cancel := context.WithCancel(t.Context())
	b.fault = func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if r.URL.Query().Get("partNumber") == "2" {
			cancel()
			panic(http.ErrAbortHandler)
		}
		on.ServeHTTP(w, r)
	}
	if _, err := e.client.UploadFile(ctx, path, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("the upload that stops: %v", err)
	}
	b.mu.Lock()
	b.fault, b.parts = nil, nil
	b.mu.Unlock()
	for range 2 {
		v, err := e.client.UploadFile(t.Context(), path, o)
		must(t, err)
		if v.SHA256 != sum || e.videos() != 1 {
			t.Errorf("%d videos, %+v", e.videos(), v)
		}
	}
	if got := strings.Join(b.parts, ","); got != "2,3" {
		t.Errorf("it sends the parts %s, want 2,3", got)
	}
}

// TestUploadFileMultipartAnswersLost loses the answer to each request of the server in turn.
func TestUploadFileMultipartAnswersLost(t *testing.T) {
	e, _ := newBucketEnv(t)
	path, sum := random(t, bucketFilm)
	for at := 1; ; at++ {
		n := 0 // requests until the fault
		e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if n++; n == at {
				e.fault.Store(nil)
				e.srv.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			return false
		})
		v, err := e.client.UploadFile(t.Context(), path, Options{Multipart: true})
		must(t, err)
		e.fault.Store(nil)
		if v.SHA256 != sum || e.videos() != at {
			t.Errorf("answer %d is lost: %d videos, %+v", at, e.videos(), v)
		}
		if n < at { // it has lost the answer to each request
			break
		}
	}
}

// TestUploadFileMultipartOnDisk checks the refusal of a server without a bucket.
func TestUploadFileMultipartOnDisk(t *testing.T) {
	e := newEnv(t)
	path, _ := random(t, 100)
	_, err := e.client.UploadFile(t.Context(), path, Options{Multipart: true})
	if refused, ok := errors.AsType[*Error](err); !ok || refused.Code != "multipart_unsupported" {
		t.Errorf("%v", err)
	}
}
