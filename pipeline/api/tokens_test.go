package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// tokensOf returns the tokens of the installation that a log is of.
func tokensOf(t *testing.T, log pipeline.Log) *access.Tokens {
	t.Helper()
	root, err := access.OpenRoot(t.Context(), log.(access.Vault))
	must(t, err)
	return access.NewTokens(root)
}

// shopOrigin is the origin of the page that uses tokens.
const shopOrigin = "https://shop.example"

// mint makes a token with a key, and returns the token.
func (g *gated) mint(key, path, body string) (id, token string) {
	g.t.Helper()
	resp, raw := g.do("POST", path, strings.NewReader(body), "Content-Type", "application/json", "Authorization", "Bearer "+key)
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Cache-Control") != "no-store" {
		g.t.Fatalf("POST %s: %s: %s", path, resp.Status, raw)
	}
	made := decode[struct{ ID, Token string }](g.t, raw)
	return made.ID, made.Token
}

// page sends a request as a page of an origin does, in the way of browsers.
func (g *gated) page(method, path, origin, token, body string, headers ...string) (*http.Response, []byte) {
	g.t.Helper()
	headers = append(headers, "Sec-Fetch-Site", "cross-site", "Content-Type", "application/json")
	if origin != "" {
		headers = append(headers, "Origin", origin)
	}
	if token != "" {
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	resp, raw := g.do(method, path, strings.NewReader(body), headers...)
	if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "*" {
		g.t.Errorf("%s %s: the page may not read the answer: %q", method, path, allowed)
	}
	return resp, raw
}

// TestUploadToken: a page of the right origin makes one upload with a token, as its limits say, and does nothing else.
func TestUploadToken(t *testing.T) {
	g := newGated(t)
	_, key := g.key("default", time.Time{}, access.Upload)
	id, token := g.mint(key, "/v1/upload_tokens", `{"max_size":16,"content_types":["video/*"],"origin":"https://Shop.example:443"}`)
	ask := func(body string) (*http.Response, []byte) {
		t.Helper()
		return g.page("POST", "/v1/uploads", shopOrigin, token, body)
	}
	for _, refused := range []struct {
		body string
		as   code
	}{
		{`{"filename":"a.mp4","size":17}`, codeUploadTooLarge}, {`{"filename":"a.mp4"}`, codeInvalid},
		{`{"filename":"a.png","size":16}`, codeUploadType},
	} {
		resp, raw := ask(refused.body)
		wantProblem(t, resp, raw, refused.as)
	}
	for _, origin := range []string{"", "null", "https://evil.example", shopOrigin + ":8443", "http://shop.example"} {
		resp, raw := g.page("POST", "/v1/uploads", origin, token, `{"filename":"a.mp4","size":16}`)
		wantProblem(t, resp, raw, codeTokenOrigin)
	}
	resp, raw := g.page("POST", "/v1/uploads", shopOrigin, token, `{"filename":"a.mp4","size":16}`, projectHeader, "default")
	wantProblem(t, resp, raw, codeScope)

	resp, raw = ask(`{"filename":"a.mp4","size":16}`)
	first := decode[uploadView](t, raw)
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = ask(`{"filename":"a.mp4","size":16}`)
	if again := decode[uploadView](t, raw); again.ID != first.ID || again.URL != first.URL || resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("another try made %s, the first %s", again.ID, first.ID)
	}
	resp, raw = g.page("POST", "/v1/uploads", shopOrigin, token, `{"filename":"a.mp4","size":16}`, "Idempotency-Key", "another")
	if again := decode[uploadView](t, raw); again.ID != first.ID {
		t.Errorf("%s: with a key of the client: %s", resp.Status, raw)
	}
	resp, raw = ask(`{"filename":"b.mp4","size":16}`)
	wantProblem(t, resp, raw, codeTokenUsed)
	resp, raw = g.do("PUT", strings.TrimPrefix(first.ContentURL, g.url), strings.NewReader("\x00\x00\x00\x10ftypmp42\x00\x00\x00\x00"), "Origin", shopOrigin)
	if v := decode[uploadView](t, raw); resp.StatusCode != http.StatusOK || v.Status != uploadCompleted {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	g.read(first.Video, id)
}

// read checks that a video exists in the project default, and that no event holds the token with an id.
func (g *gated) read(video, id string) {
	g.t.Helper()
	_, key := g.key("default", time.Time{}, access.Read)
	resp, raw := g.get("/v1/videos/"+video, "Authorization", "Bearer "+key)
	if v := decode[pipeline.VideoView](g.t, raw); resp.StatusCode != http.StatusOK || v.Project != "default" {
		g.t.Errorf("%s: %s (token %s)", resp.Status, raw, id)
	}
}

// TestUploadTokenOnce: whatever comes at once, a token makes one upload.
func TestUploadTokenOnce(t *testing.T) {
	g := newGated(t)
	_, key := g.key("default", time.Time{}, access.Upload)
	_, token := g.mint(key, "/v1/upload_tokens", ``)
	ids := make(chan string, 24)
	var all errgroup.Group
	for n := range cap(ids) {
		all.Go(func() error {
			req, err := http.NewRequest("POST", g.url+"/v1/uploads", strings.NewReader(fmt.Sprintf(`{"filename":"%d.mp4","size":4}`, n%3)))
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := g.client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			switch resp.StatusCode {
			case http.StatusCreated:
				ids <- decode[uploadView](t, raw).ID
			case http.StatusConflict:
			default:
				return fmt.Errorf("%s: %s", resp.Status, raw)
			}
			return nil
		})
	}
	must(t, all.Wait())
	close(ids)
	made := map[string]bool{}
	for id := range ids {
		made[id] = true
	}
	if len(made) != 1 {
		t.Errorf("the token made %v", made)
	}
}

// TestUploadTokenByTus: a tus client creates its upload with a token; a file that is not what its name says is
// refused when its bytes have come.
func TestUploadTokenByTus(t *testing.T) {
	g := newGated(t)
	_, key := g.key("default", time.Time{}, access.Upload, access.Read)
	create := func(token, metadata, length string) (*http.Response, []byte) {
		t.Helper()
		return g.page("POST", "/v1/tus", shopOrigin, token, "", "Tus-Resumable", "1.0.0", "Upload-Length", length,
			"Upload-Metadata", metadata)
	}
	const png = "\x89PNG\r\n\x1a\n, which is no video"
	length := fmt.Sprint(len(png))
	_, token := g.mint(key, "/v1/upload_tokens", `{"content_types":["video/mp4"],"max_size":1000}`)
	resp, raw := create(token, "filename YS5tcDQ=,filetype aW1hZ2UvcG5n", length) // a.mp4, image/png
	wantProblem(t, resp, raw, codeUploadType)
	resp, raw = create(token, "filename YS5tcDQ=,filetype dmlkZW8vbXA0", length) // a.mp4, video/mp4
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || at == "" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, _ = create(token, "filename YS5tcDQ=,filetype dmlkZW8vbXA0", length)
	if again := resp.Header.Get("Location"); again != at {
		t.Errorf("another try: %s, the first %s", again, at)
	}
	resp, raw = g.do("PATCH", strings.TrimPrefix(at, g.url), strings.NewReader(png), "Tus-Resumable", "1.0.0",
		"Upload-Offset", "0", "Content-Type", tusBytes, "Origin", shopOrigin)
	wantProblem(t, resp, raw, codeUploadType)
	_, raw = g.get("/v1/uploads", "Authorization", "Bearer "+key)
	if l := decode[list[uploadView]](t, raw); len(l.Data) != 1 || l.Data[0].Status != uploadErrored || l.Data[0].Problem.Code != codeUploadType {
		t.Errorf("%s", raw)
	}
	for _, name := range g.objects() {
		if strings.HasPrefix(name, "videos/") {
			t.Errorf("%s is kept of the refused file", name)
		}
	}
}

// TestPreflights: a page of any origin may ask whether it may use a token; without one it may not.
func TestPreflights(t *testing.T) {
	g := newGated(t)
	ask := func(path, method, headers string) string {
		t.Helper()
		resp, _ := g.do("OPTIONS", path, nil, "Origin", shopOrigin, "Sec-Fetch-Site", "cross-site",
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
		return resp.Header.Get("Access-Control-Allow-Origin") + " " + resp.Header.Get("Access-Control-Allow-Headers")
	}
	for _, path := range []string{"/v1/uploads", "/v1/tus", "/v1/tus/"} {
		if told := ask(path, "POST", "authorization,content-type"); !strings.HasPrefix(told, "* Authorization, ") {
			t.Errorf("%s with a token: %q", path, told)
		}
		if told := ask(path, "POST", "content-type"); told != " " {
			t.Errorf("%s without: %q", path, told)
		}
		if told := ask(path, "GET", "authorization"); told != " " {
			t.Errorf("GET %s: %q", path, told)
		}
	}
	for _, path := range []string{"/v1/videos", "/v1/keys", "/v1/videos/vid_1"} {
		if told := ask(path, "POST", "authorization"); told != " " {
			t.Errorf("%s: %q", path, told)
		}
	}
	if told := ask("/v1/videos/vid_1/events?token=rm_read_x", "GET", "last-event-id"); !strings.HasPrefix(told, "* ") {
		t.Errorf("a read token: %q", told)
	}
}

// TestTokensEnd: an expired token, one whose key is revoked, and one that is none get the same answer.
func TestTokensEnd(t *testing.T) {
	g := newGated(t)
	k, key := g.key("default", time.Time{}, access.Upload, access.Read)
	video := g.uploaded("Authorization", "Bearer "+key).ID
	_, short := g.mint(key, "/v1/upload_tokens", `{"expires_in":1}`)
	until := time.Now().Add(time.Second)
	_, up := g.mint(key, "/v1/upload_tokens", `{}`)
	_, read := g.mint(key, "/v1/videos/"+video+"/read_tokens", `{}`)
	pipelinetest.Until(t, "a token has expired", func() bool { return time.Now().After(until) })
	e, err := access.RevokeKey(t.Context(), g.Bus, "default", k.ID)
	must(t, err)
	must(t, g.book.WaitFor(pipelinetest.Context(t), e.Sequence))
	want := g.ask("POST /v1/uploads", "/v1/uploads", "")
	for name, token := range map[string]string{"expired": short, "revoked": up, "none": "rm_upload_e30.x", "read": read[:len(read)-1]} {
		got := g.ask("POST /v1/uploads", "/v1/uploads", token)
		got.header.Del("Access-Control-Allow-Origin")
		got.header.Del("Access-Control-Expose-Headers")
		if got.String() != want.String() {
			t.Errorf("%s: %s\nwithout: %s", name, got, want)
		}
	}
	resp, raw := g.page("GET", "/v1/videos/"+video+"?token="+read, shopOrigin, "", "")
	wantProblem(t, resp, raw, codeUnauthorized)
	for _, body := range []string{`{"expires_in":86401}`, `{"expires_in":0}`, `{"max_size":0}`, `{"content_types":["video"]}`, `{"origin":"shop"}`} {
		_, key := g.key("default", time.Time{}, access.Upload)
		resp, raw := g.do("POST", "/v1/upload_tokens", strings.NewReader(body), "Content-Type", "application/json", "Authorization", "Bearer "+key)
		wantProblem(t, resp, raw, codeInvalid)
	}
}

// TestReadToken: with a token in its address, a page of another origin reads one video, and follows it by each of the
// streams, until the token ends. The log has no token.
func TestReadToken(t *testing.T) {
	var log pipelinetest.Buffer
	g := newGated(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	k, key := g.key("default", time.Time{}, access.Upload, access.Read)
	auth := []string{"Authorization", "Bearer " + key}
	video, other := g.uploaded(auth...).ID, g.uploaded(auth...).ID
	_, token := g.mint(key, "/v1/videos/"+video+"/read_tokens", ``)
	with := func(path string) string { return path + "?token=" + token }
	for _, path := range []string{"/v1/videos/" + video, "/v1/videos/" + video + "/events"} {
		resp, raw := g.page("GET", with(path), shopOrigin, "", "", "Accept", "application/json")
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(raw), video) {
			t.Errorf("%s: %s: %s", path, resp.Status, raw)
		}
		if resp, raw := g.get(path, "Authorization", "Bearer "+token, "Accept", "application/json"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s by header: %s: %s", path, resp.Status, raw)
		}
	}
	there, _ := g.page("GET", with("/v1/videos/"+other), shopOrigin, "", "")
	missing, _ := g.page("GET", with("/v1/videos/vid_of_nobody"), shopOrigin, "", "")
	if there.StatusCode != http.StatusForbidden || missing.StatusCode != there.StatusCode || missing.ContentLength != there.ContentLength {
		t.Errorf("another video: %s, one that does not exist: %s", there.Status, missing.Status)
	}
	resp, raw := g.do("GET", with("/v1/videos/"+video), nil, auth...)
	wantProblem(t, resp, raw, codeInvalid) // with a header, the parameter is unknown

	stream := g.stream(with("/v1/videos/"+video+"/events"), "Origin", shopOrigin, "Sec-Fetch-Site", "cross-site")
	if first, ok := stream.next(); !ok || first.name != "video.uploaded" {
		t.Fatalf("%+v, %s", first, stream.resp.Status)
	}
	conn, _, err := websocket.Dial(pipelinetest.Context(t), g.url+with("/v1/ws"), &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {shopOrigin}, "Sec-Fetch-Site": {"cross-site"}},
	})
	must(t, err)
	defer conn.CloseNow()
	c := &socketClient{t, conn}
	for _, wrong := range []string{`"all":true`, `"videos":["` + other + `"]`, `"videos":["` + video + `","` + other + `"]`} {
		c.say(`{"type":"subscribe","id":"a",%s,"after":0}`, wrong)
		if m := c.hear(); m.Code != string(codeScope) {
			t.Errorf("%s: %+v", wrong, m)
		}
	}
	c.say(`{"type":"subscribe","id":"a","videos":[%q],"after":0}`, video)
	if m := c.hear(); m.Type != "subscribed" {
		t.Errorf("%+v", m)
	}
	types, _ := c.events("a", 1)
	equal(t, "events", types, "video.uploaded")

	_, err = access.RevokeKey(t.Context(), g.Bus, "default", k.ID)
	must(t, err)
	for ok := true; ok; {
		_, ok = stream.next() // until the stream ends
	}
	if _, _, err := conn.Read(pipelinetest.Context(t)); err == nil {
		t.Error("the WebSocket goes on after the key of its token was revoked")
	}
	if text := log.String(); !strings.Contains(text, "/events") || strings.Contains(text, token[:20]) || strings.Contains(text, "rm_read_") {
		t.Errorf("the log has the token, or no request: %s", text)
	}
}

