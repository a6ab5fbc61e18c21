package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// TestHold: a held video is not deleted by anybody, until somebody with the scope admin removes the hold.
func TestHold(t *testing.T) {
	g := newGated(t)
	_, writer := g.key("default", time.Time{}, access.Upload, access.Read, access.Write)
	k, admin := g.key("default", time.Time{}, access.Read, access.Write, access.Admin)
	id := g.uploaded("Authorization", "Bearer "+writer).ID
	send := func(method, credential, body string) (*http.Response, []byte) {
		return g.do(method, "/v1/videos/"+id, strings.NewReader(body),
			"Content-Type", "application/json", "Authorization", "Bearer "+credential)
	}
	resp, raw := send("PATCH", writer, `{"hold":{}}`)
	wantProblem(t, resp, raw, codeScope)
	for body, want := range map[string]code{
		`{"hold":true}`: codeInvalid, `{"hold":{"reason":7}}`: codeInvalid, `{"hold":{"raeson":"x"}}`: codeFieldUnknown,
		`{"hold":{"reason":"` + strings.Repeat("x", 513) + `"}}`: codeFieldTooLarge,
	} {
		resp, raw := send("PATCH", admin, body)
		wantProblem(t, resp, raw, want)
	}
	resp, raw = send("PATCH", admin, `{"hold":{"reason":"case 7"},"title":"Evidence"}`)
	v := decode[pipeline.VideoView](t, raw)
	if resp.StatusCode != 200 || v.Hold == nil || v.Hold.Reason != "case 7" || v.Hold.By != "key:"+k.ID ||
		v.Title != "Evidence" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = send("DELETE", admin, "")
	wantProblem(t, resp, raw, codeVideoHeld)
	if resp, raw = send("PATCH", admin, `{"hold":null}`); decode[pipeline.VideoView](t, raw).Hold != nil {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	if resp, raw = send("DELETE", admin, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("%s: %s", resp.Status, raw)
	}
}

// TestRetentionOfAProject: a rule that would delete something now is refused until somebody says that he has
// seen it; a dry run says how much that is. A video says when it expires.
func TestRetentionOfAProject(t *testing.T) {
	rules := pipeline.Retention{}
	g := newGated(t, func(c *Config) {
		c.RetentionDay = time.Nanosecond
		c.Retention = func(string) pipeline.Retention { return rules }
	})
	_, root := g.key(access.Operator, time.Time{}, access.Operate, access.Admin)
	_, owner := g.key("default", time.Time{}, access.Upload, access.Read)
	patch := func(query, body string) (*http.Response, []byte) {
		return g.do("PATCH", "/v1/projects/default"+query, strings.NewReader(body),
			"Content-Type", "application/json", "Authorization", "Bearer "+root)
	}
	ended := g.uploaded("Authorization", "Bearer "+owner)
	open := g.uploaded("Authorization", "Bearer "+owner)
	end := g.finished(ended.ID)
	for query, body := range map[string]string{
		"": `{"retention":{"days":1}}`, "?dry_run=true": `{"retention":{"source_days":3,"video_days":2}}`,
		"?dry_run=false": `{"retention":{"source_days":-1}}`, "?dry_run=yes": `{}`,
	} {
		resp, raw := patch(query, body)
		wantProblem(t, resp, raw, codeInvalid)
	}
	resp, raw := patch("?dry_run=true", `{"retention":{"video_days":2}}`)
	p := decode[changedProject](t, raw)
	if d := p.WouldDelete; resp.StatusCode != 200 || !p.DryRun || p.Retention.VideoDays != 2 || d == nil ||
		d.Videos != 1 || d.Sources != 0 || d.Bytes != ended.Size {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = patch("?dry_run=true", `{"retention":{"source_days":2}}`)
	if d := decode[changedProject](t, raw).WouldDelete; d == nil || d.Videos != 0 || d.Sources != 1 ||
		d.Bytes != ended.Size {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	resp, raw = patch("", `{"retention":{"video_days":2}}`)
	wantProblem(t, resp, raw, codeWouldDelete)
	_, raw = g.get("/v1/projects/default", "Authorization", "Bearer "+root)
	if p := decode[access.Project](t, raw); p.Retention != (pipeline.Retention{}) {
		t.Errorf("a refused rule and dry runs changed it: %s", raw)
	}
	resp, raw = patch("?dry_run=false", `{"retention":{"video_days":2}}`)
	if p := decode[changedProject](t, raw); resp.StatusCode != 200 || p.Retention.VideoDays != 2 || p.DryRun {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	if resp, raw = patch("", `{"title":"x"}`); resp.StatusCode != 200 {
		t.Errorf("a change of something else: %s: %s", resp.Status, raw)
	}
	rules.VideoDays = 2
	_, raw = g.get("/v1/videos/"+ended.ID, "Authorization", "Bearer "+owner)
	if v := decode[pipeline.VideoView](t, raw); v.ExpiresAt == nil || !v.ExpiresAt.Equal(end.Time.Add(2)) {
		t.Errorf("it expires at %v, and ended at %s", v.ExpiresAt, end.Time)
	}
	_, raw = g.get("/v1/videos/"+open.ID, "Authorization", "Bearer "+owner)
	if v := decode[pipeline.VideoView](t, raw); v.ExpiresAt != nil {
		t.Errorf("an open one expires at %v", v.ExpiresAt)
	}
}

// TestNewProjectsWithUnknownNames: a misspelt limit or rule is refused when a project is made, too.
func TestNewProjectsWithUnknownNames(t *testing.T) {
	g := newGated(t)
	_, root := g.key(access.Operator, time.Time{}, access.Operate)
	create := func(body string) (*http.Response, []byte) {
		return g.do("POST", "/v1/projects", strings.NewReader(body),
			"Content-Type", "application/json", "Authorization", "Bearer "+root)
	}
	for part, name := range map[string]string{
		`"limits":{"minutes_storde":60}`: "minutes_storde", `"retention":{"source_day":7}`: "source_day", `"colour":1`: "colour",
	} {
		resp, raw := create(`{"name":"shop",` + part + `}`)
		if wantProblem(t, resp, raw, codeInvalid); !strings.Contains(string(raw), name) {
			t.Errorf("the answer does not name %s: %s", name, raw)
		}
	}
	resp, raw := create(`{"name":"shop","limits":{"minutes_stored":60},"retention":{"source_days":7,"video_days":30}}`)
	p := decode[access.Project](t, raw)
	if resp.StatusCode != 201 || p.Limits.MinutesStored != 60 ||
		p.Retention != (pipeline.Retention{SourceDays: 7, VideoDays: 30}) {
		t.Errorf("%s: %s", resp.Status, raw)
	}
}

// TestRetryWithoutASource: what needs a source that is gone is refused, and says what to do.
func TestRetryWithoutASource(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.errored(id, "transcode-0000")
	e.tell(pipeline.VideoErrored, pipeline.FinishedSubject(project, id), pipeline.Finish{State: pipeline.StateVideoErrored})
	e.tell(pipeline.VideoSourceDeleted, pipeline.SourceDeletedSubject(project, id), pipeline.Deletion{})
	for _, path := range []string{"/v1/videos/" + id + "/retry", "/v1/jobs/" + id + "/transcode-0000/retry"} {
		resp, raw := e.act(path)
		if p := wantProblem(t, resp, raw, codeSourceGone); !strings.Contains(p.Remedy, "Upload the video again") {
			t.Errorf("%s: %s", path, raw)
		}
	}
	if v := read[pipeline.VideoView](e, "/v1/videos/"+id); v.SourceDeletedAt == nil {
		t.Errorf("%+v", v)
	}
}
