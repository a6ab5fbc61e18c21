package api

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/pipeline/playback"
	"github.com/reelmill/reelmill/storage"
)

// viewers is a server that plays signed videos, and a site that signs tokens for its viewers.
type viewers struct {
	*env
	book *access.Book
	key  access.SigningKey
	sign jose.Signer
}

func newViewers(t *testing.T, change func(*Config)) *viewers {
	t.Helper()
	v := &viewers{}
	v.env = newEnv(t, func(c *Config) {
		v.book = c.Keys.(*access.Book)
		root, err := access.OpenRoot(t.Context(), c.Log.(access.Vault))
		must(t, err)
		c.Playback = playback.NewJudge(root, v.book)
		if change != nil {
			change(c)
		}
	})
	key, private, e, err := access.CreateSigningKey(t.Context(), v.Bus, access.NewSigningKey{Project: project})
	must(t, err)
	must(t, v.book.WaitFor(t.Context(), e.Sequence))
	block, _ := pem.Decode([]byte(private.Reveal()))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	v.key = key
	v.sign, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: parsed}, (&jose.SignerOptions{}).WithHeader("kid", key.ID))
	must(t, err)
	return v
}

// token signs what a token says; changes come in pairs.
func (v *viewers) token(video string, changes ...any) string {
	v.t.Helper()
	claims := map[string]any{"sub": video, "aud": playback.Audience, "exp": time.Now().Unix() + 3600}
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	text, err := jwt.Signed(v.sign).Claims(claims).Serialize()
	must(v.t, err)
	return text
}

// signed returns a video with outputs that needs tokens, and its base.
func (v *viewers) signed() (id, base string) {
	v.t.Helper()
	base = v.published()
	id = strings.Split(base, "/")[2]
	resp, raw := v.change(id, `{"playback_policy":"signed"}`)
	if got := decode[pipeline.VideoView](v.t, raw); resp.StatusCode != 200 || got.PlaybackPolicy != pipeline.PlaybackSigned {
		v.t.Fatalf("%s: %s", resp.Status, raw)
	}
	return id, base
}

// files are what published videos have.
var files = []string{
	"master.m3u8", "manifest.mpd", "720p/init.mp4", "720p/seg_00000.m4s", "720p/seg_00001.m4s", "thumbnail.jpg",
	"thumbnail.jpg?width=320", "storyboard.vtt", "empty.ts", "no/such/file", "thumbnail.webp",
}

// TestSignedVideoNeedsAToken: without a permission, nothing below a signed video is answered, whatever it is
// and whether it is there; the refusal is no content, and never kept.
func TestSignedVideoNeedsAToken(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	expired := v.token(id, "exp", time.Now().Unix()-1)
	for _, file := range files {
		join := "?"
		if strings.Contains(file, "?") {
			join = "&"
		}
		for name, c := range map[string]struct {
			path string
			want code
		}{
			"no token":      {base + file, codePlaybackMissing},
			"empty token":   {base + file + join + "token=", codePlaybackInvalid},
			"another video": {base + file + join + "token=" + v.token("vid_other"), codePlaybackInvalid},
			"expired":       {base + file + join + "token=" + expired, codePlaybackExpired},
			"no pass":       {base + "~/" + file, codePlaybackMissing},
			"made-up pass":  {base + "~1.9999999999.-.-.AAAAAAAAAAAAAAAAAAAAAA/" + file, codePlaybackInvalid},
			"token as pass": {base + "~" + v.token(id) + "/" + file, codePlaybackInvalid},
		} {
			resp, raw := v.get(c.path)
			wantProblem(t, resp, raw, c.want)
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s, %s: %v", file, name, resp.Header)
			}
			if head, _ := v.do("HEAD", c.path, nil); head.StatusCode != 403 {
				t.Errorf("HEAD %s, %s: %s", file, name, head.Status)
			}
		}
	}
	if resp, _ := v.do("OPTIONS", base+"master.m3u8", nil, "Origin", "https://a.example", "Access-Control-Request-Method", "GET"); resp.StatusCode != 204 {
		t.Errorf("a preflight, which has no token: %s", resp.Status)
	}
}

