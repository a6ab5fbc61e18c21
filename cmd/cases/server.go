package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline/client"
)

// configuration is the configuration file of every server: the pipelines of the cases.
const configuration = `pipelines:
  - name: everything
    steps:
      - worker: thumbnail
      - worker: transcode
        with: {mp4: [highest]}
      - worker: audio
      - {worker: watermark, when: requested}
  - name: encoded
    steps:
      - worker: thumbnail
      - worker: transcode
        with: {copy: never}
      - worker: audio
`

// server is a running `reelmill serve`.
type server struct {
	cmd  *exec.Cmd
	url  string
	data string
	done chan struct{} // closed when it ends
}

// serve starts a server on a free port, and returns when it is ready. Its log is beside its data.
func (r *runner) serve(ctx context.Context, data string, args ...string) (*server, error) {
	return r.serveIn(ctx, "", data, args...)
}

// serveIn is serve in a folder, which is its home and its place for temporary files, too.
func (r *runner) serveIn(ctx context.Context, home, data string, args ...string) (*server, error) {
	log, err := os.OpenFile(data+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args = append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--config", r.config}, args...)
	s := &server{cmd: exec.CommandContext(ctx, r.program, args...), data: data, done: make(chan struct{})}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stderr = log
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "REELMILL_") { // leave out settings of the user
			s.cmd.Env = append(s.cmd.Env, e)
		}
	}
	if home != "" {
		s.cmd.Dir, s.cmd.Env = home, append(s.cmd.Env, "HOME="+home, "TMPDIR="+home)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = s.cmd.Wait() // it ends on a signal
		close(s.done)
	}()
	var ready struct {
		Ready bool   `json:"ready"`
		URL   string `json:"url"`
	}
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil || !ready.Ready {
		s.kill()
		return nil, fmt.Errorf("start the server (its log: %s): %w", log.Name(), errors.Join(err,
			errors.New("not ready")))
	}
	s.url = ready.URL
	return s, nil
}

func (s *server) client() *client.Client { return client.New(s.url, nil) }

// stop asks the server to end, and kills it after a minute.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.kill()
	}
}

// kill kills the server without warning.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
}

// build builds reelmill, unless a binary is given.
func (r *runner) build(ctx context.Context) error {
	if r.program != "" {
		var err error
		r.program, err = filepath.Abs(r.program)
		return err
	}
	r.program = filepath.Join(r.dir, "reelmill")
	_, err := output(ctx, "go", "build", "-o", r.program, "./cmd/reelmill")
	return err
}
