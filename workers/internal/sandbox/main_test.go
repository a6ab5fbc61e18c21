package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Main(Task{"echo", echo}, Task{"greedy", greedy}, Task{"endless", endless}, Task{"failing", failing}, Task{"escaping", escaping})
	goleak.VerifyTestMain(m)
}

// newCage returns a cage that is required.
func newCage(t testing.TB) *Cage {
	t.Helper()
	c, err := New(t.Context(), Required)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// prebuiltEnv names a built program for a test that runs as a user who cannot build one.
const prebuiltEnv = "REELMILL_SANDBOX_TEST_PROGRAM"

// build builds the program in a folder of testdata, statically.
func build(t testing.TB, name string) string {
	t.Helper()
	if program := os.Getenv(prebuiltEnv); program != "" {
		return program
	}
	program := filepath.Join(folder(t), name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, text)
	}
	return program
}

// write writes a file that everybody may read.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	return path
}

// folder returns a new folder into which every user may look.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "reelmill-sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // another user writes there
		t.Fatal(err)
	}
	return dir
}
