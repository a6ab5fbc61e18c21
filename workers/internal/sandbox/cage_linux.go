//go:build amd64 || arm64

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	c := &Cage{pid: confine.Unset, capabilities: ownCapabilities(), programs: map[string]needs{}}
	c.tryLandlock(ctx)
	c.trySeccomp(ctx)
	if m == Required && len(c.missing) > 0 && ctx.Err() == nil {
		return nil, &Unavailable{c.missing}
	}
	if c.none = c.abi == 0 && len(c.filter) == 0 && c.try(ctx) != nil; !c.none {
		c.tryNetwork(ctx)
	}
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
	return cmd.Wait()
}

// start starts a program in a cage: cmd is complete but for that.
func (c *Cage) start(ctx context.Context, cmd *exec.Cmd, s Spec) error {
	if c.none {
		s.Limits = s.Limits.caged()
		return startFree(ctx, cmd, s)
	}
	return c.startChild(ctx, cmd, s, false)
}

// startChild starts a process that restricts itself and becomes another program, or checks that it is
// restricted. It returns once that has happened.
func (c *Cage) startChild(ctx context.Context, cmd *exec.Cmd, s Spec, check bool) error {
	var program needs // a check may open nothing at all
	if !check {
		var err error
		if program, err = c.needs(ctx, s.Program); err != nil {
			return err
		}
	}
	o := c.order(cmd, s)
	o.Check = check
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
	if cmd.Path == self { // which the child is not for long
		own, err := os.OpenFile(self, unix.O_PATH, 0)
		if err != nil {
			return fmt.Errorf("open this program: %w", err)
		}
		defer own.Close()
		o.Path = descriptor(pass(own))
	}
	status, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer status.Close()
	defer write.Close()
	o.Status = pass(write)
	o.Image = 3 + len(cmd.ExtraFiles)
	confining := o.Program()
	image, err := programFile(confining)
	if err != nil {
		return err
	}
	defer image.Close()
	c.dress(cmd, pass(image))
	err = cmd.Start()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("start the process that enters the sandbox: %w; /proc must be mounted, and a policy of "+
			"the system must allow programs in memory", err)
	}
	if err != nil {
		return err
	}
	s.hand()
	_ = write.Close() // the child alone has it now, until it executes the program
	if err := confined(status, confining); err != nil {
		_ = killGroup(cmd.Process.Pid)
		_ = cmd.Wait() // the error says more
		return err
	}
	return nil
}

// confined waits until a process has obeyed its order. Its error says what could not be done.
func confined(status io.Reader, p *confine.Program) error {
	report, err := io.ReadAll(io.LimitReader(status, 8<<10))
	if err == nil && len(report) == 0 {
		return nil
	}
	failure, ok := p.Failure(report)
	switch {
	case !ok:
		return errors.Join(err, errors.New("the sandbox did not say why it failed"))
	case failure.Errno == 0:
		return fmt.Errorf("%s: it was not refused", failure.What)
	}
	return fmt.Errorf("%s: %w", failure.What, syscall.Errno(failure.Errno))
}

// order returns what the process of cmd has to do, but for the descriptors that it gets.
func (c *Cage) order(cmd *exec.Cmd, s Spec) confine.Order {
	l := s.Limits.caged()
	limits := l.list()
	if c.namespaces { // elsewhere all processes of the user would count
		limits = append(limits, limit(unix.RLIMIT_NPROC, maxThreads, maxThreads))
	}
	return confine.Order{
		Path: cmd.Path, Args: cmd.Args, Env: cmd.Env,
		Ruleset: confine.Unset, Network: confine.Unset, Keep: 2 + len(cmd.ExtraFiles),
		Filter: c.filter, Pid: c.pid, Limits: limits, Memory: l.memory(), Nice: s.Nice,
		Capabilities: c.capabilities,
	}
}

// dress makes cmd start the program in a descriptor instead, in its namespaces.
func (c *Cage) dress(cmd *exec.Cmd, image int) {
	cmd.Path, cmd.Args, cmd.Env, cmd.Err = descriptor(image), []string{"reelmill-sandbox"}, []string{}, nil
	if c.namespaces {
		a := cmd.SysProcAttr
		a.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWUSER
		a.UidMappings, a.GidMappings = same(os.Getuid()), same(os.Getgid())
	}
}

// same lets an id stay what it is in a user namespace.
func same(id int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
}

// descriptor returns the path of a file that the process has open.
func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// programFile returns a file with a program, which is on no disk.
//
// The kernel executes no file that anybody may write to. So this file is opened a second time, only for
// reading, and no process may start in between that would inherit the first descriptor.
func programFile(p *confine.Program) (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.MemfdCreate("reelmill-sandbox", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, every such file could be executed
		fd, err = unix.MemfdCreate("reelmill-sandbox", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make a program in memory, which sysctl vm.memfd_noexec can forbid: %w", err)
	}
	writing := os.NewFile(uintptr(fd), "memfd")
	defer writing.Close()
	if err := p.WriteTo(writing); err != nil {
		return nil, err
	}
	return os.Open(descriptor(fd))
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
	n, known := c.programs[path]
	c.lock.Unlock() // not held while a program answers: another one may start beside it
	if known {
		return n, nil
	}
	if n, err = needsOf(ctx, path); err != nil {
		return needs{}, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.programs[path] = n
	return n, nil
}
