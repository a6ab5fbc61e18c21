package api

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestHostsThatAreRefused checks that a page whose name was made to lead here (DNS rebinding) can neither
// read nor delete.
func TestHostsThatAreRefused(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.PublicURL = "https://video.example.com:8443/sub" })
	id := e.uploaded().ID
	for _, host := range []string{
		"evil.example", "evil.example:8080", "reelmill:8080", "127.0.0.1.evil.example", "localhost.evil.example", "xlocalhost",
		"video.example.com.evil.example", "2130706433", "0x7f.1", "*",
	} {
		for _, method := range []string{"DELETE", "GET"} {
			resp, raw := e.do(method, "/v1/videos/"+id, nil, "Host", host)
			p := wantProblem(t, resp, raw, "host_unknown")
			name := hostName(host)
			words := []string{"--allow-host " + name, "REELMILL_ALLOW_HOST=" + name, "add " + name + " to allow_host"}
			if host == "*" { // no name that could be allowed
				words = []string{"--allow-host"}
			}
			for _, word := range words {
				if !strings.Contains(p.Remedy, word) {
					t.Errorf("%s: remedy %q lacks %q", host, p.Remedy, word)
				}
			}
		}
		for _, path := range []string{"/play/" + id + "/x.mp4", "/openapi.json", "/healthz", "/nope"} {
			resp, raw := e.get(path, "Host", host)
			wantProblem(t, resp, raw, "host_unknown")
		}
	}
	if v := read[pipeline.VideoView](e, "/v1/videos/"+id); v.ID != id {
		t.Errorf("the video is %+v", v)
	}
}

// TestHostsThatAreAnswered checks the names and addresses that people, proxies and health probes use.
func TestHostsThatAreAnswered(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.PublicURL = "https://video.example.com:8443/sub"
		c.Hosts = []string{"Mill.lan", "other.example.org"}
	})
	for _, host := range []string{
		"localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:8080", "10.42.0.17:8080",
		"[fd00::17]:8080", "video.example.com", "VIDEO.example.com:1", "mill.lan:8080", "MILL.lan.", "other.example.org",
	} {
		for _, path := range []string{"/v1/videos", "/healthz", "/readyz"} {
			if resp, raw := e.get(path, "Host", host); resp.StatusCode != http.StatusOK {
				t.Errorf("%s%s: %s", host, path, raw)
			}
		}
	}
	open := newEnv(t, func(c *Config) { c.Hosts = []string{"*"} })
	if resp, raw := open.get("/v1/videos", "Host", "any.example"); resp.StatusCode != http.StatusOK {
		t.Errorf("with *: %s", raw)
	}
}

