package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// order creates an upload; headers come in pairs.
func (e *env) order(body string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	return e.do("POST", "/v1/uploads", strings.NewReader(body),
		append([]string{"Content-Type", "application/json"}, headers...)...)
}

// ordered is order for a request that must succeed.
func (e *env) ordered(body string, headers ...string) uploadView {
	e.t.Helper()
	resp, raw := e.order(body, headers...)
	if resp.StatusCode != 201 {
		e.t.Fatalf("create upload: %s: %s", resp.Status, raw)
	}
	return decode[uploadView](e.t, raw)
}

// tus sends a request of tus 1.0; headers come in pairs.
func (e *env) tus(method, path, body string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
		headers = append([]string{"Content-Type", tusBytes}, headers...)
	}
	return e.do(method, path, r, append([]string{"Tus-Resumable", tusVersion}, headers...)...)
}

// patch sends bytes from an offset on.
func (e *env) patch(path string, offset int, body string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	return e.tus("PATCH", path, body, append([]string{"Upload-Offset", fmt.Sprint(offset)}, headers...)...)
}

// wantAnswer checks the status of an answer and, if offset is not negative, its Upload-Offset.
func wantAnswer(t *testing.T, resp *http.Response, raw []byte, status, offset int) {
	t.Helper()
	if resp.StatusCode != status {
		t.Fatalf("%s: %s, want %d", resp.Status, raw, status)
	}
	if got := resp.Header.Get("Upload-Offset"); offset >= 0 && got != fmt.Sprint(offset) {
		t.Errorf("Upload-Offset %q, want %d", got, offset)
	}
}

func (e *env) upload(id string) uploadView {
	e.t.Helper()
	return read[uploadView](e, "/v1/uploads/"+id)
}

// sweep looks at all uploads, as of a time.
func (e *env) sweep(at time.Time) error { return e.api.s.sweepUploads(e.t.Context(), at) }

const film = "a film of 24 bytes, meow"

// wantFilm checks that a video exists whose source is film.
func (e *env) wantFilm(video string) pipeline.VideoView {
	e.t.Helper()
	v := read[pipeline.VideoView](e, "/v1/videos/"+video)
	sum := sha256.Sum256([]byte(film))
	if v.SHA256 != hex.EncodeToString(sum[:]) || v.Size != int64(len(film)) {
		e.t.Errorf("the source has %d bytes, SHA-256 %s", v.Size, v.SHA256)
	}
	r, _, err := e.Store.Get(e.t.Context(), e.uploadOf(video).Source.Key, storage.Range{})
	must(e.t, err)
	raw, err := io.ReadAll(r)
	must(e.t, errors.Join(err, r.Close()))
	if string(raw) != film {
		e.t.Errorf("the source is %q", raw)
	}
	return v
}

