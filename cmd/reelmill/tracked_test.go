package main

import (
	"bytes"
	encoding "encoding/binary"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ruleBelongs reports whether a folder at the top belongs to the module: git tracks a file in it, or it holds
// Go files. Other folders are what a program left there, such as the data folder of a server; their files may
// vanish during the walk.
func ruleBelongs(fsys fs.FS, name string) bool {
	if slices.Contains(ruleTopFolders, name) {
		return true
	}
	index, err := fs.ReadFile(fsys, ".git/index")
	if err == nil && slices.ContainsFunc(ruleTracked(index), func(p string) bool { return ruleWithin(p, name) }) {
		return true
	}
	hasGo := false
	_ = fs.WalkDir(fsys, name, func(file string, _ fs.DirEntry, _ error) error { // a file that vanishes is no code
		if hasGo = strings.HasSuffix(file, ".go"); hasGo {
			return fs.SkipAll
		}
		return nil
	})
	return hasGo
}

// ruleTracked returns the paths in a git index of version 2 or 3; none for another version. Source:
// gitformat-index(5): after 12 bytes, each entry has 62 bytes, perhaps 2 more, the path, and 1 to 8 zeros.
func ruleTracked(index []byte) (paths []string) {
	if len(index) < 12 || !slices.Contains([]uint32{2, 3}, encoding.BigEndian.Uint32(index[4:])) {
		return nil
	}
	for at := 12; len(paths) < int(encoding.BigEndian.Uint32(index[8:])) && at+62 < len(index); {
		from := at + 62
		if index[at+60]&0x40 != 0 {
			from += 2
		}
		name, _, _ := bytes.Cut(index[from:], []byte{0})
		paths = append(paths, string(name))
		at += (from+len(name)-at)/8*8 + 8
	}
	return paths
}

// TestRulesReadTheIndex reads paths of all lengths modulo 8, the first with an entry of 64 bytes.
func TestRulesReadTheIndex(t *testing.T) {
	var want []string
	for i := range 9 {
		want = append(want, "film/"+strings.Repeat("x", i+1))
	}
	if got := ruleTracked([]byte(ruleIndex(t, want...))); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// ruleIndex returns the index of a git repository that tracks empty files with these paths. Git has only
// noted that the first is to be added, so its entry is of version 3.
func ruleIndex(t *testing.T, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "index.version=3"}, args...)...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	for i, p := range paths {
		file := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			git("add", "-N", p)
		} else {
			git("add", p)
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, ".git", "index"))
	if err != nil {
		t.Fatal(err)
	}
	return string(index)
}
