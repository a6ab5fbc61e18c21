package workertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Timed returns the path of a program that runs ffmpeg. wantLimit fails the test unless ffmpeg ran with part
// in its arguments, and each such run had a limit of CPU time.
func Timed(t testing.TB) (program string, wantLimit func(part string)) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program, log := filepath.Join(dir, "ffmpeg"), filepath.Join(dir, "log")
	// Without a cage, a process gets its limits just after its start: look at them at the end.
	script := fmt.Sprintf("#!/bin/sh\n%s \"$@\"\ncode=$?\necho \"$(ulimit -S -t) $*\" >>%s\nexit $code\n",
		ffmpeg, log)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program, func(part string) {
		t.Helper()
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, part) {
				continue
			}
			found = true
			if strings.HasPrefix(line, "unlimited ") {
				t.Errorf("no limit of CPU time: %s", line)
			}
		}
		if !found {
			t.Errorf("no run of ffmpeg has %q in its arguments", part)
		}
	}
}
