package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// gate is a proxy before a server. It sees each piece of an upload, and may hold it up or cut it off.
type gate struct {
	*httptest.Server
	mu     sync.Mutex
	piece  func(name string, read int64) // called while a piece is read, with the bytes of it so far
	begins []int64                       // the offset of each piece
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	at, err := url.Parse(server)
	check(t, err)
	g := &gate{}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.FlushInterval = -1
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			begin, _ := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
			g.mu.Lock()
			g.begins = append(g.begins, begin)
			g.mu.Unlock()
			r.Body = &metered{ReadCloser: r.Body, g: g, name: r.URL.Path}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// on sets what happens while pieces are read.
func (g *gate) on(piece func(name string, read int64)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.piece, g.begins = piece, nil
}

type metered struct {
	io.ReadCloser
	g    *gate
	name string
	read int64
}

// Read implements io.Reader.
func (b *metered) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.g.mu.Lock()
	piece := b.g.piece
	b.g.mu.Unlock()
	if piece != nil {
		piece(b.name, b.read)
	}
	return n, err
}

// noise writes a file of random bytes, and returns its path and sum.
func noise(t *testing.T, dir, name string, size int) (path, sum string) {
	t.Helper()
	raw := make([]byte, size)
	rand.Read(raw)
	path = filepath.Join(dir, name)
	check(t, os.WriteFile(path, raw, 0o600))
	return path, fmt.Sprintf("%x", sha256.Sum256(raw))
}

func allVideos(t *testing.T, c *client.Client) (all []pipeline.VideoView) {
	t.Helper()
	for v, err := range c.Videos(t.Context(), client.ListOptions{}) {
		check(t, err)
		all = append(all, v)
	}
	return all
}

// TestUploadGoesOnAfterItsKill kills the command in the middle of the second of two files. The same command
// then sends only what the server lacks, and there are two videos with the bytes of the files. Once more, it
// uploads them anew.
func TestUploadGoesOnAfterItsKill(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	g := newGate(t, p.url)
	dir := t.TempDir()
	_, first := noise(t, dir, "a.mp4", 1<<20)
	_, second := noise(t, dir, "b.mp4", 8<<20)
	check(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("x"), 0o600))
	args := []string{"upload", dir, "--server", g.URL, "--json", "--parallel", "1"}
	ctx, kill := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, binary, args...)
	g.on(func(_ string, read int64) {
		if read > 2<<20 {
			kill()
		}
	})
	said, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(said), `"id":"vid_`) != 1 {
		t.Fatalf("the command that is killed says %s, %v", said, err)
	}
	pipelinetest.Until(t, "the server keeps what came", func() bool { // it may still read it
		for u, err := range p.client().Uploads(t.Context()) {
			check(t, err)
			if u.Status == client.UploadUploading && u.Offset > 1<<20 {
				return true
			}
		}
		return false
	})
	g.on(nil)
	var out, errOut bytes.Buffer
	check(t, run(t.Context(), args, &out, &errOut))
	var sums []string
	for line := range strings.Lines(out.String()) {
		var v pipeline.VideoView
		check(t, json.Unmarshal([]byte(line), &v))
		sums = append(sums, v.SHA256)
	}
	if len(sums) != 2 || sums[0] != first || sums[1] != second || len(allVideos(t, p.client())) != 2 {
		t.Errorf("%d videos, printed %s", len(allVideos(t, p.client())), &out)
	}
	if len(g.begins) != 1 || g.begins[0] < 1<<20 {
		t.Errorf("the second command sends pieces from %v on", g.begins)
	}
	if text := errOut.String(); !strings.Contains(text, "a.mp4: an earlier run has uploaded it") || !strings.Contains(text, "notes.txt") {
		t.Errorf("it says %s", text)
	}
	check(t, run(t.Context(), args, &out, &errOut))
	if n := len(allVideos(t, p.client())); n != 4 {
		t.Errorf("%d videos after a third command, want 4", n)
	}
	p.stop(t)
}

// TestUploadSaysHowToGoOn interrupts an upload, which says how to go on; --fresh begins anew.
func TestUploadSaysHowToGoOn(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	g := newGate(t, p.url)
	film, sum := noise(t, t.TempDir(), "a.mp4", 8<<20)
	ctx, interrupt := context.WithCancel(t.Context())
	g.on(func(_ string, read int64) {
		if read > 1<<20 {
			interrupt()
		}
	})
	err := run(ctx, []string{"upload", film, "--server", g.URL}, io.Discard, io.Discard)
	if exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "of 8 MiB; to go on, run the same command again") {
		t.Errorf("%d %v", exitCode(err), err)
	}
	g.on(nil)
	var out bytes.Buffer
	check(t, run(t.Context(), []string{"upload", film, "--server", g.URL, "--json", "--fresh"}, &out, io.Discard))
	all := allVideos(t, p.client())
	if len(all) != 1 || all[0].SHA256 != sum || len(g.begins) != 1 || g.begins[0] != 0 {
		t.Errorf("%d videos, pieces from %v on, printed %s", len(all), g.begins, &out)
	}
	p.stop(t)
}

