package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// random writes a file of random bytes, and returns its path and sum.
func random(t *testing.T, size int) (path, sum string) {
	t.Helper()
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	hashed := sha256.Sum256(body)
	return write(t, "film.mp4", string(body)), hex.EncodeToString(hashed[:])
}

// videos returns how many videos the server has.
func (e *env) videos() (n int) {
	e.t.Helper()
	for _, err := range e.client.Videos(e.t.Context(), ListOptions{}) {
		must(e.t, err)
		n++
	}
	return n
}

// TestUploadFile checks what becomes of a file and its options, in one piece and in many.
func TestUploadFile(t *testing.T) {
	for _, chunk := range []int64{0, 1, 999, 1000, 1001, 5000} {
		e := newEnv(t)
		path, sum := random(t, 5000)
		if chunk == 1 {
			path, sum = random(t, 7)
		}
		patches := 0
		e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch {
				patches++
			}
			return false
		})
		var sent []int64
		v, err := e.client.UploadFile(t.Context(), path, Options{
			Name: `a "b".mp4`, Title: "T", Metadata: map[string]string{"k": "a;b=c"}, Passthrough: "p", Priority: "bulk",
			Watermark: "text:cat", WebhookURL: "https://hooks.example/", SHA256: strings.ToUpper(sum), Chunk: chunk,
			Progress: func(n, total int64) { sent = append(sent, n, total) },
		})
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		want := 1
		if chunk > 0 {
			want = int((info.Size() + chunk - 1) / chunk)
		}
		if patches != want || v.SHA256 != sum || v.Size != info.Size() || sent[len(sent)-2] != info.Size() || sent[len(sent)-1] != info.Size() {
			t.Errorf("pieces of %d: %d requests, %+v, progress %v", chunk, patches, v, sent)
		}
		if v.Filename != `a "b".mp4` || v.Title != "T" || v.Metadata["k"] != "a;b=c" || v.Passthrough != "p" {
			t.Errorf("%+v", v)
		}
		last, err := e.Bus.Last(t.Context(), pipeline.UploadedSubject(project, v.ID))
		must(t, err)
		var up pipeline.Upload
		must(t, last[0].Decode(&up))
		if up.Requested["watermark"]["text"] != "cat" || up.Webhook.URL != "https://hooks.example/" || up.Priority != pipeline.Bulk {
			t.Errorf("%+v", up)
		}
	}
}

// TestUploadFileOverFaults checks that one video with the bytes of the file comes out of it, whatever breaks,
// and that no byte is sent again that the server has acknowledged.
func TestUploadFileOverFaults(t *testing.T) {
	lose := func(e *env, r *http.Request) {
		f := e.fault.Swap(nil)
		answer := httptest.NewRecorder()
		e.srv.Config.Handler.ServeHTTP(answer, r)
		e.fault.Store(f)
		panic(http.ErrAbortHandler)
	}
	for name, fault := range map[string]func(e *env, w http.ResponseWriter, r *http.Request) bool{
		"503": func(_ *env, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		},
		"423": func(_ *env, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch || r.Method == http.MethodHead {
				w.WriteHeader(http.StatusLocked)
			}
			return r.Method == http.MethodPatch || r.Method == http.MethodHead
		},
		"cut before": func(*env, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"cut in the middle": func(e *env, _ http.ResponseWriter, r *http.Request) bool {
			r.Body = &half{r.Body, r.ContentLength / 2}
			lose(e, r)
			return true
		},
		"answer lost": func(e *env, _ http.ResponseWriter, r *http.Request) bool { lose(e, r); return true },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			path, sum := random(t, 300_000)
			var mu sync.Mutex // the server may still read a request that the client has given up
			n, most := map[string]int{}, int64(0)
			e.breakWith(func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				if r.Method == http.MethodPatch {
					at, _ := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
					if at < most {
						t.Errorf("it sends from %d on, but %d are acknowledged", at, most)
					}
					most = max(most, at)
				}
				n[r.Method]++
				odd := n[r.Method]%2 == 1
				mu.Unlock()
				return odd && fault(e, w, r)
			})
			told := 0
			v, err := e.client.UploadFile(t.Context(), path, Options{Chunk: 100_000, Again: func(error) { told++ }})
			must(t, err)
			e.fault.Store(nil)
			if v.SHA256 != sum || v.Size != 300_000 || told == 0 || e.videos() != 1 {
				t.Errorf("%d videos, told %d times: %+v", e.videos(), told, v)
			}
		})
	}
}

