package ffmpeg

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Limits are resource limits of one process. A zero field keeps the inherited limit. Only Linux has them.
type Limits struct {
	CPU      time.Duration // CPU time, rounded up to seconds; then the kernel kills it (KindTimeout)
	FileSize int64         // bytes of any one file written
	Memory   int64         // bytes of address space
}

// launch is one process to start. Only this file starts processes.
type launch struct {
	path    string
	args    []string
	dir     string
	env     []string
	stdin   *os.File // closed once the child has it; nil: /dev/null
	stdout  io.Writer
	stderr  io.Writer
	extra   *os.File // becomes fd 3; closed once the child has it
	limits  Limits
	nice    int
	started func(pid int)
}

type result struct {
	started bool
	err     error // nil for exit status 0
}

// killGrace is how long pipes may stay open after the group was killed, before we close them.
const killGrace = 5 * time.Second

// execute runs a process to its end and waits for it. When ctx ends, the whole process group gets SIGKILL.
//
// The parent-death signal belongs to the OS thread that forked, so a goroutine keeps that thread locked
// until Wait returns. Then it unlocks the thread and must not end it: other processes may have been forked
// from it too.
func execute(ctx context.Context, l launch) result {
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- l.run(ctx)
	}()
	return <-done
}

func (l launch) run(ctx context.Context) result {
	cmd := exec.CommandContext(ctx, l.path, l.args...)
	cmd.Dir = l.dir
	cmd.Env = append([]string{}, l.env...) // never nil: nil would pass on our own environment
	if l.stdin != nil {
		cmd.Stdin = l.stdin
		defer l.stdin.Close()
	}
	cmd.Stdout, cmd.Stderr = l.stdout, l.stderr
	cmd.SysProcAttr = processAttributes()
	cmd.WaitDelay = killGrace
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
			return err // already waited for: the group id may belong to others by now
		}
		return killGroup(cmd.Process.Pid)
	}
	if l.extra != nil {
		cmd.ExtraFiles = []*os.File{l.extra}
		defer l.extra.Close()
	}
	if err := cmd.Start(); err != nil {
		return result{err: err}
	}
	if l.extra != nil {
		_ = l.extra.Close() // the child has its copy; a second Close above only reports ErrClosed
	}
	if l.stdin != nil {
		_ = l.stdin.Close() // so that the pipe's writer notices the child's end
	}
	limitErr := setLimits(cmd.Process.Pid, l.limits)
	if limitErr != nil && !errors.Is(limitErr, syscall.ESRCH) {
		_ = killGroup(cmd.Process.Pid)
		_ = cmd.Wait() // its status is that of our kill
		return result{started: false, err: limitErr}
	}
	if l.nice > 0 {
		_ = setNice(cmd.Process.Pid, l.nice) // best effort: the process works without it
	}
	if l.started != nil {
		l.started(cmd.Process.Pid)
	}
	return result{started: true, err: cmd.Wait()}
}

// killGroup kills a process and everything it started. Call it only before the leader was waited for: until
// then no other process can have its id.
func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
