package api

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestLastUseOfAKey: lists and keys say when a key was last used, to a minute; revoked ones keep it.
func TestLastUseOfAKey(t *testing.T) {
	g := newGated(t)
	uses := access.NewUses(g.Bus)
	g.api.s.cfg.Uses = uses
	done := make(chan error, 1)
	go func() { done <- uses.Run(t.Context(), slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { must(t, <-done) }) // t.Context has ended
	began := time.Now().Truncate(time.Second)
	_, admin := g.key("default", time.Time{}, access.Admin)
	used, reader := g.key("default", time.Time{}, access.Read)
	unused, _ := g.key("default", time.Time{}, access.Read)
	g.get("/v1/videos", "Authorization", "Bearer "+reader)
	lastUse := func(id string) *time.Time {
		_, raw := g.get("/v1/keys/"+id, "Authorization", "Bearer "+admin)
		return decode[access.Key](t, raw).LastUsedAt
	}
	pipelinetest.Until(t, "the use is noted", func() bool { return lastUse(used.ID) != nil })
	if at := *lastUse(used.ID); at.Before(began) || at.After(time.Now()) {
		t.Errorf("used at %s, after %s", at, began)
	}
	if at := lastUse(unused.ID); at != nil {
		t.Errorf("the unused one: used at %s", at)
	}
	_, err := access.RevokeKey(t.Context(), g.Bus, "default", used.ID)
	must(t, err)
	_, raw := g.get("/v1/keys", "Authorization", "Bearer "+admin)
	for _, k := range decode[list[access.Key]](t, raw).Data {
		if (k.LastUsedAt == nil) != (k.ID == unused.ID) {
			t.Errorf("in the list: %+v", k)
		}
	}
}

// TestProjectsChangeAndEnd: an operator changes a project, and deletes it when nothing is left of it.
func TestProjectsChangeAndEnd(t *testing.T) {
	g := newGated(t)
	_, root := g.key(access.Operator, time.Time{}, access.Operate, access.Admin, access.Write)
	g.project("shop")
	k, seller := g.key("shop", time.Time{}, access.Upload, access.Read, access.Admin)
	send := func(method, path, credential, body string, headers ...string) (*http.Response, []byte) {
		return g.do(method, path, strings.NewReader(body), append([]string{
			"Content-Type", "application/json", "Authorization", "Bearer " + credential,
		}, headers...)...)
	}
	resp, raw := send("PATCH", "/v1/projects/shop", root, `{"title":"Corner shop"}`)
	p := decode[access.Project](t, raw)
	if resp.StatusCode != 200 || p.Title != "Corner shop" || p.Name != "shop" {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	if _, raw := send("PATCH", "/v1/projects/shop", root, `{}`); decode[access.Project](t, raw).Title != "Corner shop" {
		t.Errorf("an empty change: %s", raw)
	}
	for _, step := range []struct {
		body string
		want access.Settings
	}{
		{`{"limits":{"minutes_stored":60,"requests_per_second":1000}}`,
			access.Settings{Limits: access.Limits{MinutesStored: 60, RequestsPerSecond: 1000}}},
		{`{"playback_policy":"signed","limits":{"minutes_stored":0,"upload_bytes_per_day":1000000}}`, access.Settings{
			Limits:         access.Limits{RequestsPerSecond: 1000, UploadBytesPerDay: 1000000},
			PlaybackPolicy: pipeline.PlaybackSigned,
		}},
		{`{"playback_policy":"public","limits":{"requests_per_second":0,"upload_bytes_per_day":0}}`,
			access.Settings{PlaybackPolicy: pipeline.PlaybackPublic}},
	} {
		for name, title := range map[string]string{"shop": "Corner shop", "default": ""} {
			step.want.Title = title
			resp, raw := send("PATCH", "/v1/projects/"+name, root, step.body)
			p := decode[access.Project](t, raw)
			if resp.StatusCode != 200 || p.Name != name || p.Settings != step.want {
				t.Errorf("%s of %s: %s: %s", step.body, name, resp.Status, raw)
			}
		}
	}
	for _, body := range []string{
		`{"limits":{"minutes_stored":-1}}`, `{"limits":{"minutes":1}}`, `{"limits":{"request_burst":1}}`,
		`{"playback_policy":"secret"}`,
	} {
		resp, raw := send("PATCH", "/v1/projects/shop", root, body)
		wantProblem(t, resp, raw, codeInvalid)
	}
	resp, raw = send("PATCH", "/v1/projects/none", root, `{}`)
	wantProblem(t, resp, raw, codeNotFound)
	resp, raw = send("PATCH", "/v1/projects/shop", root, `{"titel":"x"}`)
	wantProblem(t, resp, raw, codeInvalid)
	resp, raw = send("DELETE", "/v1/projects/default", root, "")
	wantProblem(t, resp, raw, codeInvalid)
	resp, raw = send("DELETE", "/v1/projects/none", root, "")
	wantProblem(t, resp, raw, codeNotFound)

	refused := func(what string) {
		t.Helper()
		resp, raw := send("DELETE", "/v1/projects/shop", root, "")
		if p := wantProblem(t, resp, raw, codeNotEmpty); !strings.Contains(p.Detail, what) {
			t.Errorf("%q, want %s", p.Detail, what)
		}
	}
	video := g.uploaded("Authorization", "Bearer "+seller).ID
	refused(video)
	resp, raw = send("DELETE", "/v1/videos/"+video, root, "", projectHeader, "shop")
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	_, raw = send("POST", "/v1/uploads", seller, `{"filename":"a.mp4","size":4}`)
	upload := decode[struct{ ID string }](t, raw).ID
	refused(upload)
	send("POST", "/v1/uploads/"+upload+"/cancel", root, "", projectHeader, "shop")
	_, raw = send("POST", "/v1/webhook_endpoints", seller, `{"url":"https://example.com/hook","events":["*"]}`)
	endpoint := decode[struct{ ID string }](t, raw).ID
	refused(endpoint)
	send("DELETE", "/v1/webhook_endpoints/"+endpoint, seller, "")
	refused(k.ID)
	send("POST", "/v1/keys/"+k.ID+"/revoke", root, "", projectHeader, "shop")
	resp, raw = send("DELETE", "/v1/projects/shop", root, "")
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("an empty project: %s %s", resp.Status, raw)
	}
	resp, raw = send("GET", "/v1/projects/shop", root, "")
	wantProblem(t, resp, raw, codeNotFound)
	resp, raw = send("POST", "/v1/keys", root, `{"name":"x","scopes":["read"]}`, projectHeader, "shop")
	wantProblem(t, resp, raw, codeNotFound)
}
