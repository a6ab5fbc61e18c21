package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// gated is a server that asks for keys, with a video, an upload, an endpoint and a key of the project default.
type gated struct {
	*env
	book *access.Book
	ids  map[string]string // by the first word of a path
}

func newGated(t *testing.T, changes ...func(*Config)) *gated {
	t.Helper()
	return newGatedBy(t, &muted{}, changes...)
}

// newGatedBy returns a server that hears of keys by a feed, which hears of the log.
func newGatedBy(t *testing.T, feed *muted, changes ...func(*Config)) *gated {
	t.Helper()
	g := &gated{book: access.NewBook(), ids: map[string]string{}}
	g.env = newEnv(t, func(c *Config) {
		c.Keys = g.book
		c.CredentialsRequired = func(context.Context) (bool, error) { return true, nil }
		for _, change := range changes {
			change(c)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	feed.Feed = g.Bus
	go func() { done <- g.book.Run(ctx, feed) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	must(t, g.book.WaitFresh(pipelinetest.Context(t)))
	return g
}

// key makes a key, and returns its secret when the server knows it.
func (g *gated) key(project string, expires time.Time, scopes ...access.Scope) (access.Key, string) {
	g.t.Helper()
	k, text, e, err := access.CreateKey(g.t.Context(), g.Bus,
		access.NewKey{Project: project, Scopes: scopes, ExpiresAt: expires})
	must(g.t, err)
	must(g.t, g.book.WaitFor(pipelinetest.Context(g.t), e.Sequence))
	return k, text.Reveal()
}

func (g *gated) project(name string) {
	g.t.Helper()
	e, err := access.CreateProject(g.t.Context(), g.Bus, name, access.Settings{})
	must(g.t, err)
	must(g.t, g.book.WaitFor(pipelinetest.Context(g.t), e.Sequence))
}

// own makes things of the project default, with a key that may do everything.
func (g *gated) own(all string) {
	g.t.Helper()
	auth := []string{"Authorization", "Bearer " + all}
	g.ids["videos"] = g.uploaded(auth...).ID
	g.inspected(g.ids["videos"])
	g.ids["dead_letters"] = g.errored(g.ids["videos"], "thumbnail")
	for _, made := range []struct{ path, word, body string }{
		{"/v1/uploads", "uploads", `{"filename":"a.mp4","size":4}`},
		{"/v1/webhook_endpoints", "webhook_endpoints", `{"url":"https://example.com/hook","events":["*"]}`},
		{"/v1/keys", "keys", `{"name":"a","scopes":["read"]}`},
		{"/v1/signing_keys", "signing_keys", `{"name":"a"}`},
		{"/v1/dead_letter_runs", "dead_letter_runs", `{"action":"redrive","all":true,"reason":"a"}`},
	} {
		resp, raw := g.do("POST", made.path, strings.NewReader(made.body), append(auth, "Content-Type", "application/json")...)
		if resp.StatusCode >= http.StatusMultipleChoices {
			g.t.Fatalf("POST %s: %s: %s", made.path, resp.Status, raw)
		}
		g.ids[made.word] = decode[struct{ ID string }](g.t, raw).ID
	}
}

// path fills the pattern of a route with ids of things that exist, or with those of things that do not.
func (g *gated) path(pattern string, missing bool) string {
	_, path, _ := strings.Cut(pattern, " ")
	word, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	id := g.ids[word]
	if id == "" {
		id = "1"
	}
	video := g.ids["videos"]
	if missing {
		id, video = strings.Repeat("0", len(id)), strings.Repeat("0", len(video))
	}
	return strings.NewReplacer("{id}", id, "{video}", video, "{job}", "thumbnail", "{delivery}", "whd_1",
		"{token}", "nothing", "{path...}", "master.m3u8", "{$}", "", "{name}", "default", "{type}", "transcode",
	).Replace(path)
}

// reply is what a request was answered, without what differs each time.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request to a route with a credential; empty: none. It does not wait for the end of a stream.
func (g *gated) ask(pattern, path, credential string, headers ...string) reply {
	g.t.Helper()
	method, _, _ := strings.Cut(pattern, " ")
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader(`{}`))
	must(g.t, err)
	req.Header.Set("Content-Type", "application/json")
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.client.Do(req)
	must(g.t, err)
	for len(g.served) > 0 { // nobody else looks at it
		<-g.served
	}
	defer resp.Body.Close()
	a := reply{status: resp.StatusCode, header: resp.Header.Clone()}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		raw := make([]byte, 1<<16)
		n, _ := readFull(resp, raw)
		a.body = strings.ReplaceAll(string(raw[:n]), resp.Header.Get("X-Request-Id"), "REQUEST")
		var c struct{ Code code }
		if resp.StatusCode >= 400 && method != http.MethodHead {
			c = decode[struct{ Code code }](g.t, raw[:n])
			seenCodes.Store(c.Code, true)
		}
	}
	for _, name := range []string{"X-Request-Id", "Date"} {
		a.header.Del(name)
	}
	return a
}

func (a reply) String() string { return fmt.Sprintf("%d %v %s", a.status, a.header, a.body) }

// is reports whether an answer is the problem of a code; the answer to HEAD has no body.
func (a reply) is(c code) bool {
	return a.status == codes[c].status && (a.body == "" || strings.Contains(a.body, `"code":"`+string(c)+`"`))
}

// TestMatrix sends a request to every route with every kind of credential. A route without a row in the table
// needs is an error: the server does not start.
func TestMatrix(t *testing.T) {
	g := newGated(t)
	scopes := []access.Scope{access.Upload, access.Read, access.Write, access.Admin, access.Work}
	_, all := g.key("default", time.Time{}, scopes...)
	g.own(all)
	g.project("other")
	_, foreign := g.key("other", time.Time{}, scopes...)
	revoked, gone := g.key("default", time.Time{}, scopes...)
	e, err := access.RevokeKey(t.Context(), g.Bus, "default", revoked.ID)
	must(t, err)
	must(t, g.book.WaitFor(pipelinetest.Context(t), e.Sequence))
	soon := time.Now().Add(time.Second)
	_, expired := g.key("default", soon, scopes...)
	pipelinetest.Until(t, "a key has expired", func() bool { return time.Now().After(soon) })
	_, operator := g.key(access.Operator, time.Time{}, access.Operate)
	_, deity := g.key(access.Operator, time.Time{}, access.Scopes...)
	with := map[access.Scope]string{access.Operate: operator}
	for _, s := range scopes {
		_, with[s] = g.key("default", time.Time{}, s)
	}
	bad := map[string]string{
		"none": "", "revoked": gone, "expired": expired, "mistyped": all[:len(all)-1] + "!", "a part": all[:20],
		"another": "rm_live_" + strings.Repeat("0", 49), "no key": "x",
	}
	patterns := slices.Clone(g.api.s.mux.patterns)
	slices.SortFunc(patterns, func(a, b string) int { // what removes things comes last
		return strings.Compare(turn(a)+a, turn(b)+b)
	})
	if len(patterns) < 45 {
		t.Fatalf("only %d routes: %q", len(patterns), patterns)
	}
	for _, pattern := range patterns {
		t.Run(pattern, func(t *testing.T) {
			g.t = t
			n, ok := needs[pattern]
			if !ok {
				t.Fatal("the route has no row in the table needs")
			}
			if n == open || n == byURL {
				g.wantOpen(pattern, n, all, bad)
				return
			}
			g.wantRefused(pattern, bad)
			g.wantScope(pattern, n, with, deity)
			if n != access.Operate {
				g.wantForeign(pattern, foreign)
			}
		})
	}
}

func turn(pattern string) string {
	if strings.HasPrefix(pattern, "DELETE") || strings.HasSuffix(pattern, "/revoke") {
		return "2"
	}
	return "1"
}

// wantOpen: whatever the credential, the answer is the same, and about no credential.
func (g *gated) wantOpen(pattern string, n need, all string, bad map[string]string) {
	g.t.Helper()
	path := g.path(pattern, false)
	first := g.ask(pattern, path, all)
	if first.status == http.StatusUnauthorized || first.status == http.StatusForbidden {
		g.t.Errorf("%s", first)
	}
	if n == byURL && first.status < http.StatusBadRequest {
		g.t.Errorf("without a token in the URL: %s", first)
	}
	for state, credential := range bad {
		if a := g.ask(pattern, path, credential); a.String() != first.String() {
			g.t.Errorf("%s: %s\nwith a key: %s", state, a, first)
		}
	}
}

// wantRefused: each invalid credential gets the same answer, byte for byte, about things that exist or not.
func (g *gated) wantRefused(pattern string, bad map[string]string) {
	g.t.Helper()
	first := g.ask(pattern, g.path(pattern, false), "")
	if !first.is(codeUnauthorized) || first.header.Get("WWW-Authenticate") != "Bearer" {
		g.t.Errorf("no credential: %s", first)
	}
	for state, credential := range bad {
		for _, missing := range []bool{false, true} {
			if a := g.ask(pattern, g.path(pattern, missing), credential); a.String() != first.String() {
				g.t.Errorf("%s: %s\nwithout: %s", state, a, first)
			}
		}
	}
}

// wantScope: each scope but the one that the route needs is refused, and the answer names the one.
func (g *gated) wantScope(pattern string, n need, with map[access.Scope]string, deity string) {
	g.t.Helper()
	path := g.path(pattern, false)
	for s, credential := range with {
		if s == n {
			continue
		}
		a := g.ask(pattern, path, credential)
		if !a.is(codeScope) || a.body != "" && !strings.Contains(a.body, "lacks the scope "+string(n)+".") {
			g.t.Errorf("with %s alone: %s", s, a)
		}
	}
	if n != access.Operate {
		if a := g.ask(pattern, path, with[n], projectHeader, "other"); !a.is(codeScope) {
			g.t.Errorf("in another project: %s", a)
		}
		if a := g.ask(pattern, path, deity); !a.is(codeInvalid) {
			g.t.Errorf("an operator in no project: %s", a)
		}
		if a := g.ask(pattern, path, deity, projectHeader, "nowhere"); !a.is(codeNotFound) {
			g.t.Errorf("an operator in a project that does not exist: %s", a)
		}
	}
	if a := g.ask(pattern, path, with[n]); a.is(codeUnauthorized) || a.is(codeScope) ||
		a.status >= 500 && a.status != http.StatusServiceUnavailable {
		g.t.Errorf("with %s: %s", n, a)
	}
}

// idInPath is a place for the id of something.
var idInPath = regexp.MustCompile(`\{(id|video)\}`)

// wantForeign: what is of another project is answered as what does not exist, and no list has it.
func (g *gated) wantForeign(pattern, foreign string) {
	g.t.Helper()
	there := g.ask(pattern, g.path(pattern, false), foreign)
	for _, id := range g.ids {
		if strings.Contains(there.body, id) {
			g.t.Errorf("another project gets %s in %s", id, there)
		}
	}
	if !idInPath.MatchString(pattern) {
		return
	}
	missing := g.ask(pattern, g.path(pattern, true), foreign)
	if there.String() != missing.String() || there.status < 400 {
		g.t.Errorf("what is another project's: %s\nwhat does not exist: %s", there, missing)
	}
}

// TestRouteWithoutRow: a server does not start with a route of which the table needs does not say who may use it.
func TestRouteWithoutRow(t *testing.T) {
	m := newRouter()
	m.HandleFunc("GET /v1/videos", func(http.ResponseWriter, *http.Request) {})
	must(t, m.check())
	m.HandleFunc("GET /v1/secrets", func(http.ResponseWriter, *http.Request) {})
	if err := m.check(); err == nil || !strings.Contains(err.Error(), `"GET /v1/secrets"`) {
		t.Errorf("%v", err)
	}
}

// TestRowsHaveRoutes: the table has no row for a route that is gone.
func TestRowsHaveRoutes(t *testing.T) {
	g := newGated(t)
	for pattern := range needs {
		if !slices.Contains(g.api.s.mux.patterns, pattern) {
			t.Errorf("the table needs has a row for %q, which is no route", pattern)
		}
	}
}

// TestCredentialsCannotBeChecked: a server that has not heard its log refuses keys (503), and goes on with health
// and playback.
func TestCredentialsCannotBeChecked(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Keys = access.NewBook() // it hears nothing
		c.CredentialsRequired = func(context.Context) (bool, error) { return true, nil }
	})
	resp, raw := e.get("/v1/videos", "Authorization", "Bearer x")
	wantProblem(t, resp, raw, codeAuthUnavailable)
	if resp, raw := e.get("/healthz"); resp.StatusCode != http.StatusOK {
		t.Errorf("health: %s %s", resp.Status, raw)
	}
	resp, raw = e.get("/play/vid_1/master.m3u8")
	wantProblem(t, resp, raw, codeNotFound)
}