// TestWritesOfOtherSites sends what browsers send for a page of another site: a form that posts itself, and
// requests of scripts.
func TestWritesOfOtherSites(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.PublicURL = "https://video.example.com/sub"
		c.Origins = []string{"https://app.example.com"}
	})
	id := e.uploaded().ID
	for name, c := range map[string]struct {
		headers []string
		refused bool
	}{
		"form of another site":      {[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, true},
		"form without Origin":       {[]string{"Sec-Fetch-Site", "cross-site"}, true},
		"another port of the host":  {[]string{"Origin", "http://127.0.0.1:3000", "Sec-Fetch-Site", "same-site"}, true},
		"sandboxed page":            {[]string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, true},
		"sandboxed in an old one":   {[]string{"Origin", "null"}, true},
		"old browser":               {[]string{"Origin", "http://evil.example"}, true},
		"old browser, other port":   {[]string{"Origin", "http://127.0.0.1:3000"}, true},
		"almost an allowed origin":  {[]string{"Origin", "https://app.example.com.evil.example", "Sec-Fetch-Site", "cross-site"}, true},
		"allowed name, other port":  {[]string{"Origin", "https://app.example.com:444", "Sec-Fetch-Site", "cross-site"}, true},
		"allowed name, unencrypted": {[]string{"Origin", "http://app.example.com", "Sec-Fetch-Site", "cross-site"}, true},
		"allowed origin":            {[]string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site"}, false},
		"own page":                  {[]string{"Origin", e.url, "Sec-Fetch-Site", "same-origin"}, false},
		"own page in an old one":    {[]string{"Origin", e.url}, false},
		"public URL by a proxy":     {[]string{"Origin", "https://video.example.com"}, false},
		"typed by the user":         {[]string{"Sec-Fetch-Site", "none"}, false},
		"no browser":                {nil, false},
	} {
		resp, raw := e.post([]part{file("cat.mp4", "meow")}, c.headers...)
		canceled, rawCanceled := e.do("POST", "/v1/videos/"+id+"/cancel", nil, c.headers...)
		if !c.refused {
			if resp.StatusCode != http.StatusCreated || canceled.StatusCode != http.StatusOK {
				t.Errorf("%s: upload %s, cancel %s", name, raw, rawCanceled)
			}
			continue
		}
		p := wantProblem(t, resp, raw, "cross_origin")
		if !strings.Contains(p.Remedy, "--allow-origin") {
			t.Errorf("%s: remedy %q", name, p.Remedy)
		}
		wantProblem(t, canceled, rawCanceled, "cross_origin")
		deleted, rawDeleted := e.do("DELETE", "/v1/videos/"+id, nil, c.headers...)
		wantProblem(t, deleted, rawDeleted, "cross_origin")
	}
}

// TestRefusedFormIsNotStored checks that a form of another site is refused before its file is stored.
func TestRefusedFormIsNotStored(t *testing.T) {
	e := newEnv(t, nil)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	must(t, writeParts(w, file("cat.mp4", strings.Repeat("meow", 100_000))))
	resp, raw := e.do("POST", "/v1/videos", &body, "Content-Type", w.FormDataContentType(),
		"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate",
		"Sec-Fetch-Dest", "document")
	wantProblem(t, resp, raw, "cross_origin")
	equal(t, "objects", e.objects())
	if l := read[list[pipeline.VideoView]](e, "/v1/videos"); len(l.Data) != 0 {
		t.Errorf("videos: %+v", l.Data)
	}
}

// wantHeaders checks headers of an answer; an empty value means that the header is missing.
func wantHeaders(t *testing.T, what string, resp *http.Response, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := strings.Join(resp.Header.Values(name), ", "); got != value {
			t.Errorf("%s: %s is %q, want %q", what, name, got, value)
		}
	}
}

// TestEveryAnswerIsFenced checks what keeps answers from being taken for pages or scripts, or from being read
// or embedded by other sites: for data, streams, refusals, and what has no route.
func TestEveryAnswerIsFenced(t *testing.T) {
	e := newEnv(t, nil)
	base := e.published()
	id := strings.Split(base, "/")[2]
	e.finished(id)
	for _, path := range []string{
		"/v1/videos", "/v1/videos/" + id, "/v1/videos/" + id + "/events", "/v1/videos/" + id + "/outputs", "/v1/nope",
		"/v1/videos?limit=x", "/healthz", "/readyz", "/openapi.json", "/", "/v1//videos", "/../x", "/index.html",
	} {
		resp, _ := e.get(path, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		wantHeaders(t, path, resp, map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Server": "",
			"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
			"Access-Control-Allow-Credentials": "",
			"Content-Security-Policy":          "default-src 'none'; frame-ancestors 'none'",
		})
	}
	for _, path := range []string{"master.m3u8", "720p/seg_00000.m4s", "thumbnail.jpg", "nope.jpg", "nope/master.m3u8"} {
		resp, _ := e.get(base+path, "Origin", "https://site.example", "Sec-Fetch-Site", "cross-site")
		wantHeaders(t, path, resp, map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Server": "",
			"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*",
			"Access-Control-Allow-Credentials": "", "Content-Security-Policy": playPolicy,
		})
	}
	resp, raw := e.do("OPTIONS", "/v1/videos", nil, "Origin", "https://evil.example",
		"Access-Control-Request-Method", "POST")
	wantProblem(t, resp, raw, codeMethod)
	wantHeaders(t, "preflight", resp, map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": ""})
}

// TestOnlyMediaIsShown checks that a browser saves what is neither media nor a playlist, and does not show it.
func TestOnlyMediaIsShown(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.inspected(id)
	e.job(pipeline.JobCompleted, id, "thumbnail", e.put(id, "thumbnail", "facts.json", "{}"),
		e.put(id, "thumbnail", "odd.bin", "<script>"), e.put(id, "thumbnail", "a.mp4", "x"))
	for path, want := range map[string]string{"facts.json": "attachment", "odd.bin": "attachment", "a.mp4": ""} {
		resp, raw := e.get("/play/" + id + "/" + path)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, raw)
		}
		wantHeaders(t, path, resp, map[string]string{"Content-Disposition": want, "X-Content-Type-Options": "nosniff"})
	}
}

