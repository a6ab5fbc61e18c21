package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// from returns a client whose connections come from a loopback address.
func (e *env) from(address string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	e.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestManySlowUploadsOfOneClient opens as many uploads as there may be, all from one address. They must not
// keep others out.
func TestManySlowUploadsOfOneClient(t *testing.T) {
	reading := make(chan struct{}, 100)
	fault := &storeFault{put: func(context.Context, string, io.Reader) error {
		reading <- struct{}{}
		return nil
	}}
	e := newEnv(t, func(c *Config) { fault.Store, c.Store = c.Store, fault })
	var slow []net.Conn
	for range 64 {
		slow = append(slow, e.announce(1000, partHead+"x"))
	}
	for range 48 {
		pipelinetest.Receive(t, "a slow upload", reading)
	}
	answered := make(chan code, 64)
	for _, c := range slow {
		go func() {
			raw, _ := io.ReadAll(c) // the end of the test closes it
			if strings.Contains(string(raw), `"too_many_client_uploads"`) {
				answered <- codeClientUploads
			}
		}()
	}
	for range 16 {
		pipelinetest.Receive(t, "a refusal", answered)
	}
	resp, raw := e.post([]part{file("cat.mp4", "meow")})
	wantProblem(t, resp, raw, codeClientUploads)
	e.client = e.from("127.0.0.2")
	if resp, raw := e.post([]part{file("cat.mp4", "meow")}); resp.StatusCode != http.StatusCreated {
		t.Errorf("another client: %s", raw)
	}
}

// TestSlowUploadIsCut sends a byte now and then, more often than UploadIdle.
func TestSlowUploadIsCut(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Limits.MinUploadRate, c.Limits.UploadSlack = 1<<20, 100*time.Millisecond
	})
	c := e.announce(1<<19, partHead)
	go func() {
		for _, err := c.Write([]byte("x")); err == nil; _, err = c.Write([]byte("x")) {
			<-time.After(5 * time.Millisecond)
		}
	}()
	resp, raw := answerOn(t, c)
	wantProblem(t, resp, raw, codeUploadSlow)
	equal(t, "objects", e.objects())
}

func TestClients(t *testing.T) {
	g, err := newGuard(Access{Proxies: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/16"), netip.MustParsePrefix("127.0.0.1/32"),
	}}, "")
	must(t, err)
	for _, c := range []struct {
		remote string
		via    []string
		want   string
	}{
		{"203.0.113.9:1", nil, "203.0.113.9/32"},
		{"203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9/32"}, // made up
		{"[2001:db8:1:2:3:4:5:6]:1", nil, "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:ffff::1]:1", nil, "2001:db8:1:2::/64"},
		{"[::ffff:203.0.113.9]:1", nil, "203.0.113.9/32"},
		{"[fe80::1%eth0]:1", nil, "fe80::/64"},
		{"10.1.1.1:1", []string{"198.51.100.1"}, "198.51.100.1/32"},
		{"10.1.1.1:1", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1/32"},
		{"10.1.1.1:1", []string{"1.1.1.1", "198.51.100.1, 10.2.2.2"}, "198.51.100.1/32"},
		{"10.1.1.1:1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3/32"},
		{"10.1.1.1:1", []string{"1.1.1.1, nonsense"}, "10.1.1.1/32"},
		{"10.1.1.1:1", []string{"1.1.1.1, nonsense, 10.2.2.2"}, "10.2.2.2/32"},
		{"10.1.1.1:1", nil, "10.1.1.1/32"},
		{"[fd00::1]:1", []string{"[2001:db8:1:2::1]:99"}, "2001:db8:1:2::/64"},
		{"127.0.0.1:1", []string{"198.51.100.1:99"}, "198.51.100.1/32"},
		{"pipe", []string{"198.51.100.1"}, "invalid Prefix"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.remote, c.via
		if got := g.clientOf(r).String(); got != c.want {
			t.Errorf("%s via %q is %s, want %s", c.remote, c.via, got, c.want)
		}
	}
}

// TestUnnamedProxy: users behind a proxy that nobody named share the limits of one client, so the operator hears
// of it, once.
func TestUnnamedProxy(t *testing.T) {
	var log pipelinetest.Buffer
	g, err := newGuard(Access{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "")
	must(t, err)
	s := &server{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, guard: g}
	request := func(remote, via string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		if via != "" {
			r.Header.Set("X-Forwarded-For", via)
		}
		s.noticeProxy(r)
	}
	request("203.0.113.9:1", "")
	request("10.1.1.1:1", "198.51.100.1")
	if log.String() != "" {
		t.Errorf("without such a proxy: %s", &log)
	}
	request("203.0.113.9:1", "198.51.100.1")
	request("203.0.113.9:1", "198.51.100.1")
	if l := log.String(); strings.Count(l, "--trusted-proxies") != 1 || !strings.Contains(l, "proxy=203.0.113.9") {
		t.Errorf("twice through one: %s", l)
	}
}

func TestStreamsOfOneClient(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxStreams = 4 })
	id := e.uploaded().ID
	open := func(client *http.Client) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "GET", e.url+"/v1/videos/"+id+"/events", nil)
		must(t, err)
		resp, err := client.Do(req)
		must(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for range 3 {
		if resp := open(e.client); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	resp := open(e.client)
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	wantProblem(t, resp, raw, codeClientStreams)
	if resp := open(e.from("127.0.0.2")); resp.StatusCode != http.StatusOK {
		t.Errorf("another client: %s", resp.Status)
	}
}

// TestRateOfOneClient checks that a client that sends too many requests is told when to go on, that health
// probes from its address pass, and that other clients do.
func TestRateOfOneClient(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.MaxClientRate = 1 })
	type answer struct {
		resp *http.Response
		raw  []byte
	}
	const many = 50 // at once: one after the other, a slow machine may need a second for each
	answers := make(chan answer, many)
	for range many {
		go func() {
			resp, raw := e.get("/v1/videos")
			answers <- answer{resp, raw}
		}()
	}
	refused := 0
	for range many {
		if a := pipelinetest.Receive(t, "an answer", answers); a.resp.StatusCode != http.StatusOK {
			wantProblem(t, a.resp, a.raw, codeTooManyRequests)
			refused++
		}
	}
	if refused == 0 || refused == many {
		t.Errorf("%d of %d requests are refused", refused, many)
	}
	for range 5 {
		if resp, raw := e.get("/readyz"); resp.StatusCode != http.StatusOK {
			t.Errorf("a probe: %s", raw)
		}
	}
	e.client = e.from("127.0.0.2")
	if resp, raw := e.get("/v1/videos"); resp.StatusCode != http.StatusOK {
		t.Errorf("another client: %s", raw)
	}
}

