package main

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMutationsFit checks that each mutation fits the code, and has its tests and its row in RELIABILITY.md.
// `make mutate` shows that a test notices it.
func TestMutationsFit(t *testing.T) {
	table, err := os.ReadFile("../../pipeline/RELIABILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		source, err := os.ReadFile(filepath.Join("../..", m.file))
		if n := strings.Count(string(source), m.old); err != nil || n != 1 {
			t.Errorf("%s: %s has %d times what is to be replaced: %v", m.name, m.file, n, err)
		}
		if !hasTests(t, m.in) {
			t.Errorf("%s: %s has no test %s", m.name, m.in.pkg, m.in.run)
		}
		if !strings.Contains(string(table), "| "+m.name+" | "+strings.TrimPrefix(m.in.pkg, "./")) {
			t.Errorf("%s: it has no row", m.name)
		}
	}
}

func hasTests(t *testing.T, s suite) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", s.pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	is := regexp.MustCompile(`(?m)^func (` + cmp.Or(s.run, "Test") + `)`)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if is.Match(source) {
			return true
		}
	}
	return false
}
