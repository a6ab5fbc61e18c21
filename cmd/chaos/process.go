package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline/pause"
)

// environment is REELMILL_CHAOS of one generation of a process. cmd/reelmill/internal/node/faults_chaos.go
// reads it.
type environment struct {
	Seed       uint64     `json:"seed"`
	Kill       *killPoint `json:"kill,omitempty"`
	Covered    string     `json:"covered,omitempty"`
	StoreFail  float64    `json:"store_fail,omitempty"`
	LogFail    float64    `json:"log_fail,omitempty"`
	Double     float64    `json:"double,omitempty"`
	Reorder    float64    `json:"reorder,omitempty"`
	DelayMS    int        `json:"delay_ms,omitempty"`
	DropTask   float64    `json:"drop_task,omitempty"`
	RetryMaxMS int        `json:"retry_max_ms,omitempty"`
}

type killPoint struct {
	Points  []string `json:"points"`
	At      int      `json:"at"`
	AfterMS int      `json:"after_ms"`
}

// unit keeps a process running: when it ends, the unit starts it again, as a service manager does.
type unit struct {
	h     *harness
	name  string
	argv  []string
	ready readyFunc
	// address is where it listens; empty: nowhere.
	address string

	mu         sync.Mutex
	next       *environment // of the next generation only
	process    *os.Process
	generation int
	asked      bool          // we signaled it to end
	up         chan struct{} // closed when this generation is ready
}

// readyFunc waits until a process can be used.
type readyFunc = func(ctx context.Context, stdout *bufio.Reader) error

func (h *harness) newUnit(name string, ready readyFunc, argv ...string) *unit {
	return &unit{h: h, name: name, argv: argv, ready: ready, up: make(chan struct{})}
}

// run runs generations until ctx ends, then kills the last one.
func (u *unit) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := u.runOnce(ctx); err != nil {
			u.h.sayf("%s: %v", u.name, err)
		}
		pause.For(ctx, 200*time.Millisecond)
	}
}

func (u *unit) runOnce(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(u.h.dir, "logs", u.name+".log"),
		os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, u.argv[0], u.argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	u.mu.Lock()
	env := u.h.clean()
	if u.next != nil {
		env, u.next = *u.next, nil
	}
	doc, err := json.Marshal(env)
	if err != nil {
		u.mu.Unlock()
		return err
	}
	cmd.Env = append(os.Environ(), "REELMILL_CHAOS="+string(doc), "REELMILL_WEBHOOK_SECRET="+webhookSecret,
		"REELMILL_WEBHOOK_URL="+u.h.receiver.url)
	fmt.Fprintf(log, "=== %s %s generation %d %s\n", time.Now().Format(time.RFC3339Nano), u.name,
		u.generation+1, doc)
	if err := cmd.Start(); err != nil {
		u.mu.Unlock()
		return err
	}
	u.generation++
	u.process, u.asked = cmd.Process, false
	up := u.up
	u.mu.Unlock()

	go u.await(ctx, stdout, up)
	err = cmd.Wait()
	u.ended(ctx, err)
	return nil
}

// await closes up when the process is ready, and reads the rest of its output.
func (u *unit) await(ctx context.Context, stdout io.Reader, up chan struct{}) {
	r := bufio.NewReader(stdout)
	if u.ready(ctx, r) == nil {
		u.mu.Lock()
		if up == u.up {
			close(up)
		}
		u.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r)
}

// ended records how a generation ended. It records an unasked exit as a fault that we did not make.
func (u *unit) ended(ctx context.Context, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.process = nil
	select {
	case <-u.up:
		u.up = make(chan struct{})
	default:
	}
	var exit *exec.ExitError
	if ctx.Err() != nil || u.asked || err == nil {
		return
	}
	if status, ok := sysStatus(err, &exit); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return // at its kill point
	}
	u.h.count("a process ended by itself (not asked to)", 1)
	u.h.sayf("%s ended by itself: %v", u.name, err)
}

// signal sends a signal to the running generation, if there is one.
func (u *unit) signal(s syscall.Signal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.process == nil {
		return
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		u.asked = true
	}
	_ = u.process.Signal(s) // it may have ended just now
}

// mayEnd says that the running generation may end, as if we had signaled it.
func (u *unit) mayEnd() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = true
}

// replace ends the running generation with a signal, and waits up to half a minute until the next one is
// ready. env is the environment of the next one; nil means without faults.
func (u *unit) replace(ctx context.Context, s syscall.Signal, env *environment) {
	u.mu.Lock()
	u.next = env
	before := u.generation
	u.mu.Unlock()
	u.signal(s)
	u.awaitUp(ctx, before)
}

// arm sets the environment of the next generation.
func (u *unit) arm(env *environment) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next = env
}

// awaitUp waits up to half a minute until a generation after the given one is ready.
func (u *unit) awaitUp(ctx context.Context, before int) {
	deadline := time.Now().Add(30 * time.Second)
	for killed := false; ctx.Err() == nil && time.Now().Before(deadline); pause.For(ctx, 50*time.Millisecond) {
		u.mu.Lock()
		generation, up := u.generation, u.up
		u.mu.Unlock()
		if generation == before && !killed && time.Until(deadline) < 10*time.Second {
			u.signal(syscall.SIGKILL) // it did not stop
			u.h.count("a process that did not stop within 20 s", 1)
			u.h.sayf("%s does not stop", u.name)
			killed = true
		}
		select {
		case <-up:
			if generation > before {
				return
			}
		default:
		}
	}
}

// pid returns the id of the running process; 0 when none runs.
func (u *unit) pid() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.process == nil {
		return 0
	}
	return u.process.Pid
}

// now returns the number of the running generation.
func (u *unit) now() int {
	generation, _ := u.current()
	return generation
}

// current returns the number of the running generation, and whether it runs.
func (u *unit) current() (generation int, runs bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.generation, u.process != nil
}

// readyLine waits for the ready line of a process of ReelMill.
func readyLine(_ context.Context, stdout *bufio.Reader) error {
	line, err := stdout.ReadBytes('\n')
	if err != nil {
		return err
	}
	var l struct {
		Ready bool `json:"ready"`
	}
	if err := json.Unmarshal(line, &l); err != nil || !l.Ready {
		return fmt.Errorf("ready line %q: %w", line, err)
	}
	return nil
}

// answering waits until a process listens at address.
func answering(address string) readyFunc {
	return func(ctx context.Context, _ *bufio.Reader) error {
		var d net.Dialer
		for ctx.Err() == nil {
			conn, err := d.DialContext(ctx, "tcp", address)
			if err == nil {
				return conn.Close()
			}
			pause.For(ctx, 50*time.Millisecond)
		}
		return ctx.Err()
	}
}
