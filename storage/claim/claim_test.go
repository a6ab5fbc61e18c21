package claim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTake: a claim is taken once, names its holder, and is free again after its release.
func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("process 1 (a killed one) on a host whose name is long\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(path)
	if !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (claim.test) on ", os.Getpid())) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("a second claim: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestHolderOfAForeignFile: what others wrote into the file reaches no terminal.
func TestHolderOfAForeignFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, text := range []string{"", "process 1", "\x1b[31mred\n", strings.Repeat("x", 300) + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Holder(path); got != "another process" {
			t.Errorf("%q gives %q", text, got)
		}
	}
	if got := Holder(path + "gone"); got != "another process" {
		t.Errorf("no file gives %q", got)
	}
}
