package main

import (
	"os"
	"slices"
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
	settled := 0
	for _, c := range hostileCases() {
		if c.hostile.settled() {
			settled++
		}
	}
	if settled < 60 {
		t.Errorf("%d hostile files", settled)
	}
}

// TestUnsettledExist checks that the ids of unsettled files are those of files.
func TestUnsettledExist(t *testing.T) {
	all := hostileCases()
	for _, id := range unsettled() {
		if !slices.ContainsFunc(all, func(c testCase) bool { return c.id == "x_"+id }) {
			t.Errorf("no file x_%s", id)
		}
	}
}