// TestTokenPlays: with a token each file is answered, to its viewer alone; with the pass that a playlist leads
// to, the rest is answered to whoever has the URL, and may be kept until the pass ends.
func TestTokenPlays(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	token := "?token=" + v.token(id)
	_, raw := v.get(base + "manifest.mpd" + token)
	led := string(raw)
	if led != "<MPD/>\n" {
		t.Errorf("an MPD without a Period is changed: %s", led)
	}
	pass := v.pass(id)
	for _, file := range files[:5] {
		for name, path := range map[string]string{"private, max-age=60, must-revalidate": base + file + token, "public, max-age=60, must-revalidate": base + pass + file} {
			resp, raw := v.get(path)
			if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != name || resp.Header.Get("Vary") != "" {
				t.Errorf("%s: %s, %v: %s", path, resp.Status, resp.Header, raw)
			}
			if resp, raw := v.get(path, "Range", "bytes=1-2"); resp.StatusCode != 206 || len(raw) != 2 {
				t.Errorf("%s, 2 bytes: %s, %q", path, resp.Status, raw)
			}
			if again, _ := v.get(path, "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != 304 {
				t.Errorf("%s, again: %s", path, again.Status)
			}
		}
	}
	if resp, _ := v.get(base + pass + "no/such/file"); resp.StatusCode != 404 {
		t.Errorf("no such file: %s", resp.Status)
	}
	if resp, _ := v.get("/play/vid_other/" + pass + "master.m3u8"); resp.StatusCode != 404 {
		t.Errorf("no such video: %s", resp.Status)
	}
	public := v.published()
	for _, path := range []string{public + "master.m3u8?token=x", public + pass + "master.m3u8", public + "~x/master.m3u8", public + "thumbnail.jpg?token=x"} {
		if resp, raw := v.get(path); resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("public %s: %s, %v: %s", path, resp.Status, resp.Header, raw)
		}
	}
}

// pass returns the element of a path with the pass to which a token of an hour leads.
func (v *viewers) pass(id string) string {
	v.t.Helper()
	p, err := v.config.Playback.Token(v.t.Context(), playback.Asked{
		Project: project, Video: id, Path: "master.m3u8", Client: netip.MustParseAddr("127.0.0.1"),
	}, v.token(id))
	must(v.t, err)
	text, _ := v.config.Playback.NewPass(p)
	return playback.Mark + text + "/"
}

// TestPlaylistsLeadToThePass: of a video that is being made and of one that is packaged, playlists that were
// asked for with a token lead below the pass, and those below the pass stay there.
func TestPlaylistsLeadToThePass(t *testing.T) {
	v := newViewers(t, nil)
	id := v.uploaded().ID
	v.change(id, `{"playback_policy":"signed"}`)
	v.inspected(id)
	v.job(pipeline.JobStarted, id, "transcode-0000")
	v.job(pipeline.JobCompleted, id, "transcode-0000", v.chunk(id, "transcode-0000", 0, 2, false)...)
	v.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, id), pipeline.Playable{Path: manifest.MasterName})
	base := "/play/" + id + "/"
	resp, raw := v.get(base + "master.m3u8?token=" + v.token(id))
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Cache-Control"), "private, max-age=1,") {
		t.Fatalf("%s %v %s", resp.Status, resp.Header, raw)
	}
	media := ""
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "#") {
			media = strings.TrimSpace(line)
		}
	}
	if !strings.HasPrefix(media, playback.Mark) || !strings.HasSuffix(media, "/360p/index.m3u8") {
		t.Fatalf("the master leads to %q:\n%s", media, raw)
	}
	resp, raw = v.get(base + media)
	if resp.StatusCode != 200 || strings.Contains(string(raw), playback.Mark) || resp.Header.Get("Cache-Control") != "public, max-age=1, must-revalidate" {
		t.Errorf("%s: %s %v %s", media, resp.Status, resp.Header, raw)
	}
	for _, name := range []string{"init.mp4", "seg_00001.m4s"} {
		if resp, raw := v.get(base + strings.Replace(media, "index.m3u8", name, 1)); resp.StatusCode != 200 {
			t.Errorf("%s: %s %s", name, resp.Status, raw)
		}
	}
	_, raw = v.get(base + "360p/index.m3u8?token=" + v.token(id))
	if n := strings.Count(string(raw), "../"+playback.Mark); n != 3 { // init section and two segments
		t.Errorf("%d URLs are led:\n%s", n, raw)
	}
}