// TestPagesOfAllowedOrigins checks that pages of --allow-origin can send and read, with a preflight, and that
// others cannot.
func TestPagesOfAllowedOrigins(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Origins = []string{"https://APP.example.com:443/", "http://localhost:3000"} })
	id := e.uploaded().ID
	for origin, allowed := range map[string]bool{
		"https://app.example.com": true, "http://localhost:3000": true, "http://localhost:3001": false,
		"http://app.example.com": false, "null": false, "https://evil.example": false,
	} {
		want := map[string]string{
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Vary": "Origin",
		}
		if allowed {
			want["Access-Control-Allow-Origin"] = origin
			want["Access-Control-Expose-Headers"] = exposed
		}
		for _, path := range []string{"/v1/videos/" + id, "/v1/nope"} {
			resp, _ := e.get(path, "Origin", origin, "Sec-Fetch-Site", "cross-site")
			wantHeaders(t, origin+path, resp, want)
		}
		want["Vary"] = "Origin, Accept"
		resp, _ := e.get("/v1/videos/"+id+"/events", "Origin", origin, "Accept", "application/json")
		wantHeaders(t, origin+" events", resp, want)
		resp, _ = e.do("OPTIONS", "/v1/videos", nil, "Origin", origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "idempotency-key")
		if got := resp.StatusCode == http.StatusNoContent; got != allowed {
			t.Errorf("preflight of %s: %s", origin, resp.Status)
		}
		headers := strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers"))
		if methods := resp.Header.Get("Access-Control-Allow-Methods"); allowed !=
			(strings.Contains(headers, "idempotency-key") && strings.Contains(methods, "DELETE")) {
			t.Errorf("preflight of %s allows %q with %q", origin, methods, headers)
		}
	}
	resp, _ := e.get("/v1/videos") // an answer without Origin must not be kept for pages with one
	wantHeaders(t, "no Origin", resp, map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": ""})
}

