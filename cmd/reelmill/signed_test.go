package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/playback"
)

// signedPipelines is a pipeline with every kind of output that refers to others.
const signedPipelines = `
pipelines:
  - name: small
    steps:
      - worker: audio
      - worker: thumbnail
      - worker: transcode
        with: {ladder: [270, 180]}
`

// publisher signs tokens for a signed video of a server.
type publisher struct {
	*process
	key     access.SigningKey
	private string // PEM
	signer  jose.Signer
	video   string
}

// startSite uploads a signed video, and waits until it is ready.
func startSite(t *testing.T, clip string, args ...string) *publisher {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(signedPipelines), 0o600))
	s := &publisher{process: startServe(t, binary, t.TempDir(), append([]string{"--config", config, "--threads", "1"}, args...)...)}
	key, private, err := s.client().CreateSigningKey(t.Context(), access.NewSigningKey{Name: "site"})
	check(t, err)
	s.key, s.private = key, private.Reveal()
	block, _ := pem.Decode([]byte(s.private))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(t, err)
	s.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: parsed}, (&jose.SignerOptions{}).WithHeader("kid", key.ID))
	check(t, err)
	view, err := s.client().Upload(t.Context(), client.Upload{Path: clip, Pipeline: "small", PlaybackPolicy: pipeline.PlaybackSigned})
	check(t, err)
	s.video = view.ID
	if end := awaitEnd(t, s.client(), s.video); end.Status != pipeline.StateVideoReady || end.PlaybackPolicy != pipeline.PlaybackSigned {
		t.Fatalf("%s %s %+v\n%s", end.Status, end.PlaybackPolicy, end.Problem, s.stderr)
	}
	return s
}

// token signs a token that ends at a time.
func (s *publisher) token(t *testing.T, ends time.Time) string {
	t.Helper()
	text, err := jwt.Signed(s.signer).Claims(jwt.Claims{
		Subject: s.video, Audience: jwt.Audience{playback.Audience}, Expiry: jwt.NewNumericDate(ends), ID: pipeline.NewID("viewer"),
	}).Serialize()
	check(t, err)
	return text
}

// at returns the URL of a path of the video, with a token if there is one.
func (s *publisher) at(base, path, token string) string {
	address := base + "/play/" + s.video + "/" + path
	if token != "" {
		address += "?token=" + token
	}
	return address
}

// visited is what a URL was answered.
type visited struct {
	status int
	code   string // of a problem
	header http.Header
	body   string
}

func visit(t testing.TB, address string, headers ...string) visited {
	t.Helper()
	a, err := tryVisit(t, address, headers...)
	check(t, err)
	return a
}

func tryVisit(t testing.TB, address string, headers ...string) (a visited, err error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		return a, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	raw, err := io.ReadAll(resp.Body)
	a = visited{status: resp.StatusCode, header: resp.Header, body: string(raw)}
	var problem struct{ Code string }
	if resp.StatusCode >= 400 && json.Unmarshal(raw, &problem) == nil {
		a.code = problem.Code
	}
	return a, errors.Join(err, resp.Body.Close())
}

// TestSignedPlayers plays a signed video of the real ffmpeg from another origin, with three players as they are;
// without a token, after its end, and after its key was revoked, nothing plays.
func TestSignedPlayers(t *testing.T) {
	b := startBrowser(t)
	s := startSite(t, playClip(t, "-preset", "ultrafast"))
	lasting := s.token(t, time.Now().Add(24*time.Hour))
	s.everyURL(t, lasting)
	s.signsInJavaScript(t)
	for player, manifest := range map[string]string{"hls": "master.m3u8", "dash": "manifest.mpd", "dashjs": "manifest.mpd"} {
		t.Run(player, func(t *testing.T) {
			r := b.play(t, scene{Player: player, URL: s.at(s.url, manifest, lasting), Rate: 4})
			if r.Fatal || !r.Ended || len(r.Refused) > 0 || r.Frames < 100 {
				t.Errorf("with a token: %+v", r)
			}
			s.stopsAfterTheEnd(t, b, player, manifest)
			r = b.play(t, scene{Player: player, URL: s.at(s.url, manifest, ""), Rate: 4, Ends: 1})
			if r.Ended || r.Frames > 0 || !slices.Contains(r.Refused, http.StatusForbidden) {
				t.Errorf("without a token: %+v", r)
			}
		})
	}
	s.revocationEndsPlayback(t, lasting)
}

