package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// fetch asks for a video whose source is to be fetched; headers come in pairs.
func (e *env) fetch(body string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	return e.do("POST", "/v1/videos", strings.NewReader(body),
		append([]string{"Content-Type", "application/json"}, headers...)...)
}

// TestFetchOrder: a video is there at once, with all that a form may ask for, and no answer shows more of the
// URL than its host.
func TestFetchOrder(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.fetch(`{"url":"https://files.example/a/secret.mp4?sig=secret","filename":"..\\cat.MP4","title":"Cat",
		"metadata":{"a":"b"},"passthrough":"p","webhook_url":"https://hooks.example/x","watermark":{"text":"x"},
		"priority":"bulk","pipeline":"default"}`)
	if resp.StatusCode != 201 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	v := decode[pipeline.VideoView](t, raw)
	if v.Filename != "cat.MP4" || v.Title != "Cat" || v.Metadata["a"] != "b" || v.Passthrough != "p" || v.Size != 0 ||
		resp.Header.Get("Location") != "/v1/videos/"+v.ID {
		t.Errorf("%s, Location %q", raw, resp.Header.Get("Location"))
	}
	up := e.uploadOf(v.ID)
	if up.Fetch == nil || up.Fetch.URL != "https://files.example/a/secret.mp4?sig=secret" || up.Fetch.Filename != "cat.MP4" ||
		up.Fetch.MaxBytes != 1<<20 || up.Source.Key != "" || up.Priority != pipeline.Bulk ||
		up.Webhook.URL != "https://hooks.example/x" || up.Requested["watermark"]["text"] != "x" {
		t.Errorf("%+v with %+v", up, up.Fetch)
	}
	_, shown := e.get("/v1/videos/"+v.ID+"/events", "Accept", "application/json")
	if !strings.Contains(string(shown), "files.example") || strings.Contains(string(raw)+string(shown), "secret") {
		t.Errorf("the answers show %s and %s", raw, shown)
	}
	if left := e.objects(); len(left) != 0 {
		t.Errorf("objects %v", left)
	}
}

// TestFetchAgain: with an idempotency key, an order that is sent again is one video, and another is refused.
func TestFetchAgain(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.fetch(`{"url":"https://files.example/a.mp4"}`, "Idempotency-Key", "k")
	first := decode[pipeline.VideoView](t, raw)
	if resp.StatusCode != 201 || resp.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = e.fetch(`{"url":"https://files.example/a.mp4"}`, "Idempotency-Key", "k")
	if again := decode[pipeline.VideoView](t, raw); resp.StatusCode != 201 || again.ID != first.ID ||
		resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	resp, raw = e.fetch(`{"url":"https://files.example/b.mp4"}`, "Idempotency-Key", "k")
	wantProblem(t, resp, raw, codeKeyReused)
	resp, raw = e.post([]part{file("a.mp4", "meow")}, "Idempotency-Key", "k")
	wantProblem(t, resp, raw, codeKeyReused)
}

// TestFetchRefused: what cannot be fetched or asked for is refused before there is a video, and the answer
// says which field it is.
func TestFetchRefused(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.CheckFetchURL = func(u string) error {
			if strings.Contains(u, "10.0.0.1") {
				return pipeline.Fail(pipeline.CodeFetchRefused, "the URL leads to an address that is not public")
			}
			return nil
		}
	})
	for body, want := range map[string]struct {
		code    code
		pointer string
	}{
		`{"url":"http://10.0.0.1/x?sig=secret"}`: {codeFetchRefused, "/body/url"},
		`{"title":"x"}`:                          {codeInvalid, "/body/url"},
		`{"url":null}`:                           {codeInvalid, "/body/url"},
		`{"url":5}`:                              {codeInvalid, "/body/url"},
		`{"url":"https://a.example/` + strings.Repeat("x", 8192) + `"}`: {codeFieldTooLarge, "/body/url"},
		`{"url":"https://a.example/x","size":5}`:                        {codeFieldUnknown, "/body/size"},
		`{"url":"https://a.example/x","file":"y"}`:                      {codeFieldUnknown, "/body/file"},
		`{"url":"https://a.example/x","pipeline":"none"}`:               {codePipelineUnknown, "/body/pipeline"},
		`{"url":"https://a.example/x","metadata":{"a":1}}`:              {codeMetadata, "/body/metadata"},
		`{"url":"https://a.example/x","watermark":{}}`:                  {"watermark_invalid", "/body/watermark"},
		`{"url":"https://a.example/x","watermark":{"image":"x"}}`:       {"watermark_invalid", "/body/watermark/image"},
		`["https://a.example/x"]`:                                       {codeInvalid, "/body"},
		`{"url":`:                                                       {codeInvalid, "/body"},
	} {
		resp, raw := e.fetch(body)
		p := wantProblem(t, resp, raw, want.code)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != want.pointer || strings.Contains(string(raw), "secret") {
			t.Errorf("%.80s: %s", body, raw)
		}
	}
	resp, raw := e.order(`{"url":"https://a.example/x"}`)
	wantProblem(t, resp, raw, codeFieldUnknown) // an upload has no url
	if list := read[list[pipeline.VideoView]](e, "/v1/videos"); len(list.Data) != 0 {
		t.Errorf("%+v", list.Data)
	}
}

// TestFetchWithoutRoom: a server without room takes no URL either.
func TestFetchWithoutRoom(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxVideos = 1 })
	if resp, raw := e.fetch(`{"url":"https://a.example/x"}`); resp.StatusCode != 201 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw := e.fetch(`{"url":"https://a.example/y"}`)
	wantProblem(t, resp, raw, codeQueueFull)
}
