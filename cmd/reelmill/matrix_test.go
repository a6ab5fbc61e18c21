package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMatrixIsTested checks that the tests in the crash matrix of RELIABILITY.md exist.
func TestMatrixIsTested(t *testing.T) {
	root, err := ruleModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "pipeline", "RELIABILITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, matrix, found := strings.Cut(string(doc), "## The crash matrix")
	if !found {
		t.Fatal("RELIABILITY.md has no crash matrix")
	}
	matrix, _, _ = strings.Cut(matrix, "\n## ")
	tests := testSources(t, root)
	rows := 0
	for line := range strings.Lines(matrix) {
		names := testName.FindAllStringSubmatch(line, -1)
		if strings.HasPrefix(line, "| ") && !strings.HasSuffix(line, "| tests |\n") {
			if rows++; len(names) == 0 {
				t.Errorf("a row without a test: %s", line)
			}
		}
		for _, n := range names {
			if !strings.Contains(tests, "func "+n[1]+"(") {
				t.Errorf("there is no test %s", n[1])
			}
			if part := strings.TrimPrefix(n[2], "/"); !strings.Contains(tests, `"`+part+`"`) {
				t.Errorf("no test has a part %q", part)
			}
		}
	}
	if rows < 16 {
		t.Errorf("%d rows, the design has 16", rows)
	}
}

// testName is a test in backticks, perhaps with a part.
var testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)(/[^`]+)?`")

// testSources returns the text of every test file, with an empty string literal for tests without parts.
func testSources(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	all.WriteString(`""`)
	err := filepath.WalkDir(root, func(name string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(name)
		all.Write(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
