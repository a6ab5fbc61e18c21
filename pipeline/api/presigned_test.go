package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

// bucketEnv is an env whose store is a bucket of a real S3 server.
type bucketEnv struct {
	*env
	config s3.Config
}

func newBucketEnv(t *testing.T, change func(*Config)) bucketEnv {
	t.Helper()
	config := s3test.StartGateway(t)
	config.PartSize = 5 << 20
	return bucketEnv{newEnv(t, func(c *Config) {
		c.Store = openBucket(t, config)
		c.Limits.MaxUpload = 64 << 20
		if change != nil {
			change(c)
		}
	}), config}
}

func openBucket(t *testing.T, config s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// longFilm returns the bytes of a film of three parts.
func longFilm() []byte {
	b, _ := io.ReadAll(io.LimitReader(rand.NewChaCha8([32]byte{9}), 10<<20+777)) // never fails
	return b
}

const orderOfParts = `{"filename":"cat.mp4","size":10486537,"method":"multipart"}`

// sendPart sends a body to the URL of a part, as any client does, and returns the status.
func sendPart(t *testing.T, url string, body []byte) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	must(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	must(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	return resp.StatusCode
}

// presign asks for the URLs of parts.
func (e *env) presign(at string, numbers ...int) (*http.Response, []byte) {
	e.t.Helper()
	body, err := json.Marshal(map[string]any{"numbers": numbers})
	must(e.t, err)
	return e.do("POST", at, bytes.NewReader(body), "Content-Type", "application/json")
}

// sendParts sends parts of a film to the upload whose parts_url is at.
func (e *env) sendParts(at string, film []byte, numbers ...int) {
	e.t.Helper()
	resp, raw := e.presign(at, numbers...)
	wantAnswer(e.t, resp, raw, 200, -1)
	got := decode[presigned](e.t, raw)
	if len(got.Parts) != len(numbers) || time.Until(got.ExpiresAt) < 50*time.Minute {
		e.t.Fatalf("%+v", got)
	}
	for i, p := range got.Parts {
		from := (numbers[i] - 1) * 5 << 20
		body := film[from:min(len(film), from+5<<20)]
		if p.Number != numbers[i] || p.Size != int64(len(body)) {
			e.t.Errorf("part %+v, want number %d with %d bytes", p, numbers[i], len(body))
		}
		if status := sendPart(e.t, p.URL, body); status != 200 {
			e.t.Fatalf("part %d: status %d", p.Number, status)
		}
	}
}

// wantVideo checks that a video exists and that its source is the film.
func (e bucketEnv) wantVideo(video string, film []byte) {
	e.t.Helper()
	v := read[pipeline.VideoView](e.env, "/v1/videos/"+video)
	sum := sha256.Sum256(film)
	if v.SHA256 != hex.EncodeToString(sum[:]) || v.Size != int64(len(film)) {
		e.t.Errorf("the source has %d bytes, SHA-256 %s", v.Size, v.SHA256)
	}
	info, err := storage.Sum(e.t.Context(), e.env.config.Store, e.uploadOf(video).Source.Key)
	if err != nil || info.SHA256 != v.SHA256 {
		e.t.Errorf("the object: %+v, %v", info, err)
	}
}

// wantNothingUnfinished checks that the bucket has nothing of an unfinished upload.
func (e bucketEnv) wantNothingUnfinished() {
	e.t.Helper()
	n, err := openBucket(e.t, e.config).Reclaim(context.Background(), 0)
	if n != 0 || err != nil {
		e.t.Errorf("%d things of unfinished uploads are left, %v", n, err)
	}
}

// complete completes an upload by its id or token.
func (e *env) complete(named string) (*http.Response, []byte) {
	e.t.Helper()
	return e.do("POST", "/v1/uploads/"+named+"/complete", nil)
}

// TestPresigned sends a film straight to the bucket, as a page of another origin would, breaks off, goes on,
// and completes the upload twice.
func TestPresigned(t *testing.T) {
	e := newBucketEnv(t, nil)
	film := longFilm()
	u := e.ordered(orderOfParts, "Idempotency-Key", "once")
	if u.Method != byMultipart || *u.PartSize != 5<<20 || u.URL != "" || u.ContentURL != "" || u.PartsURL == "" ||
		u.Complete == "" || u.Status != uploadWaiting {
		t.Fatalf("%+v", u)
	}
	if again := e.ordered(orderOfParts, "Idempotency-Key", "once"); again.PartsURL != u.PartsURL || *again.PartSize != 5<<20 {
		t.Errorf("the repeated request: %+v", again)
	}
	resp, raw := e.do("OPTIONS", u.PartsURL, nil, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST")
	if wantAnswer(t, resp, raw, 204, -1); resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("a page of another origin may not ask for parts")
	}
	e.sendParts(u.PartsURL, film, 3, 1)
	page := read[list[arrivedPart]](e.env, u.PartsURL+"?limit=1")
	if len(page.Data) != 1 || page.Data[0] != (arrivedPart{1, 5 << 20}) || !page.HasMore {
		t.Fatalf("%+v", page)
	}
	page = read[list[arrivedPart]](e.env, u.PartsURL+"?limit=1&cursor="+*page.NextCursor)
	if len(page.Data) != 1 || page.Data[0] != (arrivedPart{3, 777}) || page.HasMore {
		t.Fatalf("%+v", page)
	}
	if v := e.upload(u.ID); v.Status != uploadUploading || v.Offset != 5<<20+777 || v.PartsURL != "" || *v.PartSize != 5<<20 {
		t.Errorf("%+v", v)
	}
	resp, raw = e.complete(u.ID)
	wantProblem(t, resp, raw, codePartsMissing)
	if !strings.Contains(string(raw), "have not arrived: 2.") {
		t.Errorf("it does not say which part: %s", raw)
	}
	e.sendParts("/v1/uploads/"+u.ID+"/parts", film, 2) // by the id, with the rights of the project
	resp, raw = e.get("/v1/videos/" + u.Video)
	wantProblem(t, resp, raw, codeNotFound) // the client has not said that it is done
	must(t, e.sweep(time.Now()))
	for _, do := range []func() (*http.Response, []byte){
		func() (*http.Response, []byte) {
			return e.do("POST", u.Complete, nil, "Origin", "https://elsewhere.example")
		},
		func() (*http.Response, []byte) { return e.complete(u.ID) },
	} {
		resp, raw = do()
		wantAnswer(t, resp, raw, 200, -1)
		if v := decode[uploadView](t, raw); v.Status != uploadCompleted || v.Video != u.Video || v.Offset != int64(len(film)) {
			t.Errorf("%+v", v)
		}
	}
	e.wantVideo(u.Video, film)
	e.wantNothingUnfinished()
	resp, raw = e.presign(u.PartsURL, 1)
	wantProblem(t, resp, raw, codeUploadEnded)
}

// TestPresignedRefusals checks what is refused, and that it has a code.
func TestPresignedRefusals(t *testing.T) {
	e := newBucketEnv(t, nil)
	refused := func(want code, resp *http.Response, raw []byte) {
		t.Helper()
		wantProblem(t, resp, raw, want)
	}
	check := func(want code, method, path, body string) {
		t.Helper()
		resp, raw := e.do(method, path, strings.NewReader(body), "Content-Type", "application/json")
		refused(want, resp, raw)
	}
	check(codeInvalid, "POST", "/v1/uploads", `{"method":"multipart"}`)
	check(codeInvalid, "POST", "/v1/uploads", `{"method":"carrier pigeon","size":9}`)
	check(codeUploadTooLarge, "POST", "/v1/uploads", `{"method":"multipart","size":67108865}`)
	check(codeFieldUnknown, "POST", "/v1/videos", `{"method":"multipart","url":"https://a.example/b.mp4"}`)

	u, other := e.ordered(orderOfParts), e.ordered(`{"size":24,"method":"tus"}`)
	if other.Method != byTus || other.URL == "" || other.PartSize != nil {
		t.Errorf("%+v", other)
	}
	for _, numbers := range []string{`[0]`, `[1,4]`, `[-1]`, `[]`, `["1"]`} {
		check(codeInvalid, "POST", u.PartsURL, `{"numbers":`+numbers+`}`)
	}
	check(codeCursor, "GET", u.PartsURL+"?cursor=x", "")
	check(codeInvalid, "GET", u.PartsURL+"?wat=1", "")
	check(codeInvalid, "POST", u.Complete+"?wat=1", "")
	token := strings.TrimSuffix(strings.TrimPrefix(u.PartsURL, "/v1/uploads/"), "/parts")
	resp, raw := e.patch("/v1/tus/"+token, 0, film)
	refused(codeUploadMethod, resp, raw)
	check(codeUploadMethod, "PUT", "/v1/uploads/"+token+"/content", film)
	check(codeUploadMethod, "GET", "/v1/uploads/"+other.ID+"/parts", "")
	check(codeUploadMethod, "POST", "/v1/uploads/"+other.ID+"/complete", "")
	forged := strings.Replace(token, u.ID+".", u.ID+".A", 1)[:len(token)]
	for _, named := range []string{"upl_00000000000000000000000000", forged} {
		check(codeNotFound, "GET", "/v1/uploads/"+named+"/parts", "")
		check(codeNotFound, "POST", "/v1/uploads/"+named+"/parts", `{"numbers":[1]}`)
		check(codeNotFound, "POST", "/v1/uploads/"+named+"/complete", "")
	}
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "24", "Upload-Metadata", "method bXVsdGlwYXJ0")
	refused(codeFieldUnknown, resp, raw)
	e.sendParts(u.PartsURL, longFilm(), 1) // and the upload still works
}

// TestPresignedOnDisk checks that a server without a bucket says what to do instead.
func TestPresignedOnDisk(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxUpload = 64 << 20 })
	resp, raw := e.order(orderOfParts)
	wantProblem(t, resp, raw, codeNoMultipart)
	if p := decode[problemDocument](t, raw); !strings.Contains(p.Remedy, "tus") {
		t.Errorf("remedy %q", p.Remedy)
	}
	equal(t, "objects", e.objects())
}

