package main

import (
	"os"
	"strings"
	"testing"
)

// TestHostileTable checks that SECURITY.md has the table of the hostile files as it is printed, and that there
// are at least 60.
func TestHostileTable(t *testing.T) {
	doc, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), hostileTable()) {
		t.Error("SECURITY.md lacks the table of `go run ./cmd/cases -table`")
	}
	if n := len(hostileCases()); n < 60 {
		t.Errorf("%d hostile files", n)
	}
}