// stopsAfterTheEnd plays with a token that ends while the video is paused. If this machine does not even begin
// before that, the next token lasts longer.
func (s *publisher) stopsAfterTheEnd(t *testing.T, b *browser, player, manifest string) {
	t.Helper()
	for lasts := 10 * time.Second; ; lasts *= 3 {
		ends := time.Now().Add(lasts)
		resumes := ends.Add(lasts/10 + 2*time.Second)
		r := b.play(t, scene{
			Player: player, URL: s.at(s.url, manifest, s.token(t, ends)), Rate: 1,
			Ends: ends.UnixMilli(), Resumes: resumes.UnixMilli(),
		})
		if !r.Began && lasts < 10*time.Minute {
			t.Logf("it has not begun within %v", lasts)
			continue
		}
		if r.Ended || !slices.Contains(r.Refused, http.StatusForbidden) || r.Time > playSeconds-3 {
			t.Errorf("after the end of its token: %+v", r)
		}
		return
	}
}

var urlsInText = regexp.MustCompile(`(?m)URI="([^"]+)"|^([^#\s<{-][^\s#]*\.(?:m3u8|m4s|jpg)\b)`)

// everyURL follows every URL that playlists, the MPD, the cues and the storyboard have: each leads below a pass
// and is answered, and the same file without the pass is refused, as are ranges and HEAD.
func (s *publisher) everyURL(t *testing.T, token string) {
	t.Helper()
	seen := map[string]bool{}
	var follow func(address string)
	follow = func(address string) {
		if seen[address] {
			return
		}
		seen[address] = true
		a := visit(t, address, "Origin", "https://site.example")
		if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %s", address, a.status, a.body)
			return
		}
		base, err := url.Parse(address)
		check(t, err)
		for _, found := range s.urlsOf(t, base.Path, a.body) {
			next, err := base.Parse(found)
			check(t, err)
			if !strings.HasPrefix(next.Path, "/play/"+s.video+"/"+playback.Mark) {
				t.Errorf("%s leads to %s, which is not below a pass", address, next)
			}
			follow(next.String())
		}
	}
	for _, path := range []string{"master.m3u8", "manifest.mpd", "storyboard.vtt", "storyboard.json", "thumbnail.jpg", "270p/index.m3u8"} {
		follow(s.at(s.url, path, token))
	}
	kinds := map[string]int{}
	for address := range seen {
		u, err := url.Parse(address)
		check(t, err)
		kinds[filepath.Ext(u.Path)]++
		path := strings.TrimPrefix(u.Path, "/play/"+s.video+"/")
		if strings.HasPrefix(path, playback.Mark) {
			_, path, _ = strings.Cut(path, "/")
		}
		bare := s.at(s.url, path, "")
		if a := visit(t, bare, "Range", "bytes=0-1"); a.status != http.StatusForbidden || a.code != "playback_token_missing" {
			t.Errorf("%s without a token: %d %s", path, a.status, a.code)
		}
		head, err := http.Head(bare)
		check(t, err)
		head.Body.Close()
		if head.StatusCode != http.StatusForbidden {
			t.Errorf("HEAD %s without a token: %s", path, head.Status)
		}
	}
	for _, kind := range []string{".m3u8", ".mpd", ".m4s", ".mp4", ".vtt", ".json", ".jpg"} {
		if kinds[kind] == 0 {
			t.Errorf("no URL of a %s was followed: %v", kind, kinds)
		}
	}
	if a := visit(t, s.at(s.url, "thumbnail.jpg", token)+"&width=64&time=1"); a.status != http.StatusOK || a.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("a thumbnail on demand: %d %s", a.status, a.body)
	}
}

