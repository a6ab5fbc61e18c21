package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestFewDescriptors checks that a server refuses to start with too few descriptors, and says how many it needs;
// and that the doctor says the same.
func TestFewDescriptors(t *testing.T) {
	limited := func(n int, command string) []string {
		return []string{"sh", "-c", fmt.Sprintf("ulimit -n %d; exec %s %s --min-free 1 --listen 127.0.0.1:0 --data %s",
			n, binary, command, t.TempDir())}
	}
	for n, words := range map[int][]string{
		32: {"needs 256 without any job"}, 64: {"needs 256 without any job"}, 256: {"to run ", "--slots"},
	} {
		words = append(words, fmt.Sprintf("may open %d files", n), "ulimit -n ", "LimitNOFILE=")
		stderr, code := attempt(t, limited(n, "serve")...)
		wantRefusal(t, fmt.Sprint(n, " descriptors"), stderr, code, words...)
	}
	for n, verdict := range map[int]string{64: "FAIL", 255: "FAIL", 512: "ok"} {
		// Jobs need descriptors, too, and their number follows from the cores.
		doctor := limited(n, "doctor --no-workers")[1:]
		out, _ := exec.CommandContext(pipelinetest.Context(t), "sh", doctor...).Output() // FAIL: code 1
		if want := fmt.Sprintf("%-5s descriptors     this process may open %d files", verdict, n); !strings.Contains(string(out), want) {
			t.Errorf("with %d descriptors:\n%s", n, out)
		}
	}
}

// TestManyConnectionsOfOneClient: a client that holds all connections that it can get, and sends nothing on
// them, keeps nobody else out.
func TestManyConnectionsOfOneClient(t *testing.T) {
	p := start(t, "sh", "-c", fmt.Sprintf("ulimit -n 1024; exec %s serve --no-workers --min-free 1 --listen 127.0.0.1:0 --data %s",
		binary, t.TempDir()))
	address := strings.TrimPrefix(p.url, "http://")
	gone := make(chan struct{}, 1000)
	var held []net.Conn
	for range 1000 {
		c, err := new(net.Dialer).DialContext(pipelinetest.Context(t), "tcp", address)
		if errors.Is(err, syscall.ECONNRESET) { // the server has closed it already
			gone <- struct{}{}
			continue
		}
		check(t, err)
		held = append(held, c)
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") // the server may have closed it
		go func() {
			_, _ = io.Copy(io.Discard, c)
			gone <- struct{}{}
		}()
	}
	other := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)},
	}).DialContext}}
	answer, err := other.Get(p.url + "/readyz")
	if err != nil {
		t.Fatalf("another client gets no answer: %v", err)
	}
	check(t, answer.Body.Close())
	pipelinetest.Until(t, "what is too much is closed", func() bool { return len(gone) >= 800 })
	if n := len(gone); n > 900 {
		t.Errorf("only %d of 1000 connections are left", 1000-n)
	}
	if log := p.stderr.String(); strings.Count(log, "too many connections") != 1 || !strings.Contains(log, "client=127.0.0.1") {
		t.Errorf("the log says:\n%s", log)
	}
	for _, c := range held {
		check(t, c.Close())
	}
	get(t, p.url+"/readyz") // the first client has its places back
}