// TestTokenInACookie: a cookie plays as the query does, and of several cookies the one that fits counts.
func TestTokenInACookie(t *testing.T) {
	v := newViewers(t, func(c *Config) { c.PlayOrigins = []string{"https://www.example.com"} })
	id, base := v.signed()
	good, other := tokenCookie+"="+v.token(id), tokenCookie+"="+v.token("vid_other")
	for _, cookies := range []string{good, "a=b; " + good, other + "; " + good} {
		resp, raw := v.get(base+"720p/init.mp4", "Cookie", cookies, "Origin", "https://www.example.com")
		h := resp.Header
		if resp.StatusCode != 200 || !strings.HasPrefix(h.Get("Cache-Control"), "private") || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Cookie") ||
			h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Allow-Origin") != "https://www.example.com" {
			t.Errorf("%s: %s %v %s", cookies, resp.Status, h, raw)
		}
	}
	resp, raw := v.get(base+"720p/init.mp4", "Cookie", other)
	wantProblem(t, resp, raw, codePlaybackInvalid)
	resp, raw = v.get(base+"720p/init.mp4?token=x", "Cookie", good) // the query comes first
	wantProblem(t, resp, raw, codePlaybackInvalid)
	resp, _ = v.get(base+"720p/init.mp4", "Cookie", good, "Origin", "https://evil.example")
	if resp.Header.Get("Access-Control-Allow-Credentials") != "" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page that is not listed may read: %v", resp.Header)
	}
}