var (
	inMPD  = regexp.MustCompile(`<BaseURL>([^<]+)</BaseURL>`)
	ofMPD  = regexp.MustCompile(`initialization="([^"]+)" media="([^"]+)"`)
	inCues = regexp.MustCompile(`(?m)^(.+)#xywh=`)
)

// urlsOf returns the URLs in a file.
func (s *publisher) urlsOf(t *testing.T, path, text string) (all []string) {
	t.Helper()
	switch filepath.Ext(path) {
	case ".m3u8":
		for _, m := range urlsInText.FindAllStringSubmatch(text, -1) {
			all = append(all, m[1]+m[2])
		}
	case ".mpd":
		base := inMPD.FindStringSubmatch(text)
		if base == nil {
			t.Fatalf("the MPD has no BaseURL:\n%s", text)
		}
		for _, m := range ofMPD.FindAllStringSubmatch(text, -1) {
			all = append(all, base[1]+m[1], base[1]+strings.Replace(m[2], "$Number%05d$", "00000", 1))
		}
	case ".vtt":
		for _, m := range inCues.FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
	case ".json":
		var board struct{ URL string }
		check(t, json.Unmarshal([]byte(text), &board))
		all = append(all, board.URL)
	}
	// Below a pass, the URLs of a file are as they were stored.
	if strings.Contains(path, "/"+playback.Mark) {
		for _, u := range all {
			if strings.Contains(u, playback.Mark) {
				t.Errorf("%s has %s", path, u)
			}
		}
	}
	return all
}

// signsInJavaScript plays with a token of the example in JavaScript.
func (s *publisher) signsInJavaScript(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "private.pem")
	check(t, os.WriteFile(file, []byte(s.private), 0o600))
	example := exec.CommandContext(t.Context(), "node", "sign.mjs", file, s.key.ID, s.video, "3600")
	example.Dir = filepath.Join("..", "..", "deploy", "clients", "signing")
	out, err := example.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%v: run .ci/install\n%s", err, failed.Stderr)
	}
	check(t, err)
	if a := visit(t, s.at(s.url, "master.m3u8", strings.TrimSpace(string(out)))); a.status != http.StatusOK {
		t.Errorf("with the token of the example: %d %s", a.status, a.body)
	}
}

// revocationEndsPlayback revokes the signing key: its tokens and passes are refused, within access.MaxAge.
func (s *publisher) revocationEndsPlayback(t *testing.T, token string) {
	t.Helper()
	master := visit(t, s.at(s.url, "master.m3u8", token))
	segment := strings.Replace(s.urlsOf(t, "master.m3u8", master.body)[0], "index.m3u8", "init.mp4", 1)
	pass := s.at(s.url, segment, "")
	if a := visit(t, pass); a.status != http.StatusOK {
		t.Fatalf("%s: %d %s", pass, a.status, a.body)
	}
	check(t, s.client().RevokeSigningKey(t.Context(), s.key.ID))
	for _, address := range []string{pass, s.at(s.url, "master.m3u8", token)} {
		pipelinetest.Until(t, "the revocation ends playback", func() bool {
			a := visit(t, address)
			return a.status == http.StatusForbidden && a.code == "playback_token_invalid"
		})
	}
}

