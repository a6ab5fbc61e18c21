package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

const (
	presignedPart = 5 << 20
	presignedFilm = 2*presignedPart + 1234 // of three parts
)

// plain sends requests as any client does.
var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// putTo sends a body to a URL and returns the status.
func putTo(t *testing.T, url string, body []byte) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := plain.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// partOf returns the bytes of a part.
func partOf(body []byte, number int) []byte {
	from := (number - 1) * presignedPart
	return body[from:min(len(body), from+presignedPart)]
}

// other returns as many other bytes.
func other(body []byte) []byte {
	changed := bytes.Clone(body)
	for i := range changed {
		changed[i] ^= 1
	}
	return changed
}

// sendParts sends parts of a body by presigned URLs.
func sendParts(t *testing.T, s *s3.Store, key string, body []byte, numbers ...int) {
	t.Helper()
	parts, err := s.PresignParts(context.Background(), key, numbers, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range parts {
		if part.Number != numbers[i] || part.Size != int64(len(partOf(body, part.Number))) {
			t.Errorf("part %d of %d bytes, want number %d", part.Number, part.Size, numbers[i])
		}
		if status := putTo(t, part.URL, partOf(body, part.Number)); status != http.StatusOK {
			t.Fatalf("part %d: status %d", part.Number, status)
		}
	}
}

func wantArrived(t *testing.T, s *s3.Store, key string, want ...int) {
	t.Helper()
	m, got, err := s.ArrivedParts(context.Background(), key)
	if err != nil || !slices.Equal(got, want) || m.Parts() != 3 || m.Size != presignedFilm {
		t.Errorf("arrived %v of %+v, %v; want %v", got, m, err, want)
	}
}

// mustComplete completes an upload and checks the object, and that nothing of the upload is left.
func mustComplete(t *testing.T, s *s3.Store, key string, body []byte) {
	t.Helper()
	ctx := context.Background()
	info, err := s.CompleteMultipart(ctx, key)
	if err != nil || info.Size != int64(len(body)) || info.Key != key {
		t.Fatalf("complete: %+v, %v", info, err)
	}
	info, err = storage.Sum(ctx, s, key)
	sum := sha256.Sum256(body)
	if err != nil || info.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("the object has other bytes: %+v, %v", info, err)
	}
}

