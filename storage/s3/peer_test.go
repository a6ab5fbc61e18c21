package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/s3"
)

// serveAs starts a server that answers as the handler does, and returns a Config for it.
func serveAs(t *testing.T, h http.HandlerFunc) s3.Config {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return s3.Config{
		Endpoint: srv.URL, Bucket: "reelmill", AccessKey: secret.New("a"), SecretKey: secret.New("b"), PathStyle: true, CreateBucket: true,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
}

// deny answers with an error of S3.
func deny(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code) // the client sees a cut answer
}

// TestOpenSaysWhatToCheck checks the remedy for each answer to the first requests.
func TestOpenSaysWhatToCheck(t *testing.T) {
	for name, c := range map[string]struct {
		look, create int    // statuses of the answers
		code         string // of the error when the bucket is created
		want         string // empty: the store opens
	}{
		"there":             {look: 200},
		"made":              {look: 404, create: 200},
		"another was first": {look: 404, create: 409, code: minio.BucketAlreadyOwnedByYou},
		"name of others":    {look: 404, create: 409, code: minio.BucketAlreadyExists, want: "create bucket"},
		"may not be made":   {look: 404, create: 403, code: minio.AccessDenied, want: "the rights on the bucket"},
		"may not be seen":   {look: 403, want: "the rights on the bucket"},
		"elsewhere":         {look: 301, want: "check the region, us-east-1"},
		"wrong region":      {look: 400, want: "check the region, us-east-1"},
		"no S3 server":      {look: 405, want: "check the endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := s3.Open(context.Background(), serveAs(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodHead:
					w.WriteHeader(c.look)
				case c.create == http.StatusOK:
					w.WriteHeader(c.create)
				default:
					deny(w, c.create, c.code)
				}
			}))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if s != nil && s.Close() != nil {
				t.Error("it cannot be closed")
			}
		})
	}
}

// TestGetOfACutBody checks that bytes that do not arrive are an error, never the end of the object.
func TestGetOfACutBody(t *testing.T) {
	s := open(t, serveAs(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return
		}
		w.Header().Set("Last-Modified", lastModified)
		w.Header().Set("Content-Length", "10")
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 2-11/12")
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.WriteString(w, "hello")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}))
	for _, rng := range []storage.Range{{}, {Offset: 2}} {
		r, _, err := s.Get(context.Background(), "v/x.bin", rng)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if string(body) != "hello" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: %q, %v", rng, body, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestGetOfAnotherRange checks that only the requested part counts as an answer.
func TestGetOfAnotherRange(t *testing.T) {
	answer := ""
	s := open(t, serveAs(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", lastModified)
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Range", answer)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "llo")
		}
	}))
	for _, c := range []struct {
		answer string
		rng    storage.Range
		good   bool
	}{
		{"bytes 2-4/20", storage.Range{Offset: 2, Length: 3}, true},
		{"bytes 2-4/5", storage.Range{Offset: 2, Length: 9}, true}, // cut at the end of the object
		{"bytes 2-4/5", storage.Range{Offset: 2}, true},
		{"bytes 0-2/20", storage.Range{Offset: 2, Length: 3}, false},
		{"bytes 2-3/20", storage.Range{Offset: 2, Length: 3}, false},
		{"bytes 2-4/20", storage.Range{Offset: 2}, false},
		{"bytes 2-4/*", storage.Range{Offset: 2, Length: 3}, false},
		{"bytes */5", storage.Range{Offset: 2}, false},
		{"bytes 2-4/2", storage.Range{Offset: 2}, false},
		{"bytes 2-4/-5", storage.Range{Offset: 2}, false},
		{"5", storage.Range{Offset: 2}, false},
	} {
		answer = c.answer
		r, info, err := s.Get(context.Background(), "v/x.bin", c.rng)
		if (err == nil) != c.good {
			t.Errorf("%q for %+v: %+v, %v", c.answer, c.rng, info, err)
		}
		if errors.Is(err, storage.ErrRange) {
			t.Errorf("%q for %+v: %v blames the caller", c.answer, c.rng, err)
		}
		if r != nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestPutThatCannotBegin checks that nothing is sent, and that the error is the server's.
func TestPutThatCannotBegin(t *testing.T) {
	s, w := openWire(t)
	for name, c := range map[string]struct {
		match func(*http.Request) bool
		size  int
		o     storage.PutOptions
	}{
		"nobody knows whether the key is free": {
			func(r *http.Request) bool { return r.Method == http.MethodHead }, 5, storage.PutOptions{IfAbsent: true},
		},
		"the upload is refused": {
			func(r *http.Request) bool { return r.URL.Query().Has("uploads") }, 6 << 20, storage.PutOptions{},
		},
	} {
		sent := 0
		w.answer = func(r *http.Request) *http.Response {
			if c.match(r) {
				return refuse(http.StatusInsufficientStorage, "QuotaExceeded")
			}
			sent++
			return nil
		}
		_, err := s.Put(context.Background(), "v/x.bin", strings.NewReader(strings.Repeat("x", c.size)), c.o)
		if !errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrExists) || sent != 0 {
			t.Errorf("%s: %d further requests, %v", name, sent, err)
		}
	}
}