// TestReadTokenExpires: streams end when their token does.
func TestReadTokenExpires(t *testing.T) {
	g := newGated(t)
	_, key := g.key("default", time.Time{}, access.Upload, access.Read)
	video := g.uploaded("Authorization", "Bearer "+key).ID
	pipelinetest.Longer(t, 2*time.Second, time.Minute, func(life time.Duration) error {
		_, token := g.mint(key, "/v1/videos/"+video+"/read_tokens", fmt.Sprintf(`{"expires_in":%d}`, int(life.Seconds())))
		stream := g.stream("/v1/videos/"+video+"/events?token="+token, "Origin", shopOrigin)
		if stream.resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it has expired before the stream began: %s", stream.resp.Status)
		}
		began := time.Now()
		for ok := true; ok; {
			_, ok = stream.next()
		}
		if lasted := time.Since(began); lasted < life/4 {
			return fmt.Errorf("the stream ended after %s", lasted)
		}
		resp, raw := g.get("/v1/videos/" + video + "?token=" + token)
		wantProblem(t, resp, raw, codeUnauthorized)
		return nil
	})
}

// TestMatrixOfTokens: on every route, a token is refused like no credential or for its scope, but on those that it is
// for; and what it answers about things that exist is what it answers about others.
func TestMatrixOfTokens(t *testing.T) {
	g := newGated(t)
	_, all := g.key("default", time.Time{}, access.Upload, access.Read, access.Write, access.Admin)
	g.own(all)
	_, up := g.mint(all, "/v1/upload_tokens", ``)
	_, read := g.mint(all, "/v1/videos/"+g.ids["videos"]+"/read_tokens", ``)
	for _, pattern := range g.api.s.mux.patterns {
		n := needs[pattern]
		if n == open || n == byURL || !strings.Contains(pattern, " /v1/") {
			continue
		}
		for kind, token := range map[access.TokenKind]string{access.UploadToken: up, access.ReadToken: read} {
			mine := kind == access.ReadToken && slices.Contains(readByToken, pattern) ||
				kind == access.UploadToken && strings.HasPrefix(pattern, "POST ") && isCreation(g.path(pattern, false))
			there, missing := g.ask(pattern, g.path(pattern, false), token), g.ask(pattern, g.path(pattern, true), token)
			if mine {
				if there.is(codeScope) || there.is(codeUnauthorized) {
					t.Errorf("%s with the token for it: %s", pattern, there)
				}
				if strings.Contains(pattern, "{id}") && !missing.is(codeScope) {
					t.Errorf("%s of another video: %s", pattern, missing)
				}
				continue
			}
			if !there.is(codeScope) || there.String() != missing.String() {
				t.Errorf("%s with a token for %s: %s\n%s", pattern, kind, there, missing)
			}
		}
	}
}