// TestReaderPlaysASignedVideo: whoever may read a video gets URLs that play it, as a console does.
func TestReaderPlaysASignedVideo(t *testing.T) {
	s := startSite(t, playClip(t, "-preset", "ultrafast", "-t", "2"))
	urls, err := s.client().PlaybackURLs(t.Context(), s.video, time.Minute)
	check(t, err)
	if urls.ExpiresAt == nil || time.Until(*urls.ExpiresAt) > 2*time.Minute {
		t.Errorf("they end at %v", urls.ExpiresAt)
	}
	for _, path := range []string{urls.PlayURL, urls.DASHURL, urls.BaseURL + "thumbnail.jpg?width=64"} {
		if a := visit(t, s.url+path); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	image, err := s.client().Thumbnail(t.Context(), s.video, client.Thumbnail{Width: 64})
	if err != nil || len(image) == 0 {
		t.Errorf("a thumbnail for the command line: %d bytes, %v", len(image), err)
	}
	var said bytes.Buffer
	check(t, run(t.Context(), []string{"videos", "get", s.video, "--server", s.url}, &said, &said))
	if !strings.Contains(said.String(), "these URLs play with a token only") {
		t.Errorf("the command shows the plain URLs without saying that they need a token:\n%s", &said)
	}
}

// TestSigningKeysCommand makes, lists and revokes a key on the command line: the private half is alone on standard
// output, and no list has it.
func TestSigningKeysCommand(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	command := func(args ...string) (string, string) {
		t.Helper()
		var out, log bytes.Buffer
		if err := run(t.Context(), append(args, "--server", p.url), &out, &log); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, log.String())
		}
		return out.String(), log.String()
	}
	private, said := command("signing-keys", "create", "--name", "site", "--algorithm", "EdDSA")
	block, rest := pem.Decode([]byte(private))
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 || !strings.Contains(said, base64.StdEncoding.EncodeToString([]byte(private))) {
		t.Errorf("printed %q and said %q", private, said)
	}
	id := regexp.MustCompile(`sgk_[0-9a-z]{26}`).FindString(said)
	list, _ := command("signing-keys", "list")
	if !strings.Contains(list, id) || !strings.Contains(list, "EdDSA") || !strings.Contains(list, "active") || strings.Contains(list, "PRIVATE") {
		t.Errorf("listed as %q", list)
	}
	command("signing-keys", "revoke", id)
	if list, _ := command("signing-keys", "list"); !strings.Contains(list, "revoked") {
		t.Errorf("after the revocation: %q", list)
	}
	keys, err := p.client().SigningKeys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].ID != id || keys[0].Active() {
		t.Errorf("%+v, %v", keys, err)
	}
	one, err := p.client().SigningKey(t.Context(), id)
	if err != nil || one.PublicKey != keys[0].PublicKey {
		t.Errorf("%+v, %v", one, err)
	}
	public := filepath.Join(t.TempDir(), "public.pem")
	check(t, os.WriteFile(public, []byte(one.PublicKey), 0o600))
	private, said = command("signing-keys", "create", "--public-key", public, "--json")
	var made struct{ ID, Algorithm, PublicKey string }
	if err := json.Unmarshal([]byte(private), &made); err != nil || made.Algorithm != "EdDSA" || strings.Contains(private, "PRIVATE KEY") {
		t.Errorf("a key of one's own: %q %q %v", private, said, err)
	}
}

// nginxOf returns the configuration of nginx that SIGNING.md shows, for a server at origin, on an address of its
// own.
func nginxOf(t *testing.T, origin, listen string) (dir string) {
	t.Helper()
	doc, err := os.ReadFile("../../pipeline/playback/SIGNING.md")
	check(t, err)
	block := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("SIGNING.md has no configuration of nginx")
	}
	dir = t.TempDir()
	conf := strings.NewReplacer(
		"/var/cache/nginx/reelmill", filepath.Join(dir, "cache"), "listen 443 ssl;", "listen "+listen+";",
		"http://127.0.0.1:8080", origin,
	).Replace(string(block[1]))
	conf = regexp.MustCompile(`(?m)^\s*(ssl_|server_name).*$`).ReplaceAllString(conf, "")
	temp := ""
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("  %s_temp_path %s;\n", name, filepath.Join(dir, name))
	}
	conf = fmt.Sprintf("daemon off;\nmaster_process off;\npid %s;\nerror_log stderr;\nevents {}\nhttp {\n  access_log off;\n%s%s}\n",
		filepath.Join(dir, "pid"), temp, conf)
	check(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600))
	return dir
}