// TestUploadInPieces follows an upload from its creation to its video.
func TestUploadInPieces(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.PublicURL = "https://v.example" })
	u := e.ordered(`{"filename":"..\\cat.MP4","size":24,"pipeline":"default","priority":"high","title":"Cat",
		"metadata":{"a":"b"},"passthrough":"p","webhook_url":"https://hooks.example/x","watermark":"text:x"}`,
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if u.Status != uploadWaiting || u.Offset != 0 || *u.Size != 24 || u.Filename != "cat.MP4" || u.ExpiresAt == nil {
		t.Errorf("%+v", u)
	}
	url, found := strings.CutPrefix(u.URL, "https://v.example")
	if !found || !strings.HasPrefix(url, "/v1/tus/") || !strings.HasPrefix(u.ContentURL, "https://v.example/v1/uploads/") {
		t.Fatalf("URLs %q and %q", u.URL, u.ContentURL)
	}
	resp, raw := e.tus("HEAD", url, "")
	wantAnswer(t, resp, raw, 200, 0)
	if resp.Header.Get("Upload-Length") != "24" {
		t.Errorf("Upload-Length %q", resp.Header.Get("Upload-Length"))
	}
	resp, raw = e.patch(url, 0, film[:7])
	wantAnswer(t, resp, raw, 204, 7)
	expires, err := time.Parse(http.TimeFormat, resp.Header.Get("Upload-Expires"))
	if err != nil || time.Until(expires) < 23*time.Hour {
		t.Errorf("Upload-Expires %q", resp.Header.Get("Upload-Expires"))
	}
	if v := e.upload(u.ID); v.Status != uploadUploading || v.Offset != 7 || v.URL != "" || v.ContentURL != "" {
		t.Errorf("%+v", v)
	}
	resp, raw = e.patch(url, 5, film[5:])
	wantProblem(t, resp, raw, codeOffset)
	resp, raw = e.get("/v1/videos/" + u.Video)
	wantProblem(t, resp, raw, codeNotFound)
	resp, raw = e.patch(url, 7, film[7:])
	wantAnswer(t, resp, raw, 204, 24)

	v := e.wantFilm(u.Video)
	if v.Filename != "cat.MP4" || v.Title != "Cat" || v.Metadata["a"] != "b" || v.Passthrough != "p" ||
		v.TraceID != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("%+v", v)
	}
	up := e.uploadOf(u.Video)
	if up.Priority != pipeline.High || up.Webhook.URL != "https://hooks.example/x" ||
		up.Requested["watermark"]["text"] != "x" {
		t.Errorf("%+v", up)
	}
	if v := e.upload(u.ID); v.Status != uploadCompleted || v.Offset != 24 || v.EndedAt == nil || v.ExpiresAt != nil {
		t.Errorf("%+v", v)
	}
	resp, raw = e.tus("HEAD", url, "")
	wantAnswer(t, resp, raw, 200, 24)
	listed := read[list[uploadView]](e, "/v1/uploads")
	if len(listed.Data) != 1 || listed.Data[0].ID != u.ID {
		t.Errorf("%+v", listed)
	}
}

func TestListOfUploads(t *testing.T) {
	e := newEnv(t, nil)
	var got []string
	for range 5 {
		e.ordered("{}")
	}
	for cursor := ""; ; {
		page := read[list[uploadView]](e, "/v1/uploads?limit=2&cursor="+cursor)
		for _, u := range page.Data {
			got = append(got, u.ID)
		}
		if !page.HasMore {
			break
		}
		cursor = *page.NextCursor
	}
	if len(got) != 5 {
		t.Fatalf("%d uploads", len(got))
	}
	for i := range len(got) - 1 {
		if got[i] <= got[i+1] {
			t.Errorf("%s stands before %s", got[i], got[i+1])
		}
	}
	resp, raw := e.get("/v1/uploads?cursor=a.b")
	wantProblem(t, resp, raw, codeCursor)
}

