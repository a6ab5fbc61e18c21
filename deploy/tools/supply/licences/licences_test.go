package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/deploy/tools/supply/linked"
)

// goLicence is a real text: that of Go.
func goLicence(t *testing.T) string {
	t.Helper()
	module, err := standardLibrary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// lgpl is the header that the LGPL asks files to have.
const lgpl = `This library is free software; you can redistribute it and/or
modify it under the terms of the GNU Lesser General Public
License as published by the Free Software Foundation; either
version 2.1 of the License, or (at your option) any later version.

This library is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the GNU
Lesser General Public License for more details.

You should have received a copy of the GNU Lesser General Public
License along with this library; if not, write to the Free Software
Foundation, Inc., 51 Franklin Street, Fifth Floor, Boston, MA  02110-1301  USA
`

// TestJudge accepts permissive licences and exceptions that were read, and nothing else.
func TestJudge(t *testing.T) {
	bsd, own := goLicence(t), "You may use this on Tuesdays."
	key := "example.org/m LICENSE"
	for name, c := range map[string]struct {
		files      map[string]string
		exceptions map[string]exception
		wrong      string // part of the error; empty: none
	}{
		"permissive":           {files: map[string]string{"LICENSE": bsd}},
		"a notice beside it":   {files: map[string]string{"LICENSE.md": bsd, "NOTICE": "by us"}},
		"none":                 {files: map[string]string{"NOTICE": "by us", "README": bsd}, wrong: "no licence file"},
		"unknown":              {files: map[string]string{"LICENSE": own}, wrong: "of no known licence"},
		"more than it says":    {files: map[string]string{"LICENSE": bsd + strings.Repeat(own, 60)}, wrong: "no known licence"},
		"not allowed":          {files: map[string]string{"COPYING": lgpl}, wrong: "is LGPL-2.1-or-later, which is not in the list"},
		"two, one not allowed": {files: map[string]string{"LICENSE": bsd + lgpl}, wrong: "LGPL-2.1-or-later"},
		"one below":            {files: map[string]string{"LICENSE": bsd, "inner/deep/COPYING": lgpl}, wrong: "LGPL-2.1-or-later"},
		"one of unlinked code": {files: map[string]string{"LICENSE": bsd, "other/COPYING": lgpl}},
		"read": {
			files: map[string]string{"LICENSE": own}, exceptions: map[string]exception{key: {sumOf([]byte(own)), "Tuesdays"}},
		},
		"changed since": {
			files:      map[string]string{"LICENSE": own},
			exceptions: map[string]exception{key: {sumOf([]byte("older")), "Mondays"}}, wrong: "of no known licence",
		},
		"needless": {
			files:      map[string]string{"LICENSE": bsd},
			exceptions: map[string]exception{"example.org/gone LICENSE": {"x", "y"}}, wrong: "is not needed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"inner/deep/a.go": "", "other/b.go": ""} {
				write(t, filepath.Join(dir, name), text)
			}
			for name, text := range c.files {
				write(t, filepath.Join(dir, name), text)
			}
			m := linked.Module{
				Path: "example.org/m", Version: "v1.0.0", Dir: dir, Folders: []string{filepath.Join(dir, "inner", "deep")},
			}
			var out bytes.Buffer
			texts, err := judge([]linked.Module{m}, allowed, c.exceptions, &out)
			if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%v\n%s", err, &out)
			}
			for name, text := range c.files {
				linkedFile := name != "README" && !strings.HasPrefix(name, "other")
				if strings.Contains(string(texts), strings.TrimSpace(text)) != linkedFile && name != "COPYING" {
					t.Errorf("%s in the notices: %v", name, !linkedFile)
				}
			}
		})
	}
}

// TestProgram checks the real program, with its notices. Its modules are those of go.mod that it links.
func TestProgram(t *testing.T) {
	notices := filepath.Join(t.TempDir(), "notices")
	var out bytes.Buffer
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "../../../..")
	if err := run(t.Context(), []string{"-notices", notices, root, "./cmd/reelmill"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	text, err := os.ReadFile(notices)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"github.com/nats-io/nats-server/v2 v2.", "modernc.org/sqlite v1.", "SQLite Is Public Domain", "std go1.",
		"github.com/prometheus/client_golang", "NOTICE",
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the notices lack %q", part)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
