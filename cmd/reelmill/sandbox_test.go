package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSandboxIsTold: a server says in its log, /readyz and metrics how well ffmpeg is caged.
func TestSandboxIsTold(t *testing.T) {
	for mode, want := range map[string][]string{"": {"full", "standard"}, "off": {"off"}} {
		t.Run("mode "+mode, func(t *testing.T) {
			var args []string
			if mode != "" {
				args = []string{"--sandbox", mode}
			}
			p := startServe(t, binary, t.TempDir(), args...)
			var ready struct{ Sandbox string }
			if err := json.Unmarshal(get(t, p.url+"/readyz"), &ready); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(want, " "), ready.Sandbox) || ready.Sandbox == "" {
				t.Errorf("/readyz says %q, want one of %q", ready.Sandbox, want)
			}
			if text := string(get(t, p.url+"/metrics")); !strings.Contains(text, `reelmill_sandbox{tier="`+ready.Sandbox+`"} 1`) {
				t.Error("the metrics do not say it")
			}
			if text := p.stderr.String(); !strings.Contains(text, "tier="+ready.Sandbox) ||
				strings.Contains(text, "level=WARN") != (mode == "off") {
				t.Errorf("the log:\n%s", text)
			}
		})
	}
}

// TestSandboxNeedsPrograms: an ffmpeg that cannot start in the cage keeps the server from starting, and the
// error says why and how to go on.
func TestSandboxNeedsPrograms(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexec "+real+" \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/bin:/usr/bin")
	for _, mode := range []string{"required", "best-effort"} {
		out, err := exec.CommandContext(t.Context(), binary, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0",
			"--sandbox", mode).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "perhaps a script") || !strings.Contains(string(out), "--sandbox off") {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
	startServe(t, binary, t.TempDir(), "--sandbox", "off")
}
