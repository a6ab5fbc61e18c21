//go:build amd64 || arm64

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/workers/internal/sandbox/confine"
)

// New finds out what cages this machine can build, by building some and trying what they forbid. For Off it
// returns nil, which is a Cage. Its error is an *Unavailable if Mode is Required and cannot be had.
func New(ctx context.Context, m Mode) (*Cage, error) {
	if m == Off {
		return nil, nil
	}
	if m != Required && m != BestEffort {
		return nil, fmt.Errorf("sandbox %q: it is required, best-effort or off", m)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := &Cage{pid: confine.Unset, programs: map[string]needs{}}
	c.tryLandlock(ctx)
	c.trySeccomp(ctx)
	if m == Required && len(c.missing) > 0 && ctx.Err() == nil {
		return nil, &Unavailable{c.missing}
	}
	c.tryNetwork(ctx)
	if err := ctx.Err(); err != nil { // then it is not known what is missing
		return nil, errors.Join(fmt.Errorf("try the sandbox: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cage) tryLandlock(ctx context.Context) {
	c.abi = landlockABI()
	err := errors.New("the kernel has no Landlock, or starts without it (lsm=landlock,...)")
	if c.abi > 0 {
		if err = c.try(ctx); err == nil {
			return
		}
	}
	c.abi, c.missing = 0, append(c.missing, "Landlock: "+err.Error())
}

func (c *Cage) trySeccomp(ctx context.Context) {
	program, pid, err := filter()
	if err == nil {
		c.filter, c.pid = program, pid
		if err = c.try(ctx); err == nil {
			return
		}
	}
	c.filter, c.pid, c.missing = nil, confine.Unset, append(c.missing, "seccomp: "+err.Error())
}

// tryNetwork tries a network namespace. With the rights to make one, all cages share it: nothing in it can be
// reached. Without them, each start makes its own, in a user namespace that gives the right.
func (c *Cage) tryNetwork(ctx context.Context) {
	var err error
	if c.network, err = emptyNetwork(); err == nil {
		if err = c.try(ctx); err == nil {
			return
		}
		_ = c.network.Close()
		c.network = nil
	}
	c.namespaces = true
	if err = c.try(ctx); err != nil {
		c.namespaces, c.missing = false, append(c.missing, "network namespace: "+err.Error())
	}
}

// emptyNetwork makes a network namespace, whose only interface is a loopback that is down.
func emptyNetwork() (f *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() { // the process would seem to be in the namespace of its main thread
			f, err = emptyNetwork()
			runtime.UnlockOSThread()
			return
		}
		// Never unlock: the thread, which is in the namespace, ends with this goroutine.
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			f, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	return f, err
}

// try starts a child that checks its own cage.
func (c *Cage) try(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, self)
	cmd.SysProcAttr = processAttributes()
	if err := c.startChild(ctx, cmd, Spec{}, true); err != nil {
		return err
	}
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() == confine.ExitFailed { // a step that fails says why
		return errors.New("the process could not read its order: /proc must be mounted, and the user of the " +
			"server must be allowed to read its program's file")
	}
	return err
}

// start starts a program in a cage: cmd is complete but for that.
func (c *Cage) start(ctx context.Context, cmd *exec.Cmd, s Spec) error {
	return c.startChild(ctx, cmd, s, false)
}

// startChild starts this program with an order to restrict itself and become another, or to check that it is
// restricted. It returns once that has happened.
func (c *Cage) startChild(ctx context.Context, cmd *exec.Cmd, s Spec, check bool) error {
	var program needs // a check may open nothing at all
	if !check {
		var err error
		if program, err = c.needs(ctx, s.Program); err != nil {
			return err
		}
	}
	l := s.Limits.caged()
	limits := l.list()
	if c.namespaces { // elsewhere all processes of the user would count
		limits = append(limits, limit(unix.RLIMIT_NPROC, maxThreads, maxThreads))
	}
	o := confine.Order{
		Path: cmd.Path, Args: cmd.Args, Env: cmd.Env,
		Ruleset: confine.Unset, Network: confine.Unset, Keep: 2 + len(cmd.ExtraFiles),
		Filter: c.filter, Pid: c.pid, Limits: limits, Memory: l.memory(), Nice: s.Nice, Check: check,
	}
	pass := func(f *os.File) int {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		return 2 + len(cmd.ExtraFiles)
	}
	if c.abi > 0 {
		set, err := c.ruleset(s, program)
		if err != nil {
			return err
		}
		defer set.Close()
		o.Ruleset = pass(set)
	}
	if c.network != nil {
		o.Network = pass(c.network)
	}
	status, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer status.Close()
	defer write.Close()
	o.Status = pass(write)
	order, err := memoryFile()
	if err != nil {
		return err
	}
	defer order.Close()
	o.Order = pass(order)
	if _, err := order.Write(o.Encode()); err != nil {
		return fmt.Errorf("write the order: %w", err)
	}
	c.dress(cmd, o.Order)
	if err := cmd.Start(); err != nil {
		return err
	}
	s.hand()
	_ = write.Close() // the child alone has it now, until it executes the program
	reason, err := io.ReadAll(io.LimitReader(status, 8<<10))
	if err == nil && len(reason) == 0 {
		return nil
	}
	_ = killGroup(cmd.Process.Pid)
	_ = cmd.Wait() // the reason says more
	failure, ok := confine.DecodeFailure(reason)
	if !ok {
		return errors.Join(err, errors.New("the sandbox did not say why it failed"))
	}
	return fmt.Errorf("%s: %w", failure.What, syscall.Errno(failure.Errno))
}

// dress makes cmd start this program instead, with an order and in its namespaces.
func (c *Cage) dress(cmd *exec.Cmd, order int) {
	cmd.Path, cmd.Args, cmd.Err = self, []string{"reelmill-sandbox"}, nil
	// Go needs no second thread to obey an order, and no collector of garbage: both would take time.
	cmd.Env = []string{confine.Variable + "=" + strconv.Itoa(order), "GOMAXPROCS=1", "GOGC=off"}
	if c.namespaces {
		a := cmd.SysProcAttr
		a.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWUSER
		same := func(id int) []syscall.SysProcIDMap {
			return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
		}
		a.UidMappings, a.GidMappings = same(os.Getuid()), same(os.Getgid())
	}
}

// memoryFile returns a file that is on no disk.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("order", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the order: %w", err)
	}
	return os.NewFile(uintptr(fd), "order"), nil
}

// needs returns what a program needs, which it finds out once for each file that the path leads to: an update
// may turn a link to another version.
func (c *Cage) needs(ctx context.Context, program string) (needs, error) {
	if c.abi == 0 {
		return needs{}, nil
	}
	path, err := resolve(program)
	if err != nil {
		return needs{}, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if n, known := c.programs[path]; known {
		return n, nil
	}
	n, err := needsOf(ctx, path)
	if err == nil {
		c.programs[path] = n
	}
	return n, err
}