// TestKeysAndProjects: an operator makes a project and a key of it, whose holder makes keys, sees its events, and
// revokes keys, which count at once.
func TestKeysAndProjects(t *testing.T) {
	g := newGated(t)
	_, root := g.key(access.Operator, time.Time{}, access.Operate, access.Admin)
	post := func(path, key, body string, headers ...string) (*http.Response, []byte) {
		return g.do("POST", path, strings.NewReader(body),
			append([]string{"Content-Type", "application/json", "Authorization", "Bearer " + key}, headers...)...)
	}
	resp, raw := post("/v1/projects", root, `{"name":"shop","title":"Shop"}`)
	if p := decode[access.Project](t, raw); resp.StatusCode != 201 || p.Name != "shop" || p.Title != "Shop" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = post("/v1/projects", root, `{"name":"shop","title":"Shop"}`)
	wantProblem(t, resp, raw, codeProjectExists)
	resp, raw = post("/v1/keys", root, `{"name":"first","scopes":["admin","read"]}`, projectHeader, "shop")
	first := decode[keyWithSecret](t, raw)
	if resp.StatusCode != 201 || first.Project != "shop" || !access.WellFormed(first.Secret) ||
		resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = post("/v1/keys", first.Secret, `{"name":"second","scopes":["read"]}`)
	second := decode[keyWithSecret](t, raw)
	if resp.StatusCode != 201 || second.CreatedBy != "key:"+first.ID {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	for _, body := range []string{
		`{"name":"x","scopes":["operator"]}`, `{"name":"x","scopes":["reed"]}`, `{"name":"x","scopes":["read","read"]}`,
		`{"name":"x","scopes":["read"],"expires_at":"2020-01-01T00:00:00Z"}`, `{"name":"x","scopes":[]}`,
	} {
		resp, raw = post("/v1/keys", first.Secret, body)
		wantProblem(t, resp, raw, codeInvalid)
	}
	if resp, raw := g.get("/v1/videos", "Authorization", "Bearer "+second.Secret); resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = post("/v1/keys/"+second.ID+"/revoke", first.Secret, "")
	if k := decode[access.Key](t, raw); resp.StatusCode != 200 || k.RevokedAt == nil || k.RevokedBy != "key:"+first.ID {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = g.get("/v1/videos", "Authorization", "Bearer "+second.Secret)
	wantProblem(t, resp, raw, codeUnauthorized)
	resp, raw = g.get("/v1/keys", "Authorization", "Bearer "+first.Secret)
	if l := decode[list[access.Key]](t, raw); len(l.Data) != 2 || l.Data[0].ID != second.ID || strings.Contains(string(raw), "rm_live_") {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	var kinds []string
	pipelinetest.Until(t, "the read model has the events", func() bool {
		_, raw = g.get("/v1/events", "Authorization", "Bearer "+first.Secret)
		kinds = nil
		for _, e := range decode[list[pipeline.Event]](t, raw).Data {
			kinds = append(kinds, string(e.Type)+" "+e.Actor)
		}
		return len(kinds) == 4
	})
	equal(t, "events", kinds, "project.created "+kinds[0][len("project.created "):], kinds[1], "key.created key:"+first.ID,
		"key.revoked key:"+first.ID)
	if k := secret.New(first.Secret).Reveal(); strings.Contains(string(raw), k) {
		t.Error("an event has a secret")
	}
	_, reader := g.key("shop", time.Time{}, access.Read)
	if _, raw := g.get("/v1/events", "Authorization", "Bearer "+reader); strings.Contains(string(raw), "key.created") {
		t.Errorf("without admin: %s", raw)
	}
}

// readFull reads as much of a body as fits.
func readFull(resp *http.Response, into []byte) (n int, err error) {
	for n < len(into) && err == nil {
		var read int
		read, err = resp.Body.Read(into[n:])
		n += read
	}
	return n, err
}