// half is a body that breaks after some bytes.
type half struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (h *half) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := h.ReadCloser.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	return n, err
}

// TestUploadFileGoesOnLater checks that another client goes on with the state of the first, wherever that
// stopped: also when the answer to its first request was lost. It checks that a completed upload is not
// repeated, and that a changed file, or other options, are another upload.
func TestUploadFileGoesOnLater(t *testing.T) {
	for stop := range 8 {
		e := newEnv(t)
		path, sum := random(t, 500_000)
		o := Options{State: filepath.Join(t.TempDir(), "a", "state.json"), Chunk: 100_000}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if n++; n > stop {
				f := e.fault.Swap(nil)
				e.srv.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
				e.fault.Store(f)
				cancel() // as a signal would: this answer never comes
				panic(http.ErrAbortHandler)
			}
			return false
		})
		if _, err := e.client.UploadFile(ctx, path, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d requests: %v", stop, err)
		}
		first := int64(-1)
		e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch && first < 0 {
				first, _ = strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
			}
			return false
		})
		later := New(e.srv.URL, e.srv.Client())
		v, err := later.UploadFile(t.Context(), path, o)
		must(t, err)
		want := int64(max(0, stop-1) * 100_000)
		if stop >= 6 { // the answer to the last byte is lost, or that with the video
			want = -1
		}
		if v.SHA256 != sum || first != want {
			t.Errorf("stopped after %d requests: it went on from %d, want %d: %+v", stop, first, want, v)
		}
		uploads := 0
		for _, err := range later.Uploads(t.Context()) {
			must(t, err)
			uploads++
		}
		if uploads != 1 {
			t.Errorf("stopped after %d requests: the server has %d uploads", stop, uploads)
		}
		info, err := os.Stat(o.State)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the state has mode %s", info.Mode())
		}
		e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				t.Errorf("%s %s after the end", r.Method, r.URL)
			}
			return false
		})
		again, err := New(e.srv.URL, e.srv.Client()).UploadFile(t.Context(), path, o)
		if err != nil || again.ID != v.ID {
			t.Errorf("once more: %s, %v; want %s", again.ID, err, v.ID)
		}
		e.fault.Store(nil)
		o.Title = "another"
		_, err = later.UploadFile(t.Context(), path, o)
		must(t, err)
		must(t, os.WriteFile(path, []byte(strings.Repeat("n", 500_000)), 0o600)) // of the same size
		must(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
		before := v.SHA256
		v, err = later.UploadFile(t.Context(), path, o)
		if err != nil || v.SHA256 == before || e.videos() != 3 {
			t.Errorf("%d videos, the last is %+v, %v", e.videos(), v, err)
		}
	}
}