// TestPutThatCannotBeAborted checks that the error of the Put and that of its clean-up are both told.
func TestPutThatCannotBeAborted(t *testing.T) {
	s, w := openWire(t)
	w.answer = func(r *http.Request) *http.Response {
		if r.Method == http.MethodDelete {
			return refuse(http.StatusForbidden, minio.AccessDenied)
		}
		return nil
	}
	broken := errors.New("broken")
	body := io.MultiReader(strings.NewReader(strings.Repeat("x", 6<<20)), iotest.ErrReader(broken))
	_, err := s.Put(context.Background(), "v/x.bin", body, storage.PutOptions{})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "abort upload") {
		t.Errorf("%v", err)
	}
	n, err := s.Reclaim(context.Background(), 0)
	if n != 0 || err == nil || !strings.Contains(err.Error(), "v/x.bin") {
		t.Errorf("reclaim while the server refuses: %d, %v", n, err)
	}
	w.answer = nil
	if n, err := s.Reclaim(context.Background(), 0); n != 1 || err != nil {
		t.Errorf("reclaim later: %d, %v", n, err)
	}
}

// TestConflictsEnd checks that a write in the way of another is tried again, but not for ever.
func TestConflictsEnd(t *testing.T) {
	s, w := openWire(t)
	for _, c := range []struct {
		conflicts, tries int
		stored           bool
	}{{4, 5, true}, {9, 5, false}} {
		tries := 0
		w.answer = func(r *http.Request) *http.Response {
			if r.Method != http.MethodPut {
				return nil
			}
			if tries++; tries <= c.conflicts {
				return refuse(http.StatusConflict, "OperationAborted")
			}
			return nil
		}
		_, err := s.Put(context.Background(), "v/x.bin", strings.NewReader("x"), storage.PutOptions{})
		if (err == nil) != c.stored || tries != c.tries || errors.Is(err, storage.ErrExists) {
			t.Errorf("%d conflicts: %d tries, %v", c.conflicts, tries, err)
		}
	}
}

// TestNamesThatAreFolders gives the answers of servers whose objects are files.
func TestNamesThatAreFolders(t *testing.T) {
	s, w := openWire(t)
	for _, code := range []string{"ExistingObjectIsDirectory", "ObjectParentIsFile"} {
		w.answer = func(*http.Request) *http.Response { return refuse(http.StatusBadRequest, code) }
		_, err := s.Put(context.Background(), "v/x.bin", strings.NewReader("x"), storage.PutOptions{})
		if !errors.Is(err, storage.ErrKey) {
			t.Errorf("%s: %v, want ErrKey", code, err)
		}
	}
}

// TestListFails breaks a listing, alone and within a deletion and a reclaim. None may take it for the end.
func TestListFails(t *testing.T) {
	s, w := openWire(t)
	put(t, s, "v/a/x.bin", "x")
	for code, want := range map[string]string{minio.AccessDenied: "denied", minio.NoSuchBucket: "is gone"} {
		w.answer = func(r *http.Request) *http.Response {
			if r.Method == http.MethodGet {
				return refuse(http.StatusForbidden, code)
			}
			return nil
		}
		ctx := context.Background()
		var listed error
		for _, listed = range s.List(ctx, "v/") {
		}
		n, deleted := s.DeletePrefix(ctx, "v/")
		m, reclaimed := s.Reclaim(ctx, 0)
		for what, err := range map[string]error{"list": listed, "delete": deleted, "reclaim": reclaimed} {
			if err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(strings.ToLower(err.Error()), want) {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
		if n != 0 || m != 0 {
			t.Errorf("%d objects and %d uploads are gone", n, m)
		}
	}
	w.answer = nil
	if body, err := get(s, "v/a/x.bin"); body != "x" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

// TestDeletePrefixInPart gives the answers of a server that does not delete every object. Each is an error,
// and the objects that are gone are counted.
func TestDeletePrefixInPart(t *testing.T) {
	s, w := openWire(t)
	put(t, s, "v/a/x.bin", "x")
	put(t, s, "v/a/y.bin", "y")
	const x, y = "<Deleted><Key>v/a/x.bin</Key></Deleted>", "<Error><Key>v/a/y.bin</Key><Code>%s</Code></Error>"
	for name, c := range map[string]struct {
		body string
		n    int
	}{
		"one is refused":            {x + fmt.Sprintf(y, minio.AccessDenied), 1},
		"one is refused oddly":      {x + fmt.Sprintf(y, "InvalidArgument"), 1},
		"one is not mentioned":      {x, 1},
		"none is mentioned":         {"", 0},
		"the answer is cut":         {"<Deleted><Key>v/a/", 0},
		"the answer is no document": {"</html>", 0},
	} {
		w.answer = func(r *http.Request) *http.Response {
			if r.Method != http.MethodPost {
				return nil
			}
			answer := refuse(http.StatusOK, "")
			end := "</DeleteResult>"
			if name == "the answer is cut" {
				end = ""
			}
			answer.Body = io.NopCloser(strings.NewReader("<DeleteResult>" + c.body + end))
			return answer
		}
		n, err := s.DeletePrefix(context.Background(), "v/a/")
		if err == nil || n != c.n {
			t.Errorf("%s: %d, %v; want %d and an error", name, n, err, c.n)
		}
	}
	w.answer = nil
	if n, err := s.DeletePrefix(context.Background(), "v/a/"); n != 2 || err != nil {
		t.Errorf("in the end: %d, %v", n, err)
	}
}

// TestPresignLimits checks the shortest and longest life, and an ended context.
func TestPresignLimits(t *testing.T) {
	s := open(t, serveAs(t, func(http.ResponseWriter, *http.Request) {}))
	ctx, cancel := context.WithCancel(context.Background())
	const week = 7 * 24 * time.Hour
	for ttl, good := range map[time.Duration]bool{
		time.Second: true, week: true, time.Second - 1: false, week + 1: false,
	} {
		link, err := s.PresignPut(ctx, "v/x.bin", ttl)
		if (err == nil) != good {
			t.Errorf("life of %s: %q, %v", ttl, link, err)
		}
	}
	cancel()
	if link, err := s.PresignGet(ctx, "v/x.bin", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %q, %v", link, err)
	}
}
