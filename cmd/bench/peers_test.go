package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func newPeer(t *testing.T, seconds float64) peerJob {
	t.Helper()
	return peerJob{
		source: "in.mp4", seconds: seconds, rungs: renditionsOf(planOf(t, simMedia(seconds, 720))),
		dir: t.TempDir(),
	}
}

// TestPeersEncodeAlike compares the options of the peers' encoders with those of picture.H264. It reads its
// source, since this program cannot import it. If it fails, change the peers.
func TestPeersEncodeAlike(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../workers/internal/picture/encode.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]string{} // by option; empty if computed
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "H264" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if key, ok := literal(call.Args[0]); ok {
				theirs[key], _ = literal(call.Args[1])
			}
			return true
		})
	}
	p := newPeer(t, 60)
	args := p.encoder(p.rungs[0])
	if len(args) != 2*len(theirs) {
		t.Errorf("%d options, picture.H264 has %d: %v", len(args)/2, len(theirs), theirs)
	}
	for i := 0; i+1 < len(args); i += 2 {
		want, ok := theirs[strings.TrimPrefix(args[i], "-")]
		if !ok || want != "" && want != args[i+1] {
			t.Errorf("%s %s, picture.H264 has %q", args[i], args[i+1], want)
		}
	}
	maxrate := p.rungs[0].Maxrate / 1000
	for _, want := range []string{
		"veryfast", "23", fmt.Sprintf("%dk", maxrate), fmt.Sprintf("%dk", 2*maxrate), "24/1", "48",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %v", want, args)
		}
	}
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// TestPeersMakeAll checks that A is one process and B one for each output, and that both write the same
// files.
func TestPeersMakeAll(t *testing.T) {
	p := newPeer(t, 250)
	one, each := p.one(), p.each()
	if len(one) != 1 || len(each) != len(p.rungs)+3 {
		t.Fatalf("%d and %d processes for %d rungs", len(one), len(each), len(p.rungs))
	}
	written := func(commands [][]string) (files []string) {
		for _, args := range commands {
			for _, a := range args {
				if strings.HasPrefix(a, p.dir) {
					files = append(files, a)
				}
			}
		}
		slices.Sort(files)
		return files
	}
	if a, b := written(one), written(each); !slices.Equal(a, b) || len(a) != 2*len(p.rungs)+5 {
		t.Errorf("A writes %v, B writes %v", a, b)
	}
	if n := strings.Count(strings.Join(one[0], " "), " -i "); strings.HasPrefix(one[0][0], "-i") && n != 0 {
		t.Errorf("A reads %d times", n+1)
	}
	if p.interval() != 2.5 || newPeer(t, 20).interval() != 1 {
		t.Error("cells stand for other seconds than those of the thumbnail worker")
	}
	p.threads = 3
	if !strings.HasSuffix(strings.Join(p.encoder(p.rungs[0]), " "), "-threads 3") {
		t.Error("the encoder is not told its threads")
	}
}

// TestPeerCheck: a peer that lacks an output gets no time.
func TestPeerCheck(t *testing.T) {
	p := newPeer(t, 13)
	write := func(name string) {
		file := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, make([]byte, 10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folders := append([]string{"audio"}, names(p.rungs)...)
	for _, dir := range folders {
		for _, file := range []string{"index.m3u8", "seg_00000.m4s", "seg_00001.m4s"} {
			write(filepath.Join(dir, file))
		}
	}
	for _, file := range []string{"audio.m4a", "poster.jpg", "cell-00001.jpg"} {
		write(file)
	}
	if _, err := p.check(); err == nil {
		t.Error("two segments are 13 s")
	}
	for _, dir := range folders {
		write(filepath.Join(dir, "seg_00002.m4s"))
	}
	if n, err := p.check(); err != nil || n != int64(40*len(p.rungs)) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := os.Remove(filepath.Join(p.dir, "poster.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.check(); err == nil {
		t.Error("the poster is not missed")
	}
}

func TestIsChunk(t *testing.T) {
	for name, want := range map[string]bool{
		"transcode-0003-217": true, "transcode-first-9": true, "transcode-0000": true, "packager-4": false,
		"transcode-copy-12": false, "transcode-mp4-720p-3": false, "thumbnail-5": false, "audio-0-0001-7": false,
		"sources": false,
	} {
		if got := isChunk(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if got := jobOf("audio-0-file-12"); got != "audio-0-file" {
		t.Errorf("a folder of %s", got)
	}
}