// TestTokensWhereNobodyAsks: a server that asks for no credential judges tokens all the same, so that a page elsewhere
// gains nothing by one that is not ours. What nobody made counts until somebody is asked for.
func TestTokensWhereNobodyAsks(t *testing.T) {
	required := false
	g := newGated(t, func(c *Config) {
		c.CredentialsRequired = func(context.Context) (bool, error) { return required, nil }
	})
	resp, raw := g.page("POST", "/v1/uploads", shopOrigin, "rm_upload_e30.x", `{"filename":"a.mp4","size":4}`)
	wantProblem(t, resp, raw, codeUnauthorized)
	resp, raw = g.do("POST", "/v1/uploads", strings.NewReader(`{}`), "Origin", shopOrigin, "Authorization", "Bearer rm_live_x")
	wantProblem(t, resp, raw, codeCrossOrigin)
	_, token := g.mint("none", "/v1/upload_tokens", ``)
	resp, raw = g.page("POST", "/v1/uploads", shopOrigin, token, `{"filename":"a.mp4","size":4}`)
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	required = true
	resp, raw = g.page("POST", "/v1/uploads", shopOrigin, token, `{"filename":"a.mp4","size":4}`)
	wantProblem(t, resp, raw, codeUnauthorized)

	e := newEnv(t, func(c *Config) { c.Keys, c.Tokens = nil, nil })
	resp, raw = e.do("POST", "/v1/uploads", strings.NewReader(`{}`), "Origin", shopOrigin, "Authorization", "Bearer rm_upload_e30.x")
	wantProblem(t, resp, raw, codeUnauthorized)
	if resp, _ := e.do("POST", "/v1/upload_tokens", strings.NewReader(`{}`)); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a server without tokens: %s", resp.Status)
	}
}