// TestPagesThatMayPlay checks CORS of /play with a list of origins, and with none.
func TestPagesThatMayPlay(t *testing.T) {
	const site = "https://site.example"
	for name, c := range map[string]struct {
		allowed, of []string
		want        map[string]string
	}{
		"all":             {nil, []string{site, "null"}, map[string]string{"Access-Control-Allow-Origin": "*", "Vary": ""}},
		"all in words":    {[]string{"*"}, []string{site}, map[string]string{"Access-Control-Allow-Origin": "*"}},
		"listed":          {[]string{"http://a.example", site}, []string{site}, map[string]string{"Access-Control-Allow-Origin": site, "Vary": "Origin"}},
		"not listed":      {[]string{site}, []string{"https://evil.example", "null", ""}, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"}},
		"none":            {[]string{"none"}, []string{site, "none", ""}, map[string]string{"Access-Control-Allow-Origin": "", "Cross-Origin-Resource-Policy": "same-origin"}},
		"listed, embeds ": {[]string{site}, []string{""}, map[string]string{"Cross-Origin-Resource-Policy": "cross-origin"}},
	} {
		e := newEnv(t, func(cfg *Config) { cfg.PlayOrigins = c.allowed })
		base := e.published()
		for _, origin := range c.of {
			for _, path := range []string{"master.m3u8", "nope.mp4"} {
				resp, _ := e.get(base+path, "Origin", origin)
				wantHeaders(t, name+" "+path, resp, c.want)
			}
			resp, _ := e.do("OPTIONS", base+"master.m3u8", nil, "Origin", origin, "Access-Control-Request-Method", "GET")
			wantHeaders(t, name+" preflight", resp, c.want)
		}
	}
}

// TestPagesReadWhyTheyAreRefused checks that a page which may read the server's answers may also read that the host is
// unknown, or that it may play but not write; that its preflights let it come so far; and that no other page may.
func TestPagesReadWhyTheyAreRefused(t *testing.T) {
	const app, site, evil = "https://app.example.com", "https://site.example", "https://evil.example"
	e := newEnv(t, func(c *Config) { c.Origins, c.PlayOrigins = []string{app}, []string{site} })
	for _, c := range []struct {
		method, path, origin, host string
		code                       code
		reads                      bool
	}{
		{"GET", "/v1/videos", app, "mill", codeHostUnknown, true},
		{"POST", "/v1/videos", app, "mill", codeHostUnknown, true},
		{"GET", "/v1/videos", site, "mill", codeHostUnknown, false},
		{"GET", "/v1/videos", evil, "mill", codeHostUnknown, false},
		{"GET", "/play/x/master.m3u8", site, "mill", codeHostUnknown, true},
		{"GET", "/play/x/master.m3u8", app, "mill", codeHostUnknown, false},
		{"POST", "/play/x/master.m3u8", site, "localhost", codeCrossOrigin, true},
		{"POST", "/play/x/master.m3u8", evil, "localhost", codeCrossOrigin, false},
		{"POST", "/v1/videos", site, "localhost", codeCrossOrigin, false},
		{"DELETE", "/v1/videos/x", evil, "localhost", codeCrossOrigin, false},
	} {
		what, want := c.method+" "+c.path+" "+c.origin, map[string]string{
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Vary": "Origin",
		}
		if c.reads {
			want["Access-Control-Allow-Origin"] = c.origin
		}
		if c.reads && strings.HasPrefix(c.path, "/play/") { // the cookie of a viewer
			want["Access-Control-Allow-Credentials"] = "true"
		}
		resp, raw := e.do(c.method, c.path, nil, "Origin", c.origin, "Host", c.host, "Sec-Fetch-Site", "cross-site")
		wantProblem(t, resp, raw, c.code)
		wantHeaders(t, what, resp, want)
		resp, _ = e.do("OPTIONS", c.path, nil, "Origin", c.origin, "Host", "mill", "Access-Control-Request-Method", "GET")
		if (resp.StatusCode == http.StatusNoContent) != c.reads {
			t.Errorf("preflight of %s: %s", what, resp.Status)
		}
		wantHeaders(t, "preflight of "+what, resp, want)
	}
	resp, raw := e.do("OPTIONS", "/play/x/master.m3u8", nil, "Origin", site, "Host", "mill") // no preflight
	wantProblem(t, resp, raw, codeHostUnknown)
}

// TestAccessThatIsRefused checks that wrong hosts and origins are refused when the server starts.
func TestAccessThatIsRefused(t *testing.T) {
	for name, fine := range map[string]bool{
		"video.example.com": true, "mill": true, "*": true, "a_b-c.example": true, "": false, "video.example.com:80": false,
		"https://video.example.com": false, "a/b": false, "a b": false, "vidéo.example": false, "[::1]": false,
		"*.example.com": false, strings.Repeat("a", 254): false,
	} {
		if err := CheckHost(name); (err == nil) != fine {
			t.Errorf("host %q: %v", name, err)
		}
	}
	for origin, fine := range map[string]bool{
		"https://app.example.com": true, "http://localhost:3000/": true, "capacitor://localhost": true, "http://[::1]:80": true,
		"*": false, "null": false, "app.example.com": false, "https://app.example.com/x": false, "https://": false,
		"https://*.example.com": false, "https://a?b": false, "https://a#": false, "https://me@a": false, "": false,
		"https://:80": false,
	} {
		if err := CheckOrigin(origin); (err == nil) != fine {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
	for _, a := range []Access{
		{Hosts: []string{"a:80"}}, {Origins: []string{"*"}}, {PlayOrigins: []string{"x"}},
		{PlayOrigins: []string{"https://a.example", "*"}}, {PlayOrigins: []string{"none", "none"}},
	} {
		if _, err := newGuard(a, ""); err == nil {
			t.Errorf("%+v is accepted", a)
		}
	}
}

// FuzzHost checks that whatever Host a client sends, a name counts as known only if it is an address or in
// the list.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"localhost:80", "[::1]", "::1", "evil.example", "[evil", "127.0.0.1:", "a:b:c", "me@localhost", "[::1%25eth0]:1"} {
		f.Add(seed)
	}
	g, err := newGuard(Access{Hosts: []string{"mill.lan"}}, "")
	must(f, err)
	f.Fuzz(func(t *testing.T, host string) {
		name := hostName(host)
		letters := strings.ContainsAny(name, "ghijklmnopqrstuvwxyz") && !strings.Contains(name, "%")
		if g.knows(host) && letters && name != "localhost" && name != "mill.lan" {
			t.Errorf("%q is known as %q", host, name)
		}
		if f := unknownHost(host); strings.ContainsFunc(f.detail+f.remedy, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q: %q", host, f.detail)
		}
	})
}
