package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/all"
	"github.com/reelmill/reelmill/workers/workertest"
)

// The tests below are about processes, so they run the program as one. TestMain builds it once.

var binary string

func TestMain(m *testing.M) {
	all.Tasks()
	dir, err := os.MkdirTemp("", "reelmill-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "reelmill")
	os.Setenv("REELMILL_STATE", filepath.Join(dir, "state")) // not that of the user
	if err := build(binary, ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build compiles the program into path, with an overlay file of `go build` unless that is empty.
func build(path, overlay string) error {
	args := []string{"build", "-o", path}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// process is a running `reelmill serve`.
type process struct {
	cmd    *exec.Cmd
	url    string
	stdout *pipelinetest.Buffer
	stderr *pipelinetest.Buffer
	exited chan error
}

// startServe starts the program and waits for its ready line. The test ends it. Unless args say otherwise, it
// takes uploads however full the disk is.
func startServe(t testing.TB, program, data string, args ...string) *process {
	t.Helper()
	own := []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}
	if !slices.Contains(args, "--min-free") {
		own = append(own, "--min-free", "1")
	}
	return start(t, program, append(own, args...)...)
}

// start starts a server or a worker, and waits for its ready line. The test ends it.
func start(t testing.TB, program string, args ...string) *process {
	t.Helper()
	p, ready := launch(t, program, args...)
	if !ready {
		t.Fatalf("it is not ready: %q\n%s", p.stdout, p.stderr)
	}
	return p
}

// launch starts a server or a worker, and reports whether it became ready. The test ends it.
func launch(t testing.TB, program string, args ...string) (p *process, ready bool) {
	t.Helper()
	p = &process{
		cmd: exec.Command(program, args...), stdout: &pipelinetest.Buffer{}, stderr: &pipelinetest.Buffer{},
		exited: make(chan error, 1),
	}
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = dieWithParent()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started, read := make(chan error, 1), make(chan struct{})
	go func() {
		// The system kills the process with the thread that started it, and building a cage in this process ends
		// threads.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			<-read // until the process has ended, since Wait closes the pipe
			p.exited <- p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(io.TeeReader(stdout, p.stdout))
	line, _ := out.ReadBytes('\n') // the end of the process is seen below
	go func() {
		_, _ = io.Copy(io.Discard, out)
		close(read)
	}()
	t.Cleanup(func() { p.kill() })
	var said readyLine
	if err := json.Unmarshal(line, &said); err != nil {
		return p, false
	}
	p.url = said.URL
	return p, said.Ready
}

// kill kills the process without warning, and waits until it is gone.
func (p *process) kill() {
	if p.exited == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.exited
	p.exited = nil
}

// stop asks the process to end, and waits until it has.
func (p *process) stop(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := pipelinetest.Receive(t, "the end of the process", p.exited)
	if err != nil && !strings.Contains(err.Error(), "130") {
		t.Fatalf("stop: %v\n%s", err, p.stderr)
	}
	p.exited = nil
}

func (p *process) client() *client.Client { return client.New(p.url, http.DefaultClient) }

// clip returns a new file with a short video with pictures and audio. Each is encoded once, since many tests
// want the same.
func clip(t testing.TB, name string, seconds int, size string, rate int) string {
	t.Helper()
	made := filepath.Join(filepath.Dir(binary), fmt.Sprintf("%ds-%s-%dfps%s", seconds, size, rate, filepath.Ext(name)))
	if _, err := os.Stat(made); errors.Is(err, fs.ErrNotExist) {
		check(t, os.Rename(encode(t, name, seconds, size, rate), made)) // other tests see all of it or nothing
	}
	raw, err := os.ReadFile(made)
	check(t, err)
	path := filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(path, raw, 0o600))
	return path
}

func encode(t testing.TB, name string, seconds int, size string, rate int) string {
	t.Helper()
	return workertest.Clip(t, name, "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d:duration=%d", size, rate, seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=48000:duration=%d", seconds),
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest")
}

// get fetches a URL and expects 200.
func get(t testing.TB, url string) []byte {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v\n%s", url, answer.Status, err, body)
	}
	return body
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// awaitEnd waits until the video has ended.
func awaitEnd(t testing.TB, c *client.Client, id string) pipeline.VideoView {
	t.Helper()
	view, err := c.Wait(pipelinetest.Context(t), id, "ready")
	if err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
	return view
}

// events returns all events of a finished video, in order.
func events(t testing.TB, c *client.Client, id string) []pipeline.Event {
	t.Helper()
	var all []pipeline.Event
	if err := c.Events(pipelinetest.Context(t), id, 0, func(e client.Event) error {
		if e.Log != nil {
			all = append(all, *e.Log)
		}
		return nil
	}); err != nil {
		t.Fatalf("events of %s: %v", id, err)
	}
	return all
}

// emptyScratch checks that attempts left no files behind.
func emptyScratch(t testing.TB, data string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(data, "scratch"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "sources" { // kept for a while, for further jobs of the video (workers/scratch.go)
			t.Errorf("left in scratch: %s", e.Name())
		}
	}
}
