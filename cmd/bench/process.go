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
)

// webhookSecret is shared by servers and workers; no webhook is sent.
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// process is a running `reelmill serve` or `reelmill worker`.
type process struct {
	cmd  *exec.Cmd
	pid  int
	url  string // of a server
	data string
	done chan struct{} // closed when it ends
}

// start starts reelmill with its own data folder, and returns when it is ready. Its log is in the folder of
// the run.
func (b *bench) start(ctx context.Context, args ...string) (*process, error) {
	return b.startProgram(ctx, b.program, args...)
}

// startProgram is start for a program that takes --data and prints a ready line as reelmill does.
func (b *bench) startProgram(ctx context.Context, program string, args ...string) (*process, error) {
	b.started++
	name := fmt.Sprintf("%03d-%s", b.started, args[0])
	p := &process{data: filepath.Join(b.dir, name), done: make(chan struct{})}
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, program, append(args, "--data", p.data)...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = log
	p.cmd.Env = append(plainEnvironment(os.Environ()), "REELMILL_WEBHOOK_SECRET="+webhookSecret)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	b.running = append(b.running, p)
	p.url, err = readyURL(stdout)
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait() // it ends on a signal, so its status does not matter
		close(p.done)
	}()
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("start %v (%s): %w", args, log.Name(), err)
	}
	return p, nil
}

// plainEnvironment returns the environment without settings of ReelMill, which would change the results.
func plainEnvironment(env []string) []string {
	var plain []string
	for _, e := range env {
		if !strings.HasPrefix(e, "REELMILL_") {
			plain = append(plain, e)
		}
	}
	return plain
}

// readyURL waits for the ready line of a process, and returns its URL; a worker has none.
func readyURL(stdout io.Reader) (string, error) {
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return "", fmt.Errorf("it ended before it was ready: %w", err)
	}
	var ready struct {
		Ready bool   `json:"ready"`
		URL   string `json:"url"`
	}
	if err := json.Unmarshal(line, &ready); err != nil || !ready.Ready {
		return "", fmt.Errorf("ready line %q: %w", line, errors.Join(err, errors.New("not ready")))
	}
	return ready.URL, nil
}

// kill kills the process without warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the process to end, kills it after ten seconds, and removes its data.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
	os.RemoveAll(p.data)
}

// serve starts a server on a free port.
func (b *bench) serve(ctx context.Context, args ...string) (*process, error) {
	settings := filepath.Join(b.dir, "config.yaml")
	if err := os.WriteFile(settings, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	return b.start(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--config", settings}, args...)...)
}

// build builds reelmill, unless a binary is given.
func (b *bench) build(ctx context.Context) error {
	if b.program != "" {
		return nil
	}
	b.say("build reelmill")
	b.program = filepath.Join(b.dir, "reelmill")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.program, "./cmd/reelmill")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build reelmill: %w\n%s", err, out)
	}
	return nil
}