// TestMediaTypes: what files are by their first bytes, and what lists allow.
func TestMediaTypes(t *testing.T) {
	box := func(brand string) string { return "\x00\x00\x00\x18ftyp" + brand + "\x00\x00\x00\x00" }
	for head, want := range map[string]string{
		box("isom"): "video/mp4", box("qt  "): "video/quicktime", box("M4A "): "audio/mp4", box("heic"): "image/heic", box("3gp5"): "video/3gpp",
		"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm": "video/webm", "\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska": "video/matroska",
		"RIFF....AVI LIST": "video/x-msvideo", "<html><script>": "text/html", "GIF89a": "image/gif", "meow": "text/plain", "": "text/plain",
		"OggS\x00\x02": "", "\x00\x00\x00\x08wide\x00\x00": "", "\x47" + strings.Repeat("\x00", 187) + "\x47" + strings.Repeat("\x00", 187) + "\x47": "video/mp2t",
	} {
		if got := mediaOf([]byte(head)); got != want {
			t.Errorf("%.20q is %q, want %q", head, got, want)
		}
	}
	for list, c := range map[string][2]string{
		"video/*": {"video/mp4", "audio/mp4"}, "video/x-matroska": {"video/matroska", "video/webm"}, "video/mp4,audio/*": {"audio/mpeg", "image/png"},
	} {
		allowed := strings.Split(list, ",")
		if !allows(allowed, c[0]) || allows(allowed, c[1]) || allows(allowed, "") {
			t.Errorf("%s: %v", list, c)
		}
	}
	if typeOf("Video/MP4; codecs=avc1") != "video/mp4" || !allows(nil, "text/html") {
		t.Error("parameters count, or an empty list limits")
	}
}