// TestPresignedEnds cancels one upload and lets another expire: nothing of them stays in the bucket, and the
// URLs of their parts take nothing any more.
func TestPresignedEnds(t *testing.T) {
	e := newBucketEnv(t, nil)
	for _, end := range []func(id string) uploadState{
		func(id string) uploadState {
			resp, raw := e.do("POST", "/v1/uploads/"+id+"/cancel", nil)
			wantAnswer(t, resp, raw, 200, -1)
			return uploadCanceled
		},
		func(string) uploadState {
			must(t, e.sweep(time.Now().Add(25*time.Hour)))
			return uploadExpired
		},
	} {
		u := e.ordered(orderOfParts)
		e.sendParts(u.PartsURL, longFilm(), 1, 3)
		resp, raw := e.presign(u.PartsURL, 3)
		wantAnswer(t, resp, raw, 200, -1)
		want := end(u.ID)
		if v := e.upload(u.ID); v.Status != want {
			t.Errorf("the upload is %s, want %s", v.Status, want)
		}
		if status := sendPart(t, decode[presigned](t, raw).Parts[0].URL, longFilm()[10<<20:]); status != 404 {
			t.Errorf("a part after the end: status %d", status)
		}
		e.wantNothingUnfinished()
		for _, err := range e.env.config.Store.List(t.Context(), "videos/") {
			t.Errorf("an object is left, %v", err)
		}
		resp, raw = e.complete(u.ID)
		wantProblem(t, resp, raw, codeUploadEnded)
		resp, raw = e.presign(u.PartsURL, 1)
		wantProblem(t, resp, raw, codeUploadEnded)
	}
}

