package main

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// entry is a vulnerability of Go's function path.Clean that no release has mended.
const entry = `{
	"schema_version": "1.3.1", "id": "GO-2000-0001", "modified": "2026-01-01T00:00:00Z",
	"published": "2026-01-01T00:00:00Z", "summary": "path.Clean is made up for a test", "details": "x",
	"affected": [{
		"package": {"name": "stdlib", "ecosystem": "Go"},
		"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
		"ecosystem_specific": {"imports": [{"path": "path", "symbols": ["Clean"]}]}
	}],
	"database_specific": {"url": "https://example.org/GO-2000-0001"}
}`

// database makes a database with one entry, and returns its folder.
func database(t *testing.T) string {
	t.Helper()
	return folder(t, map[string]string{
		"index/db.json":        `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json":   `[{"path":"stdlib","vulns":[{"id":"GO-2000-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
		"index/vulns.json":     `[{"id":"GO-2000-0001","modified":"2026-01-01T00:00:00Z"}]`,
		"ID/GO-2000-0001.json": entry,
	})
}

// serve serves a database over HTTP as the public one does, each file compressed too, under its name and .gz.
func serve(t *testing.T, dir string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, compressed := strings.CutSuffix(r.URL.Path, ".gz")
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case err != nil:
			http.NotFound(w, r)
		case compressed:
			z := gzip.NewWriter(w)
			_, err = z.Write(text)
			if err := errors.Join(err, z.Close()); err != nil {
				t.Error(err)
			}
		default:
			_, _ = w.Write(text)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// module makes a module whose main function runs body, with package path imported.
func module(t *testing.T, body string) string {
	t.Helper()
	return folder(t, map[string]string{
		"go.mod":  "module example.org/m\n\ngo 1.26.0\n",
		"main.go": "package main\n\nimport \"path\"\n\nfunc main() { " + body + " }\n",
	})
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestVulnerabilities checks with the real govulncheck that a vulnerability fails if its function is called,
// and does not if it is only linked; over HTTP and from a folder.
func TestVulnerabilities(t *testing.T) {
	called, linked := module(t, `println(path.Clean("a"))`), module(t, `println(path.Base("a"))`)
	dir := database(t)
	for _, db := range []string{serve(t, dir), "file://" + dir} {
		var out, errOut bytes.Buffer
		err := run(t.Context(), []string{"-db", db, called, "./..."}, &out, &errOut)
		if err == nil || !strings.Contains(out.String(), "GO-2000-0001") {
			t.Errorf("%s, called: %v\n%s%s", db, err, &out, &errOut)
		}
		out.Reset()
		if err := run(t.Context(), []string{"-db", db, linked, "./..."}, &out, &errOut); err != nil {
			t.Errorf("%s, linked: %v\n%s%s", db, err, &out, &errOut)
		}
		if !strings.Contains(out.String(), "affected by 0 vulnerabilities") {
			t.Errorf("%s, linked: %s", db, &out)
		}
	}
}

// TestNoDatabase tells a database that cannot be reached, which does not fail, from one that answers with an
// error or with something else.
func TestNoDatabase(t *testing.T) {
	dir := module(t, `println(path.Base("a"))`)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "try later", http.StatusServiceUnavailable)
	}))
	defer broken.Close()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>log in first"))
	}))
	defer portal.Close()
	untrusted := httptest.NewUnstartedServer(http.FileServer(http.Dir(database(t))))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it
	untrusted.StartTLS()
	defer untrusted.Close()
	for _, c := range []struct {
		args []string
		fail string // empty: none
		out  string
	}{
		{[]string{"-db", gone.URL}, "", "NOT CHECKED for known vulnerabilities"},
		{[]string{"-db", gone.URL, "-required"}, "connection refused", ""},
		{[]string{"-db", "http://no-such-host.invalid"}, "", "NOT CHECKED for known vulnerabilities"},
		{[]string{"-db", broken.URL}, "answered 503", ""},
		{[]string{"-db", untrusted.URL}, "TLS refuses the connection", ""},
		{[]string{"-db", "https" + strings.TrimPrefix(portal.URL, "http")}, "TLS refuses the connection", ""},
		{[]string{"-db", portal.URL}, "log in first", ""},
		{[]string{"-db", "file://" + filepath.Join(dir, "none")}, "no such file", ""},
	} {
		var out, errOut bytes.Buffer
		err := run(t.Context(), append(c.args, dir, "./..."), &out, &errOut)
		if (err != nil) != (c.fail != "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%q: %v", c.args, err)
		}
		if !strings.Contains(out.String(), c.out) || c.out == "" && out.Len() > 0 {
			t.Errorf("%q printed %q", c.args, &out)
		}
	}
}

// TestSilentDatabase: a connection on which nobody answers, as behind some firewalls, is no refusal by TLS.
func TestSilentDatabase(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the system takes connections for it
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	conn, err := net.Dial("tcp", silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	handshake := make(chan error, 1)
	handshake <- tls.Client(conn, &tls.Config{ServerName: "localhost"}).Handshake()
	if err := failed(errors.New("no answer"), handshake); !errors.As(err, new(unreachable)) {
		t.Errorf("%v", err)
	}
}