// rawClient is a client of the bucket beside the store.
func rawClient(t *testing.T, config s3.Config) *minio.Client {
	t.Helper()
	client, err := minio.New(strings.TrimPrefix(config.Endpoint, "http://"), &minio.Options{
		Creds:  credentials.NewStaticV4(config.AccessKey.Reveal(), config.SecretKey.Reveal(), ""),
		Region: s3.DefaultRegion, BucketLookup: minio.BucketLookupPath,
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// wantNothingLeft checks that no unfinished upload and no state is in the bucket.
func wantNothingLeft(t *testing.T, config s3.Config) {
	t.Helper()
	client := rawClient(t, config)
	for upload := range client.ListIncompleteUploads(context.Background(), config.Bucket, "", true) {
		t.Errorf("an upload of %s is left, %v", upload.Key, upload.Err)
	}
	options := minio.ListObjectsOptions{Recursive: true}
	for object := range client.ListObjectsIter(context.Background(), config.Bucket, options) {
		if object.Err != nil || strings.Contains(object.Key, ".partial/") {
			t.Errorf("%s is left, %v", object.Key, object.Err)
		}
	}
}

// TestMultipart sends a film in parts, out of order and with a part that comes twice.
func TestMultipart(t *testing.T) {
	config := small(s3test.StartGateway(t))
	s := open(t, config)
	ctx, body, key := context.Background(), film(presignedFilm), "v/x.bin"
	for range 2 {
		m, err := s.BeginMultipart(ctx, key, presignedFilm)
		want := storage.Multipart{Size: presignedFilm, PartSize: presignedPart}
		if err != nil || m != want || m.Parts() != 3 {
			t.Fatalf("begin: %+v, %v", m, err)
		}
	}
	if _, err := s.BeginMultipart(ctx, key, presignedFilm+1); !errors.Is(err, storage.ErrSize) {
		t.Errorf("begin with another size: %v", err)
	}
	wantArrived(t, s, key)
	sendParts(t, s, key, other(body), 3)
	sendParts(t, s, key, body, 3, 1)
	wantArrived(t, open(t, config), key, 1, 3) // another process sees the same
	if _, err := s.CompleteMultipart(ctx, key); !errors.Is(err, storage.ErrSize) {
		t.Errorf("complete without a part: %v", err)
	}
	if _, err := s.Stat(ctx, key); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the unfinished object is an object: %v", err)
	}
	if n, err := s.Reclaim(ctx, 0); n != 0 || err != nil {
		t.Errorf("reclaim of a live upload: %d, %v", n, err)
	}
	sendParts(t, s, key, body, 2)
	mustComplete(t, s, key, body)
	mustComplete(t, open(t, config), key, body)
	wantNothingLeft(t, config)
	if err := s.AbortMultipart(ctx, key); err != nil {
		t.Error(err)
	}
	mustComplete(t, s, key, body)
}

// TestMultipartRefuses checks what is refused.
func TestMultipartRefuses(t *testing.T) {
	s := open(t, small(s3test.StartGateway(t)))
	ctx := context.Background()
	for _, size := range []int64{0, -1, 10_000*5<<30 + 1} {
		if _, err := s.BeginMultipart(ctx, "v/x.bin", size); !errors.Is(err, storage.ErrSize) {
			t.Errorf("begin of %d bytes: %v", size, err)
		}
	}
	if _, err := s.PresignParts(ctx, "v/x.bin", []int{1}, time.Hour); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("presign of none: %v", err)
	}
	if _, _, err := s.ArrivedParts(ctx, "v/x.bin"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("list of none: %v", err)
	}
	if _, err := s.CompleteMultipart(ctx, "v/x.bin"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("complete of none: %v", err)
	}
	if _, err := s.BeginMultipart(ctx, "../x", 1); !errors.Is(err, storage.ErrKey) {
		t.Errorf("begin of a bad key: %v", err)
	}
	if _, err := s.BeginMultipart(ctx, "v/x.bin", presignedFilm); err != nil {
		t.Fatal(err)
	}
	for _, number := range []int{0, 4, -1} {
		if _, err := s.PresignParts(ctx, "v/x.bin", []int{1, number}, time.Hour); !errors.Is(err, storage.ErrRange) {
			t.Errorf("presign of part %d: %v", number, err)
		}
	}
	if _, err := s.PresignParts(ctx, "v/x.bin", []int{1}, time.Millisecond); err == nil {
		t.Error("a URL for no time")
	}
}

// TestMultipartURL checks what the holder of the URL of a part cannot do.
func TestMultipartURL(t *testing.T) {
	config := small(s3test.StartGateway(t))
	config.PublicEndpoint = "http://localhost:" + config.Endpoint[strings.LastIndexByte(config.Endpoint, ':')+1:]
	s := open(t, config)
	ctx, body, key := context.Background(), film(presignedFilm), "v/x.bin"
	if _, err := s.BeginMultipart(ctx, key, presignedFilm); err != nil {
		t.Fatal(err)
	}
	parts, err := s.PresignParts(ctx, key, []int{1, 2, 3}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	url := parts[2].URL
	if !strings.HasPrefix(url, config.PublicEndpoint+"/") {
		t.Errorf("the URL %s is not at the public endpoint", url)
	}
	last := partOf(body, 3)
	for what, status := range map[string]int{
		"a byte more":    putTo(t, url, append(slices.Clone(last), 0)),
		"a byte less":    putTo(t, url, last[1:]),
		"another part":   putTo(t, strings.Replace(url, "partNumber=3", "partNumber=4", 1), last),
		"another object": putTo(t, strings.Replace(url, "x.bin", "y.bin", 1), last),
		"no part":        putTo(t, strings.Replace(url, "partNumber=3&", "", 1), last),
		"longer life":    putTo(t, strings.Replace(url, "Expires=3600", "Expires=7200", 1), last),
	} {
		if status/100 != 4 {
			t.Errorf("%s: status %d", what, status)
		}
	}
	wantArrived(t, s, key)
	for i, part := range parts {
		if status := putTo(t, part.URL, partOf(body, i+1)); status != http.StatusOK {
			t.Fatalf("part %d: status %d", i+1, status)
		}
	}
	mustComplete(t, s, key, body)
	if status := putTo(t, url, other(last)); status != http.StatusNotFound {
		t.Errorf("after the end: status %d", status)
	}
	mustComplete(t, s, key, body)
}

// TestMultipartURLExpires waits until the URL of a part is refused.
func TestMultipartURLExpires(t *testing.T) {
	s := open(t, small(s3test.StartGateway(t)))
	if _, err := s.BeginMultipart(context.Background(), "v/x.bin", 10); err != nil {
		t.Fatal(err)
	}
	parts, err := s.PresignParts(context.Background(), "v/x.bin", []int{1}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for putTo(t, parts[0].URL, film(10)) != http.StatusForbidden { // until the time-out of the test
	}
}

// TestMultipartAborted checks that nothing stays of an upload that is aborted.
func TestMultipartAborted(t *testing.T) {
	config := small(s3test.StartGateway(t))
	s := open(t, config)
	ctx, body, key := context.Background(), film(presignedFilm), "v/x.bin"
	if _, err := s.BeginMultipart(ctx, key, presignedFilm); err != nil {
		t.Fatal(err)
	}
	sendParts(t, s, key, body, 1, 2)
	parts, err := s.PresignParts(ctx, key, []int{3}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.AbortMultipart(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	if status := putTo(t, parts[0].URL, partOf(body, 3)); status != http.StatusNotFound {
		t.Errorf("a part after the abort: status %d", status)
	}
	wantNothingLeft(t, config)
}

// errDead is the end of a process.
var errDead = errors.New("the process is dead")

// dying is the transport of a process that dies before or after a request: no later one leaves it.
type dying struct {
	mu    sync.Mutex
	at    int
	after bool
	seen  int
}

// RoundTrip implements http.RoundTripper.
func (d *dying) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.seen++
	seen := d.seen
	d.mu.Unlock()
	if seen > d.at || seen == d.at && !d.after {
		return nil, errDead
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if seen == d.at && err == nil {
		return nil, errors.Join(errDead, resp.Body.Close())
	}
	return resp, err
}

// TestMultipartDies lets a process die before and after each request of a completion. Another one completes
// the upload.
func TestMultipartDies(t *testing.T) {
	config := small(s3test.StartGateway(t))
	s := open(t, config)
	ctx, body, ended := context.Background(), film(presignedFilm), false
	for at := 1; !ended; at++ {
		for _, after := range []bool{false, true} {
			ctx, key := context.Background(), "v/x.bin"
			put(t, s, key, strings.Repeat("o", presignedFilm)) // an older object of the same size is not ours
			if _, err := s.BeginMultipart(ctx, key, presignedFilm); err != nil {
				t.Fatal(err)
			}
			sendParts(t, s, key, body, 1, 2, 3)
			mortal := config
			transport := &dying{at: 1 << 30, after: after}
			mortal.Transport = transport
			first := open(t, mortal)
			transport.at = transport.seen + at
			_, err := first.CompleteMultipart(ctx, key)
			ended = err == nil
			mustComplete(t, s, key, body)
			wantNothingLeft(t, config)
		}
		t.Logf("died at request %d", at)
	}
	if err := s.Delete(ctx, "v/x.bin"); err != nil {
		t.Fatal(err)
	}
}

// tapped is a wire, and the bucket that it leads to.
type tapped struct {
	*wire
	config s3.Config
}

// openTwo opens two stores of one bucket, the first of them over a wire.
func openTwo(t *testing.T) (first, second *s3.Store, w tapped) {
	t.Helper()
	config := small(s3test.StartGateway(t))
	w = tapped{&wire{Transport: &http.Transport{DisableKeepAlives: true}}, config}
	wired := config
	wired.Transport = w.wire
	return open(t, wired), open(t, config), w
}

// TestMultipartBegunTwice lets two processes begin one upload at once: there is one.
func TestMultipartBegunTwice(t *testing.T) {
	s, second, w := openTwo(t)
	ctx, body, key := context.Background(), film(presignedFilm), "v/x.bin"
	w.answer = func(r *http.Request) *http.Response { // the other one begins between ours and its note
		if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
			w.answer = nil
			if _, err := second.BeginMultipart(ctx, key, presignedFilm); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	if _, err := s.BeginMultipart(ctx, key, presignedFilm); err != nil {
		t.Fatal(err)
	}
	sendParts(t, s, key, body, 1, 2)
	sendParts(t, second, key, body, 3)
	mustComplete(t, s, key, body)
	wantNothingLeft(t, w.config)
}

// TestMultipartPartChanges sends a part again while the upload is completed: either it counts or the caller
// hears of it, but the object never has other bytes than those listed.
func TestMultipartPartChanges(t *testing.T) {
	s, second, w := openTwo(t)
	ctx, body, key := context.Background(), film(presignedFilm), "v/x.bin"
	if _, err := s.BeginMultipart(ctx, key, presignedFilm); err != nil {
		t.Fatal(err)
	}
	sendParts(t, s, key, body, 1, 2, 3)
	changed := bytes.Clone(body)
	changed[0]++
	w.answer = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			w.answer = nil
			sendParts(t, second, key, changed, 1)
		}
		return nil
	}
	if _, err := s.CompleteMultipart(ctx, key); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("complete while a part changes: %v", err)
	}
	mustComplete(t, s, key, changed)
}

// TestMultipartGone says of an upload that somebody has aborted what to do.
func TestMultipartGone(t *testing.T) {
	config := small(s3test.StartGateway(t))
	s := open(t, config)
	ctx, key := context.Background(), "v/x.bin"
	put(t, s, key, strings.Repeat("o", presignedFilm))
	if _, err := s.BeginMultipart(ctx, key, presignedFilm); err != nil {
		t.Fatal(err)
	}
	client := rawClient(t, config)
	for upload := range client.ListIncompleteUploads(ctx, config.Bucket, "", true) {
		if err := client.RemoveIncompleteUpload(ctx, config.Bucket, upload.Key); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := s.ArrivedParts(ctx, key)
	_, failed := s.CompleteMultipart(ctx, key)
	for _, err := range []error{err, failed} {
		if !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "send it anew") {
			t.Errorf("%v", err)
		}
	}
	if err := s.AbortMultipart(ctx, key); err != nil {
		t.Error(err)
	}
	wantNothingLeft(t, config)
}

// TestReclaimOfPresigned removes an upload whose process died before it could note it.
func TestReclaimOfPresigned(t *testing.T) {
	config := small(s3test.StartGateway(t))
	s := open(t, config)
	ctx := context.Background()
	transport := &dying{at: 1 << 30, after: true}
	mortal := config
	mortal.Transport = transport
	first := open(t, mortal)
	transport.at = transport.seen + 2 // it looks for the state, begins the upload, and dies
	if _, err := first.BeginMultipart(ctx, "v/x.bin", 9); !errors.Is(err, errDead) {
		t.Fatalf("begin: %v", err)
	}
	if n, err := s.Reclaim(ctx, 0); n != 1 || err != nil {
		t.Errorf("reclaim: %d, %v", n, err)
	}
	wantNothingLeft(t, config)
}
