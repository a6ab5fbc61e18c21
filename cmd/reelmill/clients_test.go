package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers/workertest"
)

// clientFolder has the TypeScript client, the upload page and tus-js-client.
const clientFolder = "../../deploy/clients/typescript"

// runNode runs a program of the client's folder.
func runNode(t *testing.T, env []string, program string, args ...string) []byte {
	t.Helper()
	if _, err := os.Stat(filepath.Join(clientFolder, "node_modules", ".package-lock.json")); err != nil {
		t.Fatalf("the libraries of the client are not installed: run .ci/install (%v)", err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = clientFolder, append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s\n%s", program, args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes()
}

// clientClip makes a small clip.
func clientClip(t *testing.T) string {
	t.Helper()
	return workertest.Clip(t, "clip.mp4", "-f", "lavfi", "-i", "testsrc2=size=192x108:rate=10", "-t", "2",
		"-c:v", "libx264", "-preset", "ultrafast")
}

// TestTypeScriptClient: the types are generated from the document that is committed, the client fits them, and its
// own tests pass against the program.
func TestTypeScriptClient(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "api.d.ts")
	runNode(t, nil, "node", "node_modules/openapi-typescript/bin/cli.js", "../../../pipeline/api/openapi.json",
		"--output", fresh)
	want, err := os.ReadFile(fresh)
	check(t, err)
	got, err := os.ReadFile(filepath.Join(clientFolder, "src", "api.d.ts"))
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("deploy/clients/typescript/src/api.d.ts is not fresh: run npm run generate there")
	}
	runNode(t, nil, "node", "node_modules/typescript/bin/tsc")
	t.Setenv("REELMILL_WEBHOOK_SECRET", testSecret)
	p := startServe(t, binary, t.TempDir(), "--webhook-allow-private")
	t.Logf("%s", runNode(t, []string{
		"REELMILL_URL=" + p.url, "REELMILL_CLIP=" + clientClip(t), "REELMILL_SECRET=" + testSecret,
	}, "node", "--test", "dist/test/"))
}

// TestUploadPage uploads a file with the page for other sites in a browser, from another origin, until it plays.
func TestUploadPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(clientFolder, "upload.html"))
	check(t, err)
	if n := bytes.Count(page, []byte{'\n'}); n > 60 {
		t.Errorf("the page has %d lines", n)
	}
	site := httptest.NewServer(http.FileServer(http.Dir(clientFolder)))
	t.Cleanup(site.Close)
	p := startServe(t, binary, t.TempDir(), "--allow-origin", site.URL)
	uploadByPage(t, site.URL+"/upload.html?server="+p.url)
}

// TestUploadPageWithTokens does so with a server that asks for keys and allows no origin: the page's site has a key,
// and gives the page a token for each thing that it does.
func TestUploadPageWithTokens(t *testing.T) {
	data := t.TempDir()
	key := offlineKey(t, data, "upload,read")
	p := startServe(t, binary, data)
	server := client.Open(client.Config{URL: p.url, Key: key})
	mux := http.NewServeMux()
	var minted, pages atomic.Int32
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	mux.Handle("/", http.FileServer(http.Dir(clientFolder)))
	answer := func(w http.ResponseWriter, token secret.Text, err error) {
		minted.Add(1)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token.Reveal()})
	}
	mux.HandleFunc("POST /tokens/upload", func(w http.ResponseWriter, r *http.Request) {
		pages.Add(1)
		made, err := server.CreateUploadToken(r.Context(), client.UploadLimits{
			Origin: site.URL, Types: []string{"video/mp4"}, MaxSize: 1 << 20,
		})
		answer(w, made.Token, err)
	})
	mux.HandleFunc("POST /tokens/read", func(w http.ResponseWriter, r *http.Request) {
		made, err := server.CreateReadToken(r.Context(), r.FormValue("video"), time.Minute)
		answer(w, made.Token, err)
	})
	uploadByPage(t, site.URL+"/upload.html?tokens=/tokens&server="+p.url)
	if minted.Load() != 2 || pages.Load() != 1 {
		t.Errorf("the page asked for %d tokens, %d of them to upload", minted.Load(), pages.Load())
	}
	var found []pipeline.VideoView
	for v, err := range server.Videos(t.Context(), client.ListOptions{}) {
		check(t, err)
		found = append(found, v)
	}
	if len(found) != 1 || found[0].Status != pipeline.StateVideoReady {
		t.Errorf("%+v", found)
	}
}

// offlineKey makes an API key of the project default before its server starts.
func offlineKey(t *testing.T, data, scopes string) secret.Text {
	t.Helper()
	var stdout, stderr bytes.Buffer
	check(t, run(t.Context(), []string{"keys", "create", "--offline", "--data", data, "--scopes", scopes}, &stdout, &stderr))
	return secret.New(strings.TrimSpace(stdout.String()))
}

// uploadByPage uploads a clip by the page at an address, until it plays.
func uploadByPage(t *testing.T, page string) {
	t.Helper()
	b := startBrowserAt(t, page)
	var r struct {
		Status   string
		Progress float64
		Time     float64 // seconds that were played
		Width    int
	}
	b.run(t, map[string]any{"file": clientClip(t), "until": "It is ready"}, &r)
	t.Logf("%+v", r)
	if r.Status != "It is ready" || r.Progress != 100 || r.Time <= 0 || r.Width != 192 {
		t.Errorf("%+v", r)
	}
}