// startCache starts nginx in front of a server, and returns its address.
func startCache(t *testing.T, origin string) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		t.Fatalf("%v: run .ci/install", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	listen := free.Addr().String()
	check(t, free.Close())
	dir := nginxOf(t, origin, listen)
	var log pipelinetest.Buffer
	cache := exec.Command(program, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	cache.Stderr, cache.Stdout = &log, &log
	check(t, cache.Start())
	t.Cleanup(func() {
		check(t, cache.Process.Signal(os.Interrupt))
		_ = cache.Wait()
	})
	pipelinetest.Until(t, "nginx listens", func() bool {
		if cache.ProcessState != nil {
			t.Fatalf("nginx ended\n%s", log.String())
		}
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
	return "http://" + listen
}

// TestCacheServesViewers: 50 viewers, each with a token of his own, play through the cache of SIGNING.md. It
// serves 95% of their requests for segments, and nothing to those without a token or after its end.
func TestCacheServesViewers(t *testing.T) {
	s := startSite(t, playClip(t, "-preset", "ultrafast", "-t", "8"))
	cache := startCache(t, s.url)
	const viewers = 50
	began := time.Now()
	var mu sync.Mutex
	served := map[string]int{}
	var group errgroup.Group
	group.SetLimit(8)
	for i := range viewers {
		token := s.token(t, began.Add(time.Hour+time.Duration(i)*time.Second))
		group.Go(func() error {
			return s.view(t, cache, token, func(status string) {
				mu.Lock()
				defer mu.Unlock()
				served[status]++
			})
		})
	}
	check(t, group.Wait())
	all := 0
	for _, n := range served {
		all += n
	}
	t.Logf("%d requests for segments: %v", all, served)
	if fromCache := served["HIT"] + served["REVALIDATED"]; all < viewers*5 || fromCache*100 < all*95 {
		t.Errorf("the cache served %d of %d requests: %v", fromCache, all, served)
	}
	if a := visit(t, s.at(cache, "270p/init.mp4", "")); a.status != http.StatusForbidden {
		t.Errorf("without a token: %d", a.status)
	}
	s.cacheEnds(t, cache)
}

// view plays the top rung and the audio of a video as a viewer does, and tells how the cache served each segment.
func (s *publisher) view(t *testing.T, cache, token string, tell func(string)) error {
	master, err := tryVisit(t, s.at(cache, "master.m3u8", token))
	if err != nil || master.status != http.StatusOK {
		return fmt.Errorf("master playlist: %d %s %w", master.status, master.body, err)
	}
	for _, playlist := range s.urlsOf(t, "master.m3u8", master.body) {
		if !strings.Contains(playlist, "/270p/index") && !strings.Contains(playlist, "/audio") {
			continue
		}
		base, err := url.Parse(s.at(cache, playlist, ""))
		if err != nil {
			return err
		}
		media, err := tryVisit(t, base.String())
		if err != nil || media.status != http.StatusOK {
			return fmt.Errorf("%s: %d %s %w", base, media.status, media.body, err)
		}
		for _, segment := range s.urlsOf(t, base.Path, media.body) {
			at, err := base.Parse(segment)
			if err != nil {
				return err
			}
			a, err := tryVisit(t, at.String())
			if err != nil || a.status != http.StatusOK {
				return fmt.Errorf("%s: %d %s %w", at, a.status, a.body, err)
			}
			tell(a.header.Get("X-Cache"))
		}
	}
	return nil
}

// cacheEnds checks that the cache serves nothing after the end of a pass, although it has it.
func (s *publisher) cacheEnds(t *testing.T, cache string) {
	t.Helper()
	for lasts := 3 * time.Second; ; lasts *= 3 {
		ends := time.Now().Add(lasts)
		master := visit(t, s.at(cache, "master.m3u8", s.token(t, ends)))
		if master.status != http.StatusOK && lasts < 10*time.Minute {
			continue // this machine is too slow for so short a token
		}
		segment := s.at(cache, strings.Replace(s.urlsOf(t, "master.m3u8", master.body)[0], "index.m3u8", "init.mp4", 1), "")
		if first := visit(t, segment); first.status != http.StatusOK && lasts < 10*time.Minute {
			continue
		}
		pipelinetest.Until(t, "the cache refuses", func() bool {
			a := visit(t, segment)
			if over := time.Since(ends) - lasts/10; a.status == http.StatusOK && over > 5*time.Second {
				t.Errorf("it serves %v after the end of the pass: %v", over, a.header)
				return true
			}
			return a.status == http.StatusForbidden && a.code == "playback_token_expired"
		})
		return
	}
}
