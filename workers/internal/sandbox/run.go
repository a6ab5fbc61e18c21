package sandbox

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

// Spec is one program to start, and all that it may use.
type Spec struct {
	Program string   // path of the program; not needed for a Task
	Task    string   // name of a task of this program to run instead; see Main
	Args    []string // after the program's name
	Env     []string // its whole environment; default: empty
	Dir     string   // working directory; default: ours
	Read    []string // files that it may read, and folders with all below them
	Write   []string // folders in which it may read, write, make and remove files

	Stdin          *os.File // closed once the program has it; default: /dev/null
	Stdout, Stderr io.Writer
	Extra          *os.File // becomes descriptor 3; closed once the program has it

	Limits  Limits
	Nice    int           // added to the niceness
	Started func(pid int) // called once the program runs
}

// Limits are resource limits of one process. A zero field is the default. A limit of this process that is
// lower holds instead. Only Linux on amd64 and arm64 has them.
type Limits struct {
	// CPU is CPU time, rounded up to seconds; then it gets SIGXCPU, and SIGKILL a second later. Default: none.
	CPU      time.Duration
	FileSize int64 // bytes of any one file written. Default: none
	Memory   int64 // bytes of memory that it may write to. Default in a cage: 8 GiB; without: none
	Files    int   // open descriptors. Default in a cage: 256; without: ours
}

// Defaults of a cage.
const (
	defaultMemory = 8 << 30
	defaultFiles  = 256
	maxThreads    = 1024 // where the kernel can count them
)

// StartError is the error of a program that never ran: it was not found, or its cage could not be closed.
type StartError struct{ Err error }

// Error says why.
func (e *StartError) Error() string { return "start: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.Err }

// killGrace is how long pipes may stay open after the group was killed, before we close them.
const killGrace = 5 * time.Second

// Run runs a program to its end and waits for it. When ctx ends, the whole process group gets SIGKILL. The
// error is a *StartError if it never ran, else that of exec.Cmd.Wait; nil for exit status 0.
//
// The parent-death signal belongs to the OS thread that forked, so a goroutine keeps that thread locked
// until Wait returns. Then it unlocks the thread and must not end it: other processes may have been forked
// from it too.
func (c *Cage) Run(ctx context.Context, s Spec) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- c.run(ctx, s)
	}()
	return <-done
}

func (c *Cage) run(ctx context.Context, s Spec) error {
	for _, f := range []*os.File{s.Stdin, s.Extra} {
		if f != nil {
			defer f.Close() // usually closed already; a second Close only reports ErrClosed
		}
	}
	cmd := exec.CommandContext(ctx, s.Program, s.Args...)
	cmd.Dir = s.Dir
	cmd.Env = append([]string{}, s.Env...) // never nil: nil would pass on our own environment
	if s.Stdin != nil {
		cmd.Stdin = s.Stdin
	}
	cmd.Stdout, cmd.Stderr = s.Stdout, s.Stderr
	cmd.SysProcAttr = processAttributes()
	cmd.WaitDelay = killGrace
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
			return err // already waited for: the group id may belong to others by now
		}
		return killGroup(cmd.Process.Pid)
	}
	if s.Extra != nil {
		cmd.ExtraFiles = []*os.File{s.Extra}
	}
	if s.Task != "" {
		s.Program, cmd.Path = self, self
		cmd.Args = append([]string{taskPrefix + s.Task}, s.Args...)
	}
	start := startFree
	if c != nil {
		start = c.start
	}
	if err := start(ctx, cmd, s); err != nil {
		return &StartError{err}
	}
	if s.Started != nil {
		s.Started(cmd.Process.Pid)
	}
	return cmd.Wait()
}

// startFree starts a program without a cage.
func startFree(_ context.Context, cmd *exec.Cmd, s Spec) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.hand()
	if err := setLimits(cmd.Process.Pid, s.Limits); err != nil && !errors.Is(err, syscall.ESRCH) {
		_ = killGroup(cmd.Process.Pid)
		_ = cmd.Wait() // its status is that of our kill
		return err
	}
	if s.Nice > 0 {
		_ = setNice(cmd.Process.Pid, s.Nice) // best effort: the program works without it
	}
	return nil
}

// hand closes our copies of what the program has now, so that the other ends notice its end.
func (s Spec) hand() {
	for _, f := range []*os.File{s.Stdin, s.Extra} {
		if f != nil {
			_ = f.Close()
		}
	}
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
