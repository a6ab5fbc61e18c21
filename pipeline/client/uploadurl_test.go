package client

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestUploadOfURL asks the server to fetch a video, and loses the first answer: there is one video.
func TestUploadOfURL(t *testing.T) {
	e := newEnv(t)
	const address = "https://files.example.com/a.mp4?sig=1"
	lost := false
	e.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && !lost {
			lost = true
			e.srv.Config.Handler.(http.HandlerFunc)(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		return false
	})
	v, err := e.client.Upload(t.Context(), Upload{
		URL: address, Name: "cat.mp4", Title: "Cat", Metadata: map[string]string{"a": "b"}, Priority: pipeline.Bulk,
		Passthrough: "p", Watermark: `text:x`, WebhookURL: "https://hooks.example/",
	})
	must(t, err)
	if v.Title != "Cat" || v.Filename != "cat.mp4" || v.Metadata["a"] != "b" || v.Size != 0 || v.Passthrough != "p" ||
		e.videos() != 1 || !lost {
		t.Errorf("%d videos, %+v", e.videos(), v)
	}
	last, err := e.Bus.Last(t.Context(), pipeline.UploadedSubject(project, v.ID))
	must(t, err)
	var up pipeline.Upload
	must(t, last[0].Decode(&up))
	if up.Fetch == nil || up.Fetch.URL != address || up.Priority != pipeline.Bulk || up.Webhook == nil {
		t.Errorf("%+v", up)
	}
	for want, u := range map[string]Upload{
		"both URL and a file":     {URL: address, Path: "x.mp4"},
		"an image as watermark":   {URL: address, Watermark: "logo.png"},
		"is not a JSON object":    {URL: address, Watermark: "{"},
		"field_too_large":         {URL: "https://a.example/" + strings.Repeat("x", 9<<10)},
		"neither Path, nor Reade": {},
	} {
		if _, err := e.client.Upload(t.Context(), u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