// TestUploadsAreRefusedEarly checks that mistakes cost no byte, and leave nothing.
func TestUploadsAreRefusedEarly(t *testing.T) {
	full := false
	e := newEnv(t, func(c *Config) {
		c.FreeSpace = func() error {
			if full {
				return storage.ErrFull
			}
			return nil
		}
	})
	for name, c := range map[string]struct {
		body, pointer string
		code          code
	}{
		"no JSON":      {`film`, "/body", codeInvalid},
		"null":         {`null`, "/body", codeInvalid},
		"size":         {`{"size":-1}`, "/body/size", codeInvalid},
		"a half":       {`{"size":1.5}`, "/body/size", codeInvalid},
		"empty":        {`{"size":0}`, "/body/size", codeUploadEmpty},
		"large":        {`{"size":1048577}`, "/body/size", codeUploadTooLarge},
		"huge":         {`{"size":99999999999999999999999}`, "/body/size", codeUploadTooLarge},
		"field":        {`{"filname":"x"}`, "/body/filname", codeFieldUnknown},
		"file":         {`{"file":"x"}`, "/body/file", codeFieldUnknown},
		"number":       {`{"filename":1}`, "/body/filename", codeInvalid},
		"pipeline":     {`{"pipeline":"x"}`, "/body/pipeline", codePipelineUnknown},
		"priority":     {`{"priority":"x"}`, "/body/priority", codeInvalid},
		"metadata":     {`{"metadata":{"a":1}}`, "/body/metadata", codeMetadata},
		"webhook":      {`{"webhook_url":"ftp://x"}`, "/body/webhook_url", codeWebhookRefused},
		"step":         {`{"watermark":{"position":"x"}}`, "/body/watermark", "watermark_invalid"},
		"asset":        {`{"watermark":{"image":"x"}}`, "/body/watermark/image", "watermark_invalid"},
		"no such step": {`{"stamp":{"text":"x"}}`, "/body/stamp", "stamp_unsupported"},
		"unknown":      {`{"protocol":"ftp"}`, "/body/protocol", codeFieldUnknown},
	} {
		resp, raw := e.order(c.body)
		if p := wantProblem(t, resp, raw, c.code); len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s: %s", name, raw)
		}
	}
	resp, raw := e.order("{}", "Content-Type", "text/plain")
	wantProblem(t, resp, raw, codeMediaType)
	resp, raw = e.order(strings.Repeat("[", 20) + strings.Repeat("]", 20))
	wantProblem(t, resp, raw, codeFieldTooDeep)
	resp, raw = e.order(`{"passthrough":"` + strings.Repeat("x", 200<<10) + `"}`)
	wantProblem(t, resp, raw, codeBodyTooLarge)
	resp, raw = e.order("{}", "Idempotency-Key", strings.Repeat("x", 256))
	wantProblem(t, resp, raw, codeInvalid)
	u := e.ordered(`{"size":24}`)
	full = true
	resp, raw = e.order("{}")
	wantProblem(t, resp, raw, codeDiskFull)
	resp, raw = e.patch(u.URL, 0, film)
	wantProblem(t, resp, raw, codeDiskFull)
	resp, raw = e.do("PUT", u.ContentURL, strings.NewReader(film))
	wantProblem(t, resp, raw, codeDiskFull)
	full = false
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "1048577")
	wantProblem(t, resp, raw, codeUploadTooLarge)
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "0")
	wantProblem(t, resp, raw, codeUploadEmpty)
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "5", "Upload-Metadata", "pipeline "+b64("x"))
	wantProblem(t, resp, raw, codePipelineUnknown)
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "5", "Upload-Metadata", "pipeline ?")
	wantProblem(t, resp, raw, codeTusInvalid)
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "5", "Upload-Metadata", "size "+b64("5"))
	wantProblem(t, resp, raw, codeFieldUnknown)
	equal(t, "objects", e.objects(), uploadKey(project, u.ID))
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestRepeatedOrders checks that an idempotency key makes one upload, with one URL.
func TestRepeatedOrders(t *testing.T) {
	e := newEnv(t, nil)
	first := e.ordered(`{"size":24,"filename":"a.mp4"}`, "Idempotency-Key", "k")
	resp, raw := e.patch(first.URL, 0, film[:7])
	wantAnswer(t, resp, raw, 204, 7)
	resp, raw = e.order(`{"filename":"a.mp4","size":24}`, "Idempotency-Key", "k")
	again := decode[uploadView](t, raw)
	if resp.StatusCode != 201 || resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	if again.ID != first.ID || again.Video != first.Video || again.URL != first.URL || again.Offset != 7 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	resp, raw = e.order(`{"filename":"b.mp4","size":24}`, "Idempotency-Key", "k")
	wantProblem(t, resp, raw, codeKeyReused)
	if other := e.ordered(`{"filename":"a.mp4","size":24}`, "Idempotency-Key", "l"); other.ID == first.ID {
		t.Error("another key made the same upload")
	}
	sum := "filename " + b64("a.mp4")
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "24", "Upload-Metadata", sum, "Idempotency-Key", "k")
	if resp.StatusCode != 201 || resp.Header.Get("Location") != first.URL ||
		resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s: %s to %s", resp.Status, raw, resp.Header.Get("Location"))
	}
	resp, raw = e.tus("POST", "/v1/tus", film, "Upload-Length", "24", "Upload-Metadata", sum, "Idempotency-Key", "k")
	wantProblem(t, resp, raw, codeOffset)
}