// TestRatesForget checks that many addresses do not fill the memory.
func TestRatesForget(t *testing.T) {
	r := newRates(1)
	r.limit = rate.Every(time.Hour)
	busy := netip.MustParsePrefix("2001:db8::/64")
	for r.allow(busy) {
	}
	for i := range 3 * maxClients {
		r.allow(netip.PrefixFrom(netip.AddrFrom16([16]byte{1, byte(i >> 16), byte(i >> 8), byte(i)}), 64))
	}
	if len(r.of) > maxClients || r.allow(busy) {
		t.Errorf("%d clients are kept", len(r.of))
	}
}

func TestBounds(t *testing.T) {
	e := newEnv(t, nil)
	many := make([]string, 0, 300)
	for i := range 120 {
		many = append(many, fmt.Sprintf("X-H%d", i), "x")
	}
	for name, c := range map[string]struct {
		method, path string
		body         string
		headers      []string
		want         code
	}{
		"many headers":    {"GET", "/v1/videos", "", many, codeHeadersTooLarge},
		"long header":     {"GET", "/play/x/y.mp4", "", []string{"X-Long", strings.Repeat("x", 40<<10)}, codeHeadersTooLarge},
		"long path":       {"GET", "/play/x/" + strings.Repeat("x", 9<<10), "", nil, codeURITooLong},
		"long query":      {"GET", "/healthz?x=" + strings.Repeat("x", 9<<10), "", nil, codeURITooLong},
		"many parameters": {"GET", "/healthz?" + strings.Repeat("a=b&", 70), "", nil, codeURITooLong},
		"body of a read":  {"GET", "/v1/videos", strings.Repeat("x", 65<<10), nil, codeBodyTooLarge},
		"body of a retry": {"POST", "/v1/videos/x/retry", strings.Repeat("x", 65<<10), nil, codeBodyTooLarge},
	} {
		resp, raw := e.do(c.method, c.path, strings.NewReader(c.body), c.headers...)
		if wantProblem(t, resp, raw, c.want); resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, resp.Header)
		}
	}
	deep := `{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}"
	for _, name := range []string{"metadata", "watermark"} {
		resp, raw := e.post([]part{field(name, deep), file("cat.mp4", "meow")})
		wantProblem(t, resp, raw, codeFieldTooDeep)
	}
	if resp, raw := e.post([]part{field("passthrough", deep), file("cat.mp4", "meow")}); resp.StatusCode != 201 {
		t.Errorf("passthrough, which is any text: %s", raw)
	}
	lines := strings.Repeat("X-Line: x\r\n", 3000)
	for _, body := range []string{"--b\r\n" + lines, badField + "--b\r\n" + lines, strings.Repeat("preamble\r\n", 4000)} {
		resp, raw := answerOn(t, e.announce(1<<19, body))
		wantProblem(t, resp, raw, codePartHeader)
	}
	name := strings.Repeat("ä", 255) + ".mp4"
	if resp, raw := e.post([]part{file(name, "meow")}); resp.StatusCode != 201 {
		t.Errorf("a long name: %s", raw)
	}
}