// TestUploadFileThatTheServerForgot checks that an upload of an earlier process begins anew when it was
// canceled, when its video was deleted, and when the state is damaged; one of this call does not.
func TestUploadFileThatTheServerForgot(t *testing.T) {
	e := newEnv(t)
	path, sum := random(t, 200_000)
	o := Options{State: filepath.Join(t.TempDir(), "state.json"), Chunk: 100_000}
	cancelUpload := func() {
		for u, err := range e.client.Uploads(t.Context()) {
			must(t, err)
			if !u.Status.Ended() {
				_, err = e.client.CancelUpload(t.Context(), u.ID)
				must(t, err)
				if u, err = e.client.UploadByID(t.Context(), u.ID); err != nil || u.Status != UploadCanceled {
					t.Errorf("%+v, %v", u, err)
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	during := o
	during.Progress = func(sent, _ int64) {
		if sent >= 100_000 {
			cancel()
		}
	}
	_, err := e.client.UploadFile(ctx, path, during)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	cancelUpload()
	v, err := e.client.UploadFile(t.Context(), path, o)
	if err != nil || v.SHA256 != sum {
		t.Fatalf("%+v, %v", v, err)
	}
	must(t, e.client.Delete(t.Context(), v.ID))
	again, err := e.client.UploadFile(t.Context(), path, o)
	if err != nil || again.ID == v.ID || again.SHA256 != sum {
		t.Errorf("%+v, %v", again, err)
	}
	must(t, os.WriteFile(o.State, []byte(`{"server":`), 0o600))
	if third, err := e.client.UploadFile(t.Context(), path, o); err != nil || third.ID == again.ID {
		t.Errorf("%+v, %v", third, err)
	}
	o.State = ""
	o.Progress = func(sent, _ int64) {
		if sent == 100_000 {
			cancelUpload()
		}
	}
	_, err = e.client.UploadFile(t.Context(), path, o)
	if refused, ok := errors.AsType[*Error](err); !ok || refused.Status != http.StatusGone {
		t.Errorf("somebody canceled it: %v", err)
	}
}

// TestUploadFileThatWasCompletedLongAgo checks that a process which died between the last byte and its note of
// it makes no second video, when the server has forgotten the upload by the time it is run again.
func TestUploadFileThatWasCompletedLongAgo(t *testing.T) {
	e := newEnv(t)
	path, _ := random(t, 1000)
	o := Options{State: filepath.Join(t.TempDir(), "state.json")}
	v, err := e.client.UploadFile(t.Context(), path, o)
	must(t, err)
	m, err := ReadUploadMemory(o.State)
	must(t, err)
	m.Completed = false
	must(t, writeMemory(o.State, m))
	must(t, e.Store.Delete(t.Context(), "uploads/"+project+"/"+m.Upload+"/upload.json"))
	again, err := e.client.UploadFile(t.Context(), path, o)
	if err != nil || again.ID != v.ID || e.videos() != 1 {
		t.Errorf("%d videos; %s, then %s, %v", e.videos(), v.ID, again.ID, err)
	}
	if m, err := ReadUploadMemory(o.State); err != nil || !m.Completed {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestUploadFileThatChanges checks that a video that is not the file is an error: the file was written to, got
// shorter, or does not have the expected sum.
func TestUploadFileThatChanges(t *testing.T) {
	for name, c := range map[string]struct {
		sum    string
		during func(path string) error
	}{
		"another sum": {strings.Repeat("0", 64), func(string) error { return nil }},
		"written to": {"", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("other bytes"), 250_000)
			return errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
		}},
		"longer": {"", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}},
		"shorter": {"", func(path string) error { return os.Truncate(path, 150_000) }},
	} {
		e := newEnv(t)
		path, _ := random(t, 300_000)
		state := filepath.Join(t.TempDir(), "state.json")
		done := false
		_, err := e.client.UploadFile(t.Context(), path, Options{SHA256: c.sum, Chunk: 100_000, State: state, Progress: func(sent, _ int64) {
			if sent >= 100_000 && !done {
				done = true
				must(t, c.during(path))
			}
		}})
		if !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
		if v, err := e.client.UploadFile(t.Context(), path, Options{State: state}); err != nil || v.SHA256 == "" {
			t.Errorf("%s, once more: %v", name, err)
		}
	}
}

// TestUploadFileRefused checks refusals: before the first byte, and of what is no file.
func TestUploadFileRefused(t *testing.T) {
	e := newEnv(t)
	e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			t.Error("it sends bytes")
		}
		return false
	})
	path, _ := random(t, 10)
	for name, c := range map[string]struct {
		path, want string
		o          Options
	}{
		"pipeline":         {path, "pipeline_unknown", Options{Pipeline: "nope"}},
		"empty":            {write(t, "empty.mp4", ""), "upload_empty", Options{}},
		"folder":           {t.TempDir(), "it is a folder", Options{}},
		"device":           {os.DevNull, "no regular file", Options{}},
		"missing":          {path + ".none", "no such file", Options{}},
		"image":            {path, "use Upload", Options{Watermark: "logo.png"}},
		"broken watermark": {path, "not a JSON object", Options{Watermark: "{"}},
		"state of nothing": {path, "state of an upload", Options{State: filepath.Join(path, "state")}},
	} {
		if _, err := e.client.UploadFile(t.Context(), c.path, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tusPeer answers the requests of an upload in place of a server, as patch says for its pieces.
func tusPeer(size int64, patch func(n int, r *http.Request, kept *int64) (*http.Response, error)) *Client {
	kept, patches := int64(0), 0
	client, _ := asking(nil)
	client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		switch r.Method {
		case http.MethodPost:
			return reply(201, `{"id":"upl_a","status":"waiting","video_id":"vid_a","url":"https://public.example/v1/tus/a.b.c"}`), nil
		case http.MethodHead:
			return reply(200, "", "Upload-Offset", fmt.Sprint(kept)), nil
		case http.MethodPatch:
			patches++
			return patch(patches, r, &kept)
		}
		sum := sha256.Sum256(make([]byte, size))
		return reply(200, fmt.Sprintf(`{"id":"vid_a","size":%d,"sha256":"%x"}`, size, sum)), nil
	})
	return client
}

type roundTrip func(r *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestUploadFileBehindAProxy checks that pieces get smaller until a proxy passes them, and that the upload
// goes to the address that the client was given.
func TestUploadFileBehindAProxy(t *testing.T) {
	const size, limit = 5 << 20, 1 << 20
	path := write(t, "a.mp4", string(make([]byte, size)))
	client := tusPeer(size, func(_ int, r *http.Request, kept *int64) (*http.Response, error) {
		if r.URL.Host != "mill.example" || r.URL.Path != "/v1/tus/a.b.c" {
			t.Errorf("it sends to %s", r.URL)
		}
		if r.ContentLength > limit {
			return reply(413, "<html>"), nil
		}
		n, err := io.Copy(io.Discard, r.Body)
		*kept += n
		return reply(204, "", "Upload-Offset", fmt.Sprint(*kept)), err
	})
	if v, err := client.UploadFile(t.Context(), path, Options{Chunk: 4 << 20}); err != nil || v.ID != "vid_a" {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestUploadFileWaits checks Retry-After, that a connection that stands still is given up, and that there is
// an end of failures.
func TestUploadFileWaits(t *testing.T) {
	const size = 1000
	path := write(t, "a.mp4", string(make([]byte, size)))
	take := func(r *http.Request, kept *int64) (*http.Response, error) {
		n, err := io.Copy(io.Discard, r.Body)
		*kept += n
		return reply(204, "", "Upload-Offset", fmt.Sprint(*kept)), err
	}
	for name, c := range map[string]struct {
		patch       func(n int, r *http.Request, kept *int64) (*http.Response, error)
		want        error
		least, most time.Duration
	}{
		"asked to": {func(n int, r *http.Request, kept *int64) (*http.Response, error) {
			if n == 1 {
				return reply(429, "", "Retry-After", "120"), nil
			}
			return take(r, kept)
		}, nil, 2 * time.Minute, 2 * time.Minute},
		"nothing is read": {func(n int, r *http.Request, kept *int64) (*http.Response, error) {
			if n == 1 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return take(r, kept)
		}, nil, sendPatience, sendPatience + 2*maxPause},
		"no answer": {func(n int, r *http.Request, kept *int64) (*http.Response, error) {
			if n == 1 {
				_, _ = take(r, kept)
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return take(r, kept)
		}, nil, answerPatience, answerPatience + 2*maxPause},
		"always cut": {func(int, *http.Request, *int64) (*http.Response, error) {
			return nil, io.ErrUnexpectedEOF
		}, io.ErrUnexpectedEOF, RetryTime / 2, 2 * RetryTime},
		"nothing is kept": {func(_ int, r *http.Request, kept *int64) (*http.Response, error) {
			_, err := io.Copy(io.Discard, r.Body)
			return reply(204, "", "Upload-Offset", "0"), err
		}, errAny, 0, 2 * RetryTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				_, err := tusPeer(size, c.patch).UploadFile(t.Context(), path, Options{Chunk: size / 2})
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("it took %s, want %s to %s", took, c.least, c.most)
				}
				if !errors.Is(err, c.want) && (c.want != errAny || err == nil) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// errAny stands for any error.
var errAny = errors.New("any error")
