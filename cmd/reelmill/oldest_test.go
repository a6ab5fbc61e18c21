package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/workers/all"
)

// pretendFFmpeg puts a program into PATH that says it is ffmpeg of that version, and otherwise is the real
// one.
func pretendFFmpeg(t *testing.T, version string) {
	t.Helper()
	real, err := exec.LookPath("ffmpeg")
	check(t, err)
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n"+`[ "$1" != -version ] || { echo "ffmpeg version %s Copyright (c)"; exit; }`+
		"\nexec %s \"$@\"\n", version, real)
	writeProgram(t, filepath.Join(dir, "ffmpeg"), script)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("REELMILL_SANDBOX", "off") // a cage runs no scripts
}

func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	syscall.ForkLock.RLock() // a child with the open file would make its execution fail with ETXTBSY
	err := os.WriteFile(path, []byte(script), 0o755)
	syscall.ForkLock.RUnlock()
	check(t, err)
}

// TestFFmpegIsAskedOnce checks that a start of a server asks ffmpeg once what version it is.
func TestFFmpegIsAskedOnce(t *testing.T) {
	real, err := exec.LookPath("ffmpeg")
	check(t, err)
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	writeProgram(t, filepath.Join(dir, "ffmpeg"), fmt.Sprintf("#!/bin/sh\n"+`echo "$@" >>%s; exec %s "$@"`+"\n", asked, real))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	startServe(t, binary, t.TempDir(), "--min-free", "1", "--sandbox", "off") // a cage runs no scripts
	raw, err := os.ReadFile(asked)
	check(t, err)
	if n := strings.Count(string(raw), "-version"); n != 1 {
		t.Errorf("ffmpeg is asked %d times for its version:\n%s", n, raw)
	}
}

// TestOldFFmpeg checks that doctor and each start of run, serve and worker warn of an old ffmpeg and say what
// to do; that an unknown and a newer one is a remark; and that the others are silent.
func TestOldFFmpeg(t *testing.T) {
	remedy := "install ffmpeg and ffprobe " + all.OldestFFmpeg + " or later"
	for _, c := range []struct {
		version, verdict, level, says string
	}{
		{"4.4.6-0ubuntu1", "warn", "WARN", "older than " + all.OldestFFmpeg},
		{all.OldestFFmpeg + ".9", "ok", "", ""},
		{"N-109542-g1bf1b1c", "ok", "INFO", "its release is unknown"},
		{"99.1", "ok", "INFO", "tests have not run with a release later than"},
	} {
		t.Run(c.version, func(t *testing.T) {
			pretendFFmpeg(t, c.version)
			lines, code := examine(t, "--data", t.TempDir(), "--min-free", "1")
			wantLine(t, lines, "ffmpeg", c.verdict, "ffmpeg "+c.version, c.says)
			if old := c.verdict == "warn"; code != 0 || strings.Contains(lines["ffmpeg"], "to do: "+remedy) != old {
				t.Errorf("exit code %d, %q", code, lines["ffmpeg"])
			}

			file, log := filepath.Join(t.TempDir(), "a.mp4"), &bytes.Buffer{}
			check(t, os.WriteFile(file, []byte("no video"), 0o600))
			if err := run(t.Context(), []string{"run", file, "--out", t.TempDir()}, io.Discard, log); err == nil {
				t.Error("run accepted a text")
			}
			wantRemark(t, log.String(), c.level, c.version, c.says, remedy)
		})
	}
	pretendFFmpeg(t, "4.4.6")
	server := startServe(t, binary, t.TempDir(), "--min-free", "1")
	wantRemark(t, server.stderr.String(), "WARN", "4.4.6", "older than", remedy)
	server.stop(t)
}

// wantRemark checks the line of a log that is about the version of ffmpeg. An empty level: there is none.
func wantRemark(t *testing.T, log, level, version, says, remedy string) {
	t.Helper()
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "ffmpeg "+version) {
			found = append(found, line)
		}
	}
	if level == "" && len(found) == 0 {
		return
	}
	if len(found) != 1 || !strings.Contains(found[0], "level="+level) || !strings.Contains(found[0], says) ||
		strings.Contains(found[0], remedy) != (level == "WARN") {
		t.Errorf("level %q: %q in\n%s", level, found, log)
	}
}