// TestTokenOfAnAddress: a token for an address plays there alone, also through a proxy, and no cache shares
// what is below its pass.
func TestTokenOfAnAddress(t *testing.T) {
	v := newViewers(t, func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	id, base := v.signed()
	path := base + "720p/init.mp4?token=" + v.token(id, "ip", "203.0.113.0/24")
	if resp, raw := v.get(path, "X-Forwarded-For", "203.0.113.9"); resp.StatusCode != 200 {
		t.Errorf("at its address: %s %s", resp.Status, raw)
	}
	for _, from := range []string{"198.51.100.1", "203.0.113.9, 198.51.100.1"} {
		resp, raw := v.get(path, "X-Forwarded-For", from)
		wantProblem(t, resp, raw, codePlaybackInvalid)
	}
	permit := playback.Permit{Video: id, Expires: time.Now().Add(time.Hour), IP: netip.MustParsePrefix("203.0.113.0/24")}
	pass, _ := v.config.Playback.NewPass(permit)
	resp, _ := v.get(base+playback.Mark+pass+"/720p/init.mp4", "X-Forwarded-For", "203.0.113.9")
	if got := resp.Header.Get("Cache-Control"); resp.StatusCode != 200 || got != "private, max-age=60, must-revalidate" {
		t.Errorf("below its pass: %s, %s", resp.Status, got)
	}
	resp, raw := v.get(base+playback.Mark+pass+"/720p/init.mp4", "X-Forwarded-For", "198.51.100.1")
	wantProblem(t, resp, raw, codePlaybackInvalid)
}

// TestNothingOutlivesAPass: what is answered shortly before the end of a permission may be kept until then.
func TestNothingOutlivesAPass(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	resp, raw := v.get(base + "720p/init.mp4?token=" + v.token(id, "exp", time.Now().Unix()+30))
	age := -1
	_, err := fmt.Sscanf(resp.Header.Get("Cache-Control"), "private, max-age=%d", &age)
	if resp.StatusCode == 200 && (err != nil || age > 30) || resp.StatusCode != 200 && resp.StatusCode != 403 {
		t.Errorf("%s, %s: %s", resp.Status, resp.Header.Get("Cache-Control"), raw)
	}
}

// TestRevokedSigningKeyEndsPlayback: what a signing key has allowed ends within access.MaxAge of its revocation,
// tokens and passes.
func TestRevokedSigningKeyEndsPlayback(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	paths := []string{base + "master.m3u8?token=" + v.token(id), base + v.pass(id) + "720p/seg_00000.m4s"}
	for _, path := range paths {
		if resp, raw := v.get(path); resp.StatusCode != 200 {
			t.Fatalf("%s: %s %s", path, resp.Status, raw)
		}
	}
	e, err := access.RevokeSigningKey(t.Context(), v.Bus, project, v.key.ID)
	must(t, err)
	must(t, v.book.WaitFor(t.Context(), e.Sequence))
	for _, path := range paths {
		resp, raw := v.get(path)
		wantProblem(t, resp, raw, codePlaybackInvalid)
	}
}

// staleKeys cannot know whether a key is revoked.
type staleKeys struct{}

func (staleKeys) Read(context.Context, func(*access.State)) error { return access.ErrStale }

// TestWithoutNewsOfKeys: a server that cannot know whether a key is revoked plays public videos only.
func TestWithoutNewsOfKeys(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	public := v.published()
	pass, token := v.pass(id), v.token(id)
	root, err := access.OpenRoot(t.Context(), v.Bus)
	must(t, err)
	cfg := v.config
	cfg.Playback = playback.NewJudge(root, staleKeys{})
	v.serve(cfg)
	for _, path := range []string{base + "master.m3u8?token=" + token, base + pass + "master.m3u8"} {
		resp, raw := v.get(path)
		wantProblem(t, resp, raw, codeUnavailable)
	}
	if resp, raw := v.get(public + "master.m3u8"); resp.StatusCode != 200 {
		t.Errorf("public: %s %s", resp.Status, raw)
	}
	cfg.Playback = nil
	v.serve(cfg)
	for _, path := range []string{base + "master.m3u8?token=" + token, base + pass + "master.m3u8"} {
		resp, raw := v.get(path)
		wantProblem(t, resp, raw, codePlaybackMissing)
	}
}

// TestPolicyOfARequest: each way to make a video takes the policy, and refuses others.
func TestPolicyOfARequest(t *testing.T) {
	e := newEnv(t, nil)
	for _, p := range append(pipeline.PlaybackPolicies(), "") {
		want := p.OrPublic()
		_, raw := e.post([]part{field("playback_policy", string(p)), file("cat.mp4", "meow")})
		got := decode[pipeline.VideoView](t, raw)
		if stored := read[pipeline.VideoView](e, "/v1/videos/"+got.ID); got.PlaybackPolicy != want || stored.PlaybackPolicy != want {
			t.Errorf("%q: %s, stored %s", p, raw, stored.PlaybackPolicy)
		}
		_, raw = e.do("POST", "/v1/videos", strings.NewReader(`{"url":"http://example.org/a.mp4","playback_policy":"`+string(p)+`"}`),
			"Content-Type", "application/json")
		if got := decode[pipeline.VideoView](t, raw); got.PlaybackPolicy != want {
			t.Errorf("%q by URL: %s", p, raw)
		}
	}
	resp, raw := e.post([]part{field("playback_policy", "secret"), file("cat.mp4", "meow")})
	wantProblem(t, resp, raw, codeInvalid)
	id := e.uploaded().ID
	for _, body := range []string{`{"playback_policy":"secret"}`, `{"playback_policy":null}`, `{"playback_policy":1}`} {
		resp, raw := e.change(id, body)
		wantProblem(t, resp, raw, codeInvalid)
	}
	if got := read[pipeline.VideoView](e, "/v1/videos/"+id).PlaybackPolicy; got != pipeline.PlaybackPublic {
		t.Errorf("after changes that were refused it is %q", got)
	}
}

// TestLogHasNoPass: the log shows where a request went, without the pass in its path.
func TestLogHasNoPass(t *testing.T) {
	for path, want := range map[string]string{
		"/play/vid_1/~1.2.3.4.secret/720p/index.m3u8": "/play/vid_1/~***/720p/index.m3u8",
		"/play/vid_1/~1.2.3.4.secret":                 "/play/vid_1/~***/",
		"/play/vid_1/720p/index.m3u8":                 "/play/vid_1/720p/index.m3u8",
		"/v1/videos":                                  "/v1/videos",
	} {
		if got := shownPath(path); got != want {
			t.Errorf("%s is shown as %s, want %s", path, got, want)
		}
	}
}

// brokenStore fails to read.
type brokenStore struct{ storage.Store }

func (brokenStore) Get(context.Context, string, storage.Range) (body io.ReadCloser, info storage.Info, err error) {
	return nil, storage.Info{}, errors.New("the disk is gone")
}

// TestLedPlaylistOfABrokenStore: a playlist that cannot be read whole is no answer.
func TestLedPlaylistOfABrokenStore(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	token := v.token(id)
	cfg := v.config
	cfg.Store = brokenStore{cfg.Store}
	v.serve(cfg)
	resp, raw := v.get(base + "master.m3u8?token=" + token)
	wantProblem(t, resp, raw, codeStorageFailed)
	if resp.StatusCode == http.StatusOK {
		t.Error("it is answered")
	}
}

// openCache is the Cache-Control of a public video.
func openCache(seconds int) string { return viewing{}.cache(seconds) }

// TestPolicyOfAProject: an upload that says no policy takes that of its project, also when it is repeated after
// the project changed; one that says one has its own.
func TestPolicyOfAProject(t *testing.T) {
	v := newViewers(t, nil)
	set := func(p pipeline.PlaybackPolicy) {
		e, err := access.ChangeProject(t.Context(), v.Bus, project, access.Change{PlaybackPolicy: &p}.Apply)
		must(t, err)
		must(t, v.book.WaitFor(t.Context(), e.Sequence))
	}
	post := func(key string, parts ...part) pipeline.VideoView {
		t.Helper()
		resp, raw := v.post(append(parts, file("cat.mp4", "meow")), "Idempotency-Key", key)
		if resp.StatusCode != 201 && resp.StatusCode != 200 {
			t.Fatalf("%s: %s", resp.Status, raw)
		}
		return decode[pipeline.VideoView](t, raw)
	}
	public := post("before")
	set(pipeline.PlaybackSigned)
	other := pipeline.PlaybackPolicy("secret")
	_, err := access.ChangeProject(t.Context(), v.Bus, project, access.Change{PlaybackPolicy: &other}.Apply)
	if !errors.Is(err, access.ErrInvalid) {
		t.Errorf("another policy: %v", err)
	}
	signed := post("after")
	if public.PlaybackPolicy != pipeline.PlaybackPublic || signed.PlaybackPolicy != pipeline.PlaybackSigned {
		t.Errorf("before the change %s, after it %s", public.PlaybackPolicy, signed.PlaybackPolicy)
	}
	if own := post("own", field("playback_policy", "public")); own.PlaybackPolicy != pipeline.PlaybackPublic {
		t.Errorf("an upload that says public is %s", own.PlaybackPolicy)
	}
	set("")
	for key, first := range map[string]pipeline.VideoView{"before": public, "after": signed} {
		if again := post(key); again.ID != first.ID || again.PlaybackPolicy != first.PlaybackPolicy {
			t.Errorf("%s again: %s %s, want %s %s", key, again.ID, again.PlaybackPolicy, first.ID, first.PlaybackPolicy)
		}
	}
	resp, raw := v.post([]part{field("playback_policy", "signed"), file("cat.mp4", "meow")}, "Idempotency-Key", "before")
	wantProblem(t, resp, raw, codeKeyReused)
}

// TestSigningKeys: a key's private half is answered once, its tokens play, and a foreign project knows nothing of
// it.
func TestSigningKeys(t *testing.T) {
	v := newViewers(t, nil)
	resp, raw := v.do("POST", "/v1/signing_keys", strings.NewReader(`{"name":"site"}`), "Content-Type", "application/json")
	made := decode[signingKeyWithPrivate](t, raw)
	if resp.StatusCode != 201 || resp.Header.Get("Cache-Control") != "no-store" || made.Algorithm != access.ES256 ||
		!strings.HasPrefix(made.PrivateKey, "-----BEGIN PRIVATE KEY-----") {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	for _, path := range []string{"/v1/signing_keys", "/v1/signing_keys/" + made.ID} {
		if _, raw := v.get(path); !strings.Contains(string(raw), made.ID) || strings.Contains(string(raw), "PRIVATE") {
			t.Errorf("%s: %s", path, raw)
		}
	}
	body := fmt.Sprintf(`{"public_key":%q}`, made.PublicKey)
	resp, raw = v.do("POST", "/v1/signing_keys", strings.NewReader(body), "Content-Type", "application/json")
	if brought := decode[signingKeyWithPrivate](t, raw); resp.StatusCode != 201 || brought.PrivateKey != "" || brought.PublicKey != made.PublicKey {
		t.Errorf("%s %s", resp.Status, raw)
	}
	for _, body := range []string{
		fmt.Sprintf(`{"public_key":%q}`, made.PrivateKey), `{"public_key":"x"}`, `{"algorithm":"HS256"}`,
		fmt.Sprintf(`{"public_key":%q,"algorithm":"RS256"}`, made.PublicKey),
	} {
		resp, raw := v.do("POST", "/v1/signing_keys", strings.NewReader(body), "Content-Type", "application/json")
		wantProblem(t, resp, raw, codeInvalid)
		if strings.Contains(string(raw), strings.Split(made.PrivateKey, "\n")[1]) {
			t.Errorf("the refusal repeats a private key: %s", raw)
		}
	}
	for range 2 {
		resp, raw = v.do("POST", "/v1/signing_keys/"+made.ID+"/revoke", nil)
		if got := decode[access.SigningKey](t, raw); resp.StatusCode != 200 || got.Active() {
			t.Errorf("%s %s", resp.Status, raw)
		}
	}
	for _, path := range []string{"GET /v1/signing_keys/sgk_none", "POST /v1/signing_keys/sgk_none/revoke", "POST /v1/signing_keys/key_1/revoke"} {
		method, path, _ := strings.Cut(path, " ")
		resp, raw := v.do(method, path, nil)
		wantProblem(t, resp, raw, codeNotFound)
	}
}

// TestPlaybackURLs: whoever may read a video gets URLs that play it; those of a public one are its own.
func TestPlaybackURLs(t *testing.T) {
	v := newViewers(t, nil)
	id, base := v.signed()
	resp, raw := v.do("POST", "/v1/videos/"+id+"/playback_urls?seconds=60", nil)
	urls := decode[playbackURLs](t, raw)
	if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || urls.ExpiresAt == nil ||
		time.Until(*urls.ExpiresAt) > 70*time.Second || !strings.HasPrefix(urls.BaseURL, base+playback.Mark) {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	if resp, raw := v.get(urls.BaseURL + "720p/init.mp4"); resp.StatusCode != 200 {
		t.Errorf("%s %s", resp.Status, raw)
	}
	public := v.published()
	_, raw = v.do("POST", "/v1/videos/"+strings.Split(public, "/")[2]+"/playback_urls", nil)
	if urls := decode[playbackURLs](t, raw); urls.BaseURL != public || urls.ExpiresAt != nil {
		t.Errorf("public: %s", raw)
	}
	resp, raw = v.do("POST", "/v1/videos/vid_none/playback_urls", nil)
	wantProblem(t, resp, raw, codeNotFound)
	resp, raw = v.do("POST", "/v1/videos/"+id+"/playback_urls?seconds=3601", nil)
	wantProblem(t, resp, raw, codeInvalid)
}
