package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// The tests below run the program on odd machines: with a data folder that somebody else uses, with few file
// descriptors, with little memory.

// attempt runs a program that must end by itself, and returns what it wrote to stderr and its exit code.
func attempt(t *testing.T, argv ...string) (stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(pipelinetest.Context(t), argv[0], argv[1:]...)
	var text bytes.Buffer
	cmd.Stderr = &text
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return text.String(), cmd.ProcessState.ExitCode()
}

// wantRefusal checks that a program refused to start, with all of the words.
func wantRefusal(t *testing.T, what, stderr string, code int, words ...string) {
	t.Helper()
	if code != exitFailure {
		t.Errorf("%s: exit code %d\n%s", what, code, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%s does not say %q: %s", what, word, stderr)
		}
	}
}

// TestTwoProcessesOnOneFolder checks that the second process names the first one and what to do, whatever
// command it runs, and that a killed process leaves the folder free.
func TestTwoProcessesOnOneFolder(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data, "--min-free", "1")
	holder := fmt.Sprintf("process %d (reelmill serve) on ", p.cmd.Process.Pid)
	for what, args := range map[string][]string{
		"a second server": {"serve", "--data", data, "--listen", "127.0.0.1:0"},
		"rebuild":         {"rebuild", "--data", data},
		"streams apply":   {"streams", "apply", "--yes", "--data", data},
	} {
		stderr, code := attempt(t, append([]string{binary}, args...)...)
		wantRefusal(t, what, stderr, code, holder, "stop")
	}
	get(t, p.url+"/readyz")
	p.kill()
	startServe(t, binary, data, "--min-free", "1")
}

// TestTwoProcessesWithOneScratch checks that a process that would run jobs in the data folder of another one
// refuses to start, and leaves the scratch of the other one alone. A server that runs none may share it.
func TestTwoProcessesWithOneScratch(t *testing.T) {
	data, nats := t.TempDir(), bustest.Start(t, &server.Options{JetStream: true, StoreDir: t.TempDir()}).ClientURL()
	p := startServe(t, binary, data, "--min-free", "1", "--nats", nats)
	scratch := filepath.Join(data, "scratch", "of-an-attempt")
	check(t, os.Mkdir(scratch, 0o700))
	holder := fmt.Sprintf("process %d (reelmill serve) on ", p.cmd.Process.Pid)
	worker := []string{"env", "REELMILL_WEBHOOK_SECRET=whsec_" + strings.Repeat("A", 32), binary, "worker", "--nats", nats,
		"--store", filepath.Join(data, "objects"), "--data", data}
	stderr, code := attempt(t, worker...)
	wantRefusal(t, "a worker", stderr, code, holder, "--data")
	stderr, code = attempt(t, binary, "serve", "--nats", nats, "--data", data, "--listen", "127.0.0.1:0")
	wantRefusal(t, "a second server", stderr, code, holder, "--no-workers")
	if _, err := os.Stat(scratch); err != nil {
		t.Errorf("the scratch of the first process was emptied: %v", err)
	}
	other := startServe(t, binary, data, "--min-free", "1", "--nats", nats, "--no-workers")
	get(t, other.url+"/readyz")
}

// TestFewDescriptors checks that a server refuses to start with 32 or 64 descriptors, and says how many it needs.
func TestFewDescriptors(t *testing.T) {
	limited := func(n int, args string) []string {
		return []string{"sh", "-c", fmt.Sprintf("ulimit -n %d; exec %s %s", n, binary, args)}
	}
	serve := "serve --min-free 1 --listen 127.0.0.1:0 --data " + t.TempDir()
	need := 0
	for _, n := range []int{32, 64, 256} {
		stderr, code := attempt(t, limited(n, serve)...)
		wantRefusal(t, fmt.Sprint(n, " descriptors"), stderr, code, "needs ", "ulimit -n", "LimitNOFILE=", "--slots")
		_, rest, _ := strings.Cut(stderr, "needs ")
		if _, err := fmt.Sscan(rest, &need); err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
	}
}