// TestUploadPrintsInOrder holds up the first of three files until the others are uploaded.
func TestUploadPrintsInOrder(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--no-workers")
	g := newGate(t, p.url)
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"c.mp4", "a.mp4", "b.mp4"} {
		file, _ := noise(t, dir, name, 1000)
		files = append(files, file)
	}
	var once sync.Once
	slow := ""
	ctx := pipelinetest.Context(t)
	g.on(func(name string, _ int64) {
		once.Do(func() { slow = name })
		for name == slow && ctx.Err() == nil && len(allVideos(t, p.client())) < 2 {
		}
	})
	var out bytes.Buffer
	check(t, run(t.Context(), append([]string{"upload", "--server", g.URL, "--json"}, files...), &out, io.Discard))
	var names []string
	for line := range strings.Lines(out.String()) {
		var v pipeline.VideoView
		check(t, json.Unmarshal([]byte(line), &v))
		names = append(names, v.Filename)
	}
	if got := strings.Join(names, " "); got != "c.mp4 a.mp4 b.mp4" {
		t.Errorf("printed %s", got)
	}
	p.stop(t)
}

// TestResultsKeepTheirOrder checks the order when files end in any order, and that nothing is lost when some
// were not begun.
func TestResultsKeepTheirOrder(t *testing.T) {
	var out bytes.Buffer
	r := newResults(func(text []byte) error { _, err := out.Write(text); return err })
	for _, i := range []int{2, 1, 4} {
		r.set(i, []byte(strconv.Itoa(i)))
		check(t, r.done(i))
	}
	if out.Len() > 0 {
		t.Errorf("printed %s before the first", &out)
	}
	check(t, r.done(0)) // it failed: no text
	check(t, r.rest())
	if out.String() != "124" {
		t.Errorf("printed %s", &out)
	}
	broken := newResults(func([]byte) error { return io.ErrClosedPipe })
	broken.set(0, []byte("x"))
	if err := broken.done(0); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// TestGather checks what is taken from folders.
func TestGather(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b/2.MOV", "b/1.mkv", "a.mp4", ".hidden.mp4", ".git/x.mp4", "notes.txt", "b/cover.jpg"} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	check(t, os.Symlink("a.mp4", filepath.Join(dir, "link.mp4")))
	named := filepath.Join(dir, "notes.txt")
	all := gather([]string{named, dir, filepath.Join(dir, "none")})
	var got []string
	for _, file := range all.files {
		name, err := filepath.Rel(dir, file)
		check(t, err)
		got = append(got, name)
	}
	if text := strings.Join(got, " "); text != "notes.txt a.mp4 b/1.mkv b/2.MOV" {
		t.Errorf("takes %s", text)
	}
	if len(all.skipped) != 3 || len(all.failed) != 1 || !errors.Is(all.failed[0], os.ErrNotExist) {
		t.Errorf("skips %q, fails with %v", all.skipped, all.failed)
	}
}

// TestLabels checks the forms of --metadata, also with semicolons in values.
func TestLabels(t *testing.T) {
	for text, want := range map[string]labels{
		"a=b": {"a": "b"}, "a=b;c=d": {"a": "b", "c": "d"}, "a=": {"a": ""}, "a=b=c": {"a": "b=c"},
		"a=b;c": {"a": "b;c"}, `a=b\;c=d`: {"a": "b;c=d"}, "a=x; y; z": {"a": "x; y; z"},
		`{"a":"b;c=d","e":""}`: {"a": "b;c=d", "e": ""}, "a=b;": {"a": "b"}, "": {},
	} {
		got, err := parseLabels(text)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"a", "=b", "{", `{"a":1}`, ";a=b"} {
		if got, err := parseLabels(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	var c commands
	parser, err := kong.New(&c, helpTexts, kong.PostBuild(setOwnHelp), kong.Vars{"version": version})
	check(t, err)
	_, err = parser.Parse([]string{"videos", "set", "vid_1", "--metadata", "a=b;c=d", "--metadata", "e=f;g"})
	if want := (labels{"a": "b", "c": "d", "e": "f;g"}); err != nil || fmt.Sprint(c.Videos.Set.Metadata) != fmt.Sprint(want) {
		t.Errorf("%v, %v", c.Videos.Set.Metadata, err)
	}
}
