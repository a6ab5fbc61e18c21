package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThreadsFlag: from flag, environment and file, of every command that runs encoders.
func TestThreadsFlag(t *testing.T) {
	dir := t.TempDir()
	file, film := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "film.mp4")
	for name, body := range map[string]string{file: "threads: 3\n", film: "film"} {
		check(t, os.WriteFile(name, []byte(body), 0o600))
	}
	commands := map[string][]string{
		"serve": {"serve"}, "worker": {"worker"}, "run": {"run", film, "--out", filepath.Join(dir, "out")},
	}
	for name, args := range commands {
		got := func(more ...string) threads {
			c := parse(t, append(append([]string{}, args...), more...))
			return map[string]threads{"serve": c.Serve.Threads, "worker": c.Worker.Threads, "run": c.Run.Threads}[name]
		}
		if n := got(); n != 0 {
			t.Errorf("%s: default %d", name, n)
		}
		if n := got("--config", file); n != 3 {
			t.Errorf("%s: %d from the file", name, n)
		}
		t.Setenv("REELMILL_THREADS", "5")
		if n := got("--config", file); n != 5 {
			t.Errorf("%s: %d from the environment", name, n)
		}
		if n := got("--threads", "64"); n != 64 {
			t.Errorf("%s: %d from the flag", name, n)
		}
		check(t, os.Unsetenv("REELMILL_THREADS"))
		for _, bad := range []string{"65", "-1", "two", "1.5"} {
			var out, errOut bytes.Buffer
			err := run(context.Background(), append(append([]string{}, args...), "--threads="+bad), &out, &errOut)
			if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "1 to 64") {
				t.Errorf("%s with %s threads: %v", name, bad, err)
			}
		}
	}
}