// TestPresignedIsAlive checks that a client which asks for parts puts the expiry off.
func TestPresignedIsAlive(t *testing.T) {
	e := newBucketEnv(t, func(c *Config) { c.Limits.UploadExpires = time.Second })
	u := e.ordered(orderOfParts)
	for last := *u.ExpiresAt; ; { // until the clock has moved far enough
		e.sendOne(u.PartsURL)
		if v := e.upload(u.ID); v.ExpiresAt.After(last) {
			return
		}
	}
}

// sendOne asks for the URL of a part.
func (e *env) sendOne(at string) {
	e.t.Helper()
	resp, raw := e.presign(at, 1)
	wantAnswer(e.t, resp, raw, 200, -1)
}

// mortal is the transport of a server that dies before or after a request to the bucket: no later one leaves
// it.
type mortal struct {
	at, seen int
	after    bool
}

// RoundTrip implements http.RoundTripper. The store sends one request at a time.
func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.seen++; m.seen > m.at || m.seen == m.at && !m.after {
		return nil, errors.New("the server is dead")
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if m.seen == m.at && err == nil {
		return nil, errors.Join(errors.New("the server is dead"), resp.Body.Close())
	}
	return resp, err
}

// TestPresignedDies lets a server die before and after each of its requests to the bucket while it completes
// an upload. Another server then makes the video, when the client comes again, or by itself if the client has
// been heard.
func TestPresignedDies(t *testing.T) {
	e := newBucketEnv(t, nil)
	film := longFilm()
	ended := false
	for at := 1; !ended; at++ {
		for _, after := range []bool{false, true} {
			u := e.ordered(orderOfParts)
			e.sendParts(u.PartsURL, film, 1, 2, 3)
			config := e.config
			transport := &mortal{at: 1 << 30, after: after}
			config.Transport = transport
			first := e.env.config
			first.Store = openBucket(t, config)
			transport.at = transport.seen + at
			dying, err := New(first)
			must(t, err)
			answer := httptest.NewRecorder()
			dying.ServeHTTP(answer, httptest.NewRequest("POST", "http://127.0.0.1/v1/uploads/"+u.ID+"/complete", nil))
			dying.EndStreams(context.Background())
			ended = answer.Code == 200
			heard := decodeDoc(t, e, u.ID).Completing
			if heard {
				must(t, e.sweep(time.Now()))
				e.wantVideo(u.Video, film)
			}
			resp, raw := e.complete(u.ID)
			wantAnswer(t, resp, raw, 200, -1)
			e.wantVideo(u.Video, film)
			e.wantNothingUnfinished()
		}
		t.Logf("died at request %d", at)
	}
}

