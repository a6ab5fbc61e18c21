package confine

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

// TestImports: a package with more imports is initialised late, after tables of hundreds of other packages.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if match, _ := filepath.Match("*_test.go", name); match {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if !slices.Contains([]string{"runtime", "unsafe"}, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func TestOrderRoundTrip(t *testing.T) {
	for _, o := range []Order{
		{Args: []string{}, Env: []string{}, Filter: []byte{}, Pid: Unset},
		{
			Path: "/usr/bin/ffmpeg", Args: []string{"ffmpeg", "", "-i", "a\nb\x00"}, Env: []string{"A=b"}, Status: 5, Order: 6,
			Ruleset: Unset, Network: 7, Keep: 3, Filter: []byte("12345678"), Pid: 4,
			Limits: []Limit{{1, 2, 1 << 63}}, Memory: []Limit{{3, 4, 5}, {6, 7, 8}}, Nice: 9, Check: true,
		},
	} {
		text := o.Encode()
		got, ok := decode(text)
		if !ok || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v, want %+v", got, o)
		}
		for n := range text {
			if short, ok := decode(text[:n]); ok {
				t.Errorf("%d of %d bytes: %+v", n, len(text), short)
			}
		}
		if _, ok := decode(append(text, 0)); ok {
			t.Error("a byte too many is accepted")
		}
	}
}

// TestNoOrder: a process with a variable that leads to no order ends, and does nothing else.
func TestNoOrder(t *testing.T) {
	for _, value := range []string{"", "x", "99", "1", "-1", "99999999999999999999"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = []string{Variable + "=" + value}
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != ExitFailed || len(out) > 0 {
			t.Errorf("%q: %v, %q", value, err, out)
		}
	}
}