// TestTokens checks that an upload's URL works for who has the whole of it, and that the server keeps a hash.
func TestTokens(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`, "Idempotency-Key", "k")
	_, secret, _ := strings.Cut(strings.TrimPrefix(u.URL, "/v1/tus/"+project+"."), ".")
	if raw, err := base64.RawURLEncoding.DecodeString(secret); err != nil || len(raw) < 16 {
		t.Fatalf("the secret is %q", secret)
	}
	for key := range e.all() {
		r, _, err := e.Store.Get(t.Context(), key, storage.Range{})
		must(t, err)
		raw, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		plain, _ := base64.RawURLEncoding.DecodeString(secret)
		if bytes.Contains(raw, []byte(secret)) || bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString(plain))) {
			t.Errorf("%s has the secret: %s", key, raw)
		}
	}
	other := e.ordered(`{"size":24}`)
	_, foreign, _ := strings.Cut(strings.TrimPrefix(other.URL, "/v1/tus/"+project+"."), ".")
	var answers []string
	for _, wrong := range []string{
		strings.Replace(u.URL, secret, foreign, 1), strings.Replace(u.URL, u.ID, pipeline.NewID("upl"), 1),
		strings.Replace(u.URL, secret, "AAAAAAAAAAAAAAAAAAAAAA", 1),
	} {
		resp, raw := e.patch(wrong, 0, film, "X-Request-Id", "same")
		wantProblem(t, resp, raw, codeNotFound)
		answers = append(answers, string(raw))
		resp, raw = e.do("PUT", strings.Replace(wrong, "/v1/tus/", "/v1/uploads/", 1)+"/content", strings.NewReader(film))
		wantProblem(t, resp, raw, codeNotFound)
		resp, raw = e.tus("DELETE", wrong, "")
		wantProblem(t, resp, raw, codeNotFound)
	}
	if answers[0] != answers[1] || answers[1] != answers[2] {
		t.Errorf("a wrong token and a missing upload differ: %q", answers)
	}
	for _, no := range []string{"x", "a.b", "default." + u.ID + ".short", "..", "default.." + secret} {
		resp, _ := e.patch("/v1/tus/"+no, 0, film)
		if resp.StatusCode < 400 {
			t.Errorf("%s: %s", no, resp.Status)
		}
	}
	if v := e.upload(u.ID); v.Offset != 0 {
		t.Errorf("%d bytes are kept", v.Offset)
	}
}

func (e *env) all() map[string]bool {
	keys := map[string]bool{}
	for _, k := range e.objects() {
		keys[k] = true
	}
	return keys
}

// TestLostFinish cuts the work after the last byte at every place, and lets everybody who may meet the upload
// then do the rest: it becomes one video.
func TestLostFinish(t *testing.T) {
	for cut, lose := range map[string]func(e *env, log *logFault, u uploadView, key string){
		"the log fails": func(e *env, log *logFault, u uploadView, _ string) {
			log.err = errFault
			resp, raw := e.patch(u.URL, 0, film)
			wantProblem(e.t, resp, raw, codeUnavailable)
			log.err = nil
		},
		"after the last byte": func(e *env, _ *logFault, _ uploadView, key string) { e.keep(key) },
		"after the object": func(e *env, _ *logFault, _ uploadView, key string) {
			e.keep(key)
			_, err := e.pieces().Finish(e.t.Context(), key)
			must(e.t, err)
		},
		"after the event": func(e *env, _ *logFault, u uploadView, key string) {
			e.keep(key)
			d, err := e.api.s.loadUpload(e.t.Context(), project, u.ID)
			must(e.t, err)
			_, err = e.api.s.makeVideo(context.WithValue(e.t.Context(), projectKey{}, project), d)
			must(e.t, err)
		},
	} {
		for by, meet := range map[string]func(e *env, u uploadView){
			"HEAD": func(e *env, u uploadView) {
				resp, raw := e.tus("HEAD", u.URL, "")
				wantAnswer(e.t, resp, raw, 200, 24)
			},
			"PATCH": func(e *env, u uploadView) {
				resp, raw := e.patch(u.URL, 24, "")
				wantProblem(e.t, resp, raw, codeMediaType)
				resp, raw = e.tus("PATCH", u.URL, "", "Upload-Offset", "24", "Content-Type", tusBytes)
				wantAnswer(e.t, resp, raw, 204, 24)
			},
			"GET": func(e *env, u uploadView) {
				if v := e.upload(u.ID); v.Status != uploadCompleted {
					e.t.Errorf("%+v", v)
				}
			},
			"PUT": func(e *env, u uploadView) {
				resp, raw := e.do("PUT", u.ContentURL, strings.NewReader(film))
				wantAnswer(e.t, resp, raw, 200, -1)
			},
			"sweep": func(e *env, _ uploadView) { must(e.t, e.sweep(time.Now())) },
		} {
			t.Run(cut+" "+by, func(t *testing.T) {
				log := &logFault{}
				e := newEnv(t, func(c *Config) { log.Log, c.Log = c.Log, log })
				u := e.ordered(`{"size":24,"filename":"cat.mp4"}`)
				lose(e, log, u, pipeline.SourceKey(u.Video, u.ID+".mp4"))
				meet(e, u)
				e.wantFilm(u.Video)
				if v := e.upload(u.ID); v.Status != uploadCompleted {
					t.Errorf("%+v", v)
				}
				equal(t, "objects", e.objects(), uploadKey(project, u.ID), e.uploadOf(u.Video).Source.Key)
			})
		}
	}
}

// pieces returns the store as one that takes objects in pieces.
func (e *env) pieces() storage.Resumable { return e.api.s.pieces }

// keep keeps all of film, as a server that is killed after the last byte does.
func (e *env) keep(key string) {
	e.t.Helper()
	must(e.t, e.pieces().Begin(e.t.Context(), key, int64(len(film))))
	_, err := e.pieces().Append(e.t.Context(), key, 0, strings.NewReader(film), nil)
	must(e.t, err)
}

// TestRefusedAtTheEnd checks that bytes stay when the video is refused for a reason that passes, and that an
// upload ends when it is another.
func TestRefusedAtTheEnd(t *testing.T) {
	var full error
	e := newEnv(t, func(c *Config) {
		c.LogRoom = func(context.Context) error { return full }
		c.Limits.MaxProjectVideos = 1
	})
	u := e.ordered(`{"size":24}`)
	resp, raw := e.patch(u.URL, 0, film[:20])
	wantAnswer(t, resp, raw, 204, 20)
	full = pipeline.Fail(pipeline.CodeLogFull, "the log is full")
	resp, raw = e.patch(u.URL, 20, film[20:])
	wantProblem(t, resp, raw, codeLogFull)
	if v := e.upload(u.ID); v.Status != uploadUploading || v.Offset != 24 {
		t.Errorf("%+v", v)
	}
	full = nil
	other := e.uploaded()
	resp, raw = e.tus("HEAD", u.URL, "")
	if resp.StatusCode != 503 { // and not 429, which tus clients take for the end
		t.Errorf("%s: %s", resp.Status, raw)
	}
	e.finished(other.ID)
	must(t, e.sweep(time.Now()))
	e.wantFilm(u.Video)

	u = e.ordered2(t, func(d *uploadDoc) { d.Request.Pipeline = "gone" })
	resp, raw = e.patch(u.URL, 0, film)
	if p := wantProblem(t, resp, raw, codePipelineUnknown); p.Detail == "" {
		t.Error("no detail")
	}
	if v := e.upload(u.ID); v.Status != uploadErrored || v.Problem == nil || v.Problem.Code != codePipelineUnknown {
		t.Errorf("%+v", v)
	}
	resp, raw = e.tus("HEAD", u.URL, "")
	if resp.StatusCode != 410 {
		t.Errorf("%s: %s", resp.Status, raw)
	}
}

// ordered2 creates an upload whose document is changed then, as by an operator who removes a pipeline.
func (e *env) ordered2(t *testing.T, change func(*uploadDoc)) uploadView {
	t.Helper()
	e.config.Limits.MaxProjectVideos = 0
	for _, v := range read[list[pipeline.VideoView]](e, "/v1/videos").Data {
		if !v.Status.Terminal() {
			e.finished(v.ID)
		}
	}
	u := e.ordered(`{"size":24}`)
	d, err := e.api.s.loadUpload(t.Context(), project, u.ID)
	must(t, err)
	change(&d)
	must(t, e.api.s.saveUpload(t.Context(), d, false))
	return u
}

func TestCanceledUploads(t *testing.T) {
	e := newEnv(t, nil)
	for name, cancel := range map[string]func(u uploadView){
		"POST": func(u uploadView) {
			for range 2 {
				resp, raw := e.do("POST", "/v1/uploads/"+u.ID+"/cancel", nil)
				if v := decode[uploadView](t, raw); resp.StatusCode != 200 || v.Status != uploadCanceled || v.EndedAt == nil {
					t.Errorf("%s: %s", resp.Status, raw)
				}
			}
		},
		"DELETE": func(u uploadView) {
			resp, raw := e.tus("DELETE", u.URL, "")
			wantAnswer(t, resp, raw, 204, -1)
		},
	} {
		u := e.ordered(`{"size":24}`)
		resp, raw := e.patch(u.URL, 0, film[:20])
		wantAnswer(t, resp, raw, 204, 20)
		cancel(u)
		if v := e.upload(u.ID); v.Status != uploadCanceled || v.Offset != 0 {
			t.Errorf("%s: %+v", name, v)
		}
		if _, err := e.pieces().Kept(t.Context(), pipeline.SourceKey(u.Video, u.ID)); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: bytes stay: %v", name, err)
		}
		resp, raw = e.patch(u.URL, 20, film[20:])
		wantProblem(t, resp, raw, codeUploadEnded)
		resp, raw = e.do("PUT", u.ContentURL, strings.NewReader(film))
		wantProblem(t, resp, raw, codeUploadEnded)
	}
	u := e.ordered(`{"size":24}`)
	resp, raw := e.patch(u.URL, 0, film)
	wantAnswer(t, resp, raw, 204, 24)
	resp, raw = e.tus("DELETE", u.URL, "")
	wantProblem(t, resp, raw, codeState)
	resp, raw = e.do("POST", "/v1/uploads/"+u.ID+"/cancel", nil)
	wantProblem(t, resp, raw, codeState)
	e.wantFilm(u.Video)
	resp, raw = e.do("POST", "/v1/uploads/upl_x/cancel", nil)
	wantProblem(t, resp, raw, codeNotFound)
}

// TestExpiry checks what a sweep removes, and that a clock that is set forward removes nothing.
func TestExpiry(t *testing.T) {
	jumped := time.Duration(0)
	e := newEnv(t, func(c *Config) { c.Jumped = func() time.Duration { return jumped } })
	u := e.ordered(`{"size":24}`)
	resp, raw := e.patch(u.URL, 0, film[:20])
	wantAnswer(t, resp, raw, 204, 20)
	begin := time.Now()
	must(t, e.sweep(begin.Add(23*time.Hour)))
	if v := e.upload(u.ID); v.Status != uploadUploading {
		t.Fatalf("%+v", v)
	}
	jumped = 30 * 24 * time.Hour
	must(t, e.sweep(begin.Add(jumped)))
	if v := e.upload(u.ID); v.Status != uploadUploading {
		t.Fatalf("after the clock was set forward: %+v", v)
	}
	jumped = 0
	unlock := e.api.s.locks.try(u.ID)
	must(t, e.sweep(begin.Add(25*time.Hour)))
	unlock()
	if v := e.upload(u.ID); v.Status != uploadUploading {
		t.Fatalf("while somebody worked on it: %+v", v)
	}
	must(t, e.sweep(begin.Add(25*time.Hour)))
	if v := e.upload(u.ID); v.Status != uploadExpired || v.Offset != 0 {
		t.Fatalf("%+v", v)
	}
	if _, err := e.pieces().Kept(t.Context(), pipeline.SourceKey(u.Video, u.ID)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("bytes stay: %v", err)
	}
	resp, raw = e.patch(u.URL, 20, film[20:])
	wantProblem(t, resp, raw, codeUploadEnded)
	must(t, e.sweep(time.Now().Add(25*time.Hour)))
	resp, raw = e.get("/v1/uploads/" + u.ID)
	wantProblem(t, resp, raw, codeNotFound)
	equal(t, "objects", e.objects())
}

// TestBytesPutOffTheExpiry checks that the time of an upload begins anew with its bytes.
func TestBytesPutOffTheExpiry(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	d, err := e.api.s.loadUpload(t.Context(), project, u.ID)
	must(t, err)
	d.ExpiresAt = time.Now().Add(time.Hour)
	must(t, e.api.s.saveUpload(t.Context(), d, false))
	resp, raw := e.patch(u.URL, 0, film[:20])
	wantAnswer(t, resp, raw, 204, 20)
	if v := e.upload(u.ID); time.Until(*v.ExpiresAt) < 23*time.Hour {
		t.Errorf("it expires at %s", v.ExpiresAt)
	}
}

func TestLimitOfWaitingUploads(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxWaitingUploads = 2 })
	first := e.ordered("{}")
	e.ordered("{}", "Idempotency-Key", "k")
	resp, raw := e.order("{}")
	wantProblem(t, resp, raw, codeTooManyUploads)
	e.ordered("{}", "Idempotency-Key", "k") // is no new one
	e.do("POST", "/v1/uploads/"+first.ID+"/cancel", nil)
	e.ordered("{}")
	must(t, e.sweep(time.Now()))
	resp, raw = e.order("{}")
	wantProblem(t, resp, raw, codeTooManyUploads)
}

// TestUploadDocument reads a document that this version wrote: later ones must, too.
func TestUploadDocument(t *testing.T) {
	raw := `{"id":"upl_1","project":"default","video_id":"vid_1","filename":"a.mp4","size":24,
		"key":"videos/vid_1/source/upl_1.mp4","request":{"pipeline":"p","priority":"bulk","title":"t","metadata":{"a":"b"},
		"passthrough":"q","webhook_url":"https://h","params":{"watermark":{"text":"x"}}},"token_hash":"h",
		"status":"waiting","created_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-03T03:04:05Z"}`
	d := decode[uploadDoc](t, []byte(raw))
	again, err := json.Marshal(d)
	must(t, err)
	var want bytes.Buffer
	must(t, json.Compact(&want, []byte(raw)))
	if string(again) != want.String() {
		t.Errorf("got %s, want %s", again, want.String())
	}
}

// TestAcceptedTwice checks that an upload that is accepted again, by a server that does not know that it was,
// keeps its source.
func TestAcceptedTwice(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	e.keep(pipeline.SourceKey(u.Video, u.ID))
	d, err := e.api.s.loadUpload(t.Context(), project, u.ID)
	must(t, err)
	ctx := context.WithValue(t.Context(), projectKey{}, project)
	for range 2 {
		_, err = e.api.s.makeVideo(ctx, d)
		must(t, err)
	}
	e.wantFilm(u.Video)
}

// TestExpiryKeepsTheSourceOfAVideo: a process dies after it wrote video.uploaded and before it noted the end of
// the upload. When the upload expires while the log does not answer, its bytes are the video's source.
func TestExpiryKeepsTheSourceOfAVideo(t *testing.T) {
	log := &muteLog{}
	e := newEnv(t, func(c *Config) { log.Log, c.Log = c.Log, log })
	u := e.ordered(`{"size":24,"filename":"cat.mp4"}`)
	e.keep(pipeline.SourceKey(u.Video, u.ID+".mp4"))
	d, err := e.api.s.loadUpload(t.Context(), project, u.ID)
	must(t, err)
	_, err = e.api.s.makeVideo(context.WithValue(t.Context(), projectKey{}, project), d)
	must(t, err)
	log.err = errFault
	if err := e.sweep(time.Now().Add(25 * time.Hour)); !errors.Is(err, errFault) {
		t.Errorf("sweep: %v", err)
	}
	log.err = nil
	e.wantFilm(u.Video)
}

// muteLog is a log that may fail to answer what it holds.
type muteLog struct {
	pipeline.Log
	err error
}

func (l *muteLog) Last(ctx context.Context, subjects ...string) ([]pipeline.Event, error) {
	if l.err != nil {
		return nil, l.err
	}
	return l.Log.Last(ctx, subjects...)
}