// decodeDoc reads the document of an upload.
func decodeDoc(t *testing.T, e bucketEnv, id string) uploadDoc {
	t.Helper()
	d, err := e.api.s.loadUpload(t.Context(), pipeline.DefaultProject, id)
	must(t, err)
	return d
}

// TestPresignedLost says what to do when somebody has aborted the upload in the bucket, and lists go on.
func TestPresignedLost(t *testing.T) {
	e := newBucketEnv(t, nil)
	u := e.ordered(orderOfParts)
	e.sendParts(u.PartsURL, longFilm(), 1)
	d := decodeDoc(t, e, u.ID)
	must(t, openBucket(t, e.config).AbortMultipart(t.Context(), d.Key))
	resp, raw := e.complete(u.ID)
	wantProblem(t, resp, raw, codeUploadEnded)
	resp, raw = e.get(u.PartsURL)
	wantProblem(t, resp, raw, codeUploadEnded)
	if l := read[list[uploadView]](e.env, "/v1/uploads"); len(l.Data) != 1 || l.Data[0].Offset != 0 {
		t.Errorf("%+v", l)
	}
}

// TestMissingParts checks how missing parts are named.
func TestMissingParts(t *testing.T) {
	m := storage.Multipart{Size: 90, PartSize: 10}
	for want, arrived := range map[string][]int{
		"":               {1, 2, 3, 4, 5, 6, 7, 8, 9},
		"1-9":            nil,
		"1":              {2, 3, 4, 5, 6, 7, 8, 9},
		"9":              {1, 2, 3, 4, 5, 6, 7, 8},
		"2, 5-7":         {1, 3, 4, 8, 9},
		"1-2, 4, 6, 8-9": {3, 5, 7},
	} {
		if got := missingParts(m, arrived); got != want {
			t.Errorf("of %v: %q, want %q", arrived, got, want)
		}
	}
	var all []int
	for n := 1; n <= 2000; n += 2 {
		all = append(all, n)
	}
	if got := missingParts(storage.Multipart{Size: 2000, PartSize: 1}, all); !strings.HasSuffix(got, "100, and more") {
		t.Errorf("of very many: %s", got)
	}
}
