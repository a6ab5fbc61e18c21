package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// stopWithin is what the program promises.
const stopWithin = 10 * time.Second

// dialServe connects to a server, and sends text.
func dialServe(t *testing.T, p *process, format string, args ...any) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	check(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = fmt.Fprintf(c, format, args...)
	check(t, err)
	return c
}

// cutOff is when the program ends though something has not stopped.
const cutOff = "8 * time.Second"

// patient builds the program with ten times the time until it cuts off what runs. A slow machine may need that
// to stop in order.
func patient(t *testing.T) string {
	t.Helper()
	const before = "const stopTime = "
	dir := t.TempDir()
	source, err := filepath.Abs("main.go")
	check(t, err)
	code := string(readFile(t, source))
	if strings.Count(code, before+cutOff) != 1 {
		t.Fatalf("%s has no %s%s", source, before, cutOff)
	}
	changed, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	check(t, os.WriteFile(changed, []byte(strings.Replace(code, before, before+"10 * ", 1)), 0o600))
	raw, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	check(t, err)
	check(t, os.WriteFile(overlay, raw, 0o600))
	check(t, build(filepath.Join(dir, "reelmill"), overlay))
	return filepath.Join(dir, "reelmill")
}

// TestStopsWhateverRuns asks a server to end while encoders run, uploads are slow, an event stream is open,
// and a player reads nothing. It stops by itself, is not cut off, and leaves nothing in its scratch folder.
func TestStopsWhateverRuns(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, patient(t), data, "--threads", "1")
	api := p.client()
	small := clip(t, "small.mp4", 10, "640x360", 25)
	done, err := api.Upload(t.Context(), client.Upload{Path: small})
	check(t, err)
	awaitEnd(t, api, done.ID)
	long := clip(t, "long.mp4", 60, "1280x720", 25)
	busy, err := api.Upload(t.Context(), client.Upload{Path: long})
	check(t, err)
	pipelinetest.Until(t, "an encoder runs", func() bool {
		jobs, err := api.Jobs(t.Context(), busy.ID)
		check(t, err)
		for _, j := range jobs {
			if j.Worker == "transcode" && j.Status == "processing" {
				return true
			}
		}
		return false
	})
	for range 10 {
		dialServe(t, p, "POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\nContent-Type: "+
			"multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nx")
	}
	for range 10 { // half a header, and an idle connection
		dialServe(t, p, "GET /v1/videos HTTP/1.1\r\nHost: loc")
		dialServe(t, p, "")
	}
	stream := dialServe(t, p, "GET /v1/videos/%s/events HTTP/1.1\r\nHost: localhost\r\n\r\n", busy.ID)
	answer, err := http.ReadResponse(bufio.NewReader(stream), nil)
	check(t, err)
	defer answer.Body.Close()
	for range 20 {
		dialServe(t, p, "GET /v1/videos/%s?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n", busy.ID)
		dialServe(t, p, "%s", strings.Repeat("GET /play/"+done.ID+"/master.m3u8 HTTP/1.1\r\nHost: localhost\r\n\r\n", 500))
	}
	began := time.Now()
	p.stop(t)
	t.Logf("it ended within %s", time.Since(began))
	pipelinetest.Promptly(t, "the end of the process", began, stopWithin)
	if text := p.stderr.String(); strings.Contains(text, "did not stop within") {
		t.Errorf("it was cut off: %s", text)
	}
	emptyScratch(t, data)
}

// startHanging starts a server whose configuration is a pipe that nobody writes, and returns when it reads
// it: an example of a part that hangs, like a file on a dead network disk.
func startHanging(t *testing.T) *process {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "config.yaml")
	check(t, syscall.Mkfifo(pipe, 0o600))
	p := &process{
		cmd: exec.Command(binary, "serve", "--config", pipe), stderr: &pipelinetest.Buffer{}, exited: make(chan error, 1),
	}
	p.cmd.Stderr, p.cmd.SysProcAttr = p.stderr, dieWithParent()
	check(t, p.cmd.Start())
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(p.kill)
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
	check(t, err)
	t.Cleanup(func() { writer.Close() })
	return p
}

// TestEndsThoughAPartHangs checks that a part that hangs cannot keep the process.
func TestEndsThoughAPartHangs(t *testing.T) {
	p := startHanging(t)
	began := time.Now()
	p.stop(t)
	pipelinetest.Promptly(t, "the end of the process", began, stopWithin)
	if code := p.cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if text := p.stderr.String(); !strings.Contains(text, "did not stop within 8s") {
		t.Errorf("it said %q", text)
	}
}

// TestSecondSignalEndsAtOnce checks that a second signal ends a process that takes its time.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startHanging(t)
		check(t, p.cmd.Process.Signal(signal))
		pipelinetest.Until(t, "the end of the process", func() bool {
			select {
			case <-p.exited:
				p.exited = nil
				return true
			default:
				_ = p.cmd.Process.Signal(signal) // it may have ended by now
				return false
			}
		})
		if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != signal {
			t.Errorf("after two of %s: %s", signal, p.cmd.ProcessState)
		}
	}
}
