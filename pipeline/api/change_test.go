package api

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// change sends a change.
func (e *env) change(id, body string, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	return e.do("PATCH", "/v1/videos/"+id, strings.NewReader(body),
		append([]string{"Content-Type", "application/merge-patch+json"}, headers...)...)
}

func TestChangeVideo(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.post([]part{
		field("title", "A cat"), field("metadata", `{"a":"1","b":"2"}`), field("passthrough", "p"), file("cat.mp4", "meow"),
	})
	if resp.StatusCode != 201 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	v := decode[pipeline.VideoView](t, raw)
	if v.Title != "A cat" {
		t.Errorf("title %q", v.Title)
	}
	for _, c := range []struct {
		body, title, passthrough string
		metadata                 map[string]string
	}{
		{`{"title":"B"}`, "B", "p", map[string]string{"a": "1", "b": "2"}},
		{`{"metadata":{"a":null,"c":"3"}}`, "B", "p", map[string]string{"b": "2", "c": "3"}},
		{`{}`, "B", "p", map[string]string{"b": "2", "c": "3"}},
		{`{"title":null,"passthrough":null}`, "", "", map[string]string{"b": "2", "c": "3"}},
		{`{"metadata":null,"passthrough":"<ü>"}`, "", "<ü>", map[string]string{}},
	} {
		resp, raw := e.change(v.ID, c.body)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %s: %s", c.body, resp.Status, raw)
		}
		for _, got := range []pipeline.VideoView{
			decode[pipeline.VideoView](t, raw), read[pipeline.VideoView](e, "/v1/videos/"+v.ID),
		} {
			if got.Title != c.title || got.Passthrough != c.passthrough || !maps.Equal(got.Metadata, c.metadata) {
				t.Errorf("%s: %q %q %v", c.body, got.Title, got.Passthrough, got.Metadata)
			}
		}
	}
	_, raw = e.get("/v1/videos/"+v.ID+"/events", "Accept", "application/json")
	events := decode[list[pipeline.Event]](t, raw)
	if n := len(events.Data); n != 5 { // {} changed nothing
		t.Errorf("%d events: %+v", n, events.Data)
	}
}

// TestChangeOfAnOlderVideo: If-Match refuses a change that was made for other texts.
func TestChangeOfAnOlderVideo(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	resp, _ := e.get("/v1/videos/" + id)
	tag := resp.Header.Get("ETag")
	resp, raw := e.change(id, `{"title":"first"}`, "If-Match", tag)
	second := resp.Header.Get("ETag")
	if resp.StatusCode != 200 || tag == "" || second == tag {
		t.Fatalf("%s, %s then %s: %s", resp.Status, tag, second, raw)
	}
	for _, old := range []string{tag, "W/" + second, `"x"`, second[1:]} {
		resp, raw := e.change(id, `{"title":"second"}`, "If-Match", old)
		wantProblem(t, resp, raw, codePrecondition)
	}
	for _, tags := range []string{"*", `"x", ` + second} {
		if resp, raw := e.change(id, `{"title":"first"}`, "If-Match", tags); resp.StatusCode != 200 {
			t.Errorf("%s: %s", tags, raw)
		}
	}
	e.job(pipeline.JobStarted, id, "inspect")
	if resp, _ := e.get("/v1/videos/" + id); resp.Header.Get("ETag") != second {
		t.Error("the ETag changes with the state")
	}
}

func TestChangeRefused(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxMetadata = 100 })
	id := e.uploaded().ID
	for _, c := range []struct {
		body, pointer string
		code          code
	}{
		{`{"titel":"x"}`, "/body/titel", codeFieldUnknown},
		{`{"title":1}`, "/body/title", codeInvalid},
		{`{"passthrough":{}}`, "/body/passthrough", codeInvalid},
		{`{"metadata":{"a":1}}`, "/body/metadata", codeMetadata},
		{`{"metadata":[]}`, "/body/metadata", codeMetadata},
		{`{"metadata":{"a":"` + strings.Repeat("x", 100) + `"}}`, "/body/metadata", codeFieldTooLarge},
		{`{"title":"` + strings.Repeat("x", maxTitle+1) + `"}`, "/body/title", codeFieldTooLarge},
		{`{"passthrough":"` + strings.Repeat("x", maxPassthrough+1) + `"}`, "/body/passthrough", codeFieldTooLarge},
		{`[]`, "/body", codeInvalid},
		{`null`, "/body", codeInvalid},
		{"{\"title\":\"\xff\"}", "/body", codeInvalid},
		{`{"metadata":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "/body", codeInvalid},
	} {
		resp, raw := e.change(id, c.body)
		if p := wantProblem(t, resp, raw, c.code); len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%.40s: %s", c.body, raw)
		}
	}
	resp, raw := e.change(id, ``)
	wantProblem(t, resp, raw, codeInvalid)
	resp, raw = e.change(id, `{}`, "Content-Type", "text/plain")
	wantProblem(t, resp, raw, codeMediaType)
	for _, other := range []string{"vid_none", "a.b"} {
		resp, raw := e.change(other, `{"title":"x"}`)
		wantProblem(t, resp, raw, codeNotFound)
	}
	if resp, raw := e.do("DELETE", "/v1/videos/"+id, nil); resp.StatusCode != 204 {
		t.Fatalf("%s", raw)
	}
	resp, raw = e.change(id, `{"title":"x"}`)
	wantProblem(t, resp, raw, codeNotFound)
	resp, raw = e.post([]part{field("title", strings.Repeat("ü", maxTitle+1)), file("a.mp4", "meow")})
	wantProblem(t, resp, raw, codeFieldTooLarge)
}
