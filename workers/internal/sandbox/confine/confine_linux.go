//go:build amd64 || arm64

package confine

import (
	"runtime"
	"syscall"
	"unsafe"
)

// init is explained in the package comment.
func init() {
	if text, ordered := syscall.Getenv(Variable); ordered {
		obey(text)
	}
}

// Numbers of prctl(2), capabilities(7), close_range(2), seccomp(2) and Landlock, which package syscall lacks.
const (
	prSetPdeathsig  = 1
	prCapbsetDrop   = 24
	prSetNoNewPrivs = 38
	prCapAmbient    = 47
	ambientClearAll = 4

	capDacOverride = 1
	capVersion3    = 0x20080522

	closeRangeCloexec = 4
	setModeFilter     = 1

	sysCloseRange           = 436 // the same on every architecture, as are those of Landlock
	sysLandlockRestrictSelf = 446
)

// step is a restriction, with the name that a failure has.
type step struct {
	name string
	do   func(Order) syscall.Errno
}

// steps are the restrictions in their order. Each needs something that a later one takes away.
var steps = []step{
	{"network namespace", enterNetwork},
	{"limits", func(o Order) syscall.Errno { return setLimits(o.Limits) }},
	{"niceness", nice},
	{"no_new_privs", func(Order) syscall.Errno { return prctl(prSetNoNewPrivs, 1) }},
	{"capabilities", dropCapabilities},
	{"death signal", func(Order) syscall.Errno { return prctl(prSetPdeathsig, uintptr(syscall.SIGKILL)) }},
	{"Landlock", restrictFiles},
	{"descriptors", closeOthers},
	{"seccomp", filterCalls},
	{"memory limits", func(o Order) syscall.Errno { return setLimits(o.Memory) }},
}

// obey never returns. The thread stays locked, since Landlock and seccomp hold for one thread, and the
// program that it executes.
func obey(descriptor string) {
	runtime.LockOSThread()
	o, ok := readOrder(descriptor)
	if !ok {
		syscall.Exit(ExitFailed)
	}
	for _, s := range steps {
		if errno := s.do(o); errno != 0 {
			o.fail(s.name, errno)
		}
	}
	if o.Check {
		check(o)
	}
	err := syscall.Exec(o.Path, o.Args, o.Env)
	errno, _ := err.(syscall.Errno) //nolint:errorlint // package errors would come with more imports
	o.fail("execute "+o.Path, errno)
}

// fail reports why the order cannot be obeyed, and ends the process.
func (o Order) fail(what string, errno syscall.Errno) {
	_, _ = syscall.Write(o.Status, []byte(what+": "+errno.Error())) // the exit status still tells
	syscall.Exit(ExitFailed)
}

// check tries what the order forbids, and ends the process: with status 0 if nothing of it succeeds.
func check(o Order) {
	if o.Ruleset != Unset {
		_, err := syscall.Open("/proc/self/exe", syscall.O_RDONLY, 0)
		if err != syscall.EACCES { //nolint:errorlint // as above
			o.fail("check of Landlock: a file that is not allowed opens", syscall.EINVAL)
		}
	}
	if len(o.Filter) > 0 {
		_, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != syscall.EPERM { //nolint:errorlint // as above
			o.fail("check of seccomp: a socket opens", syscall.EINVAL)
		}
	}
	syscall.Exit(0)
}

func readOrder(descriptor string) (Order, bool) {
	fd := 0
	for _, c := range []byte(descriptor) {
		if c < '0' || c > '9' || fd > 1<<20 {
			return Order{}, false
		}
		fd = 10*fd + int(c-'0')
	}
	var all []byte
	chunk := make([]byte, 16<<10)
	for {
		n, err := syscall.Pread(fd, chunk, int64(len(all)))
		if err != nil {
			return Order{}, false
		}
		if n == 0 {
			return decode(all)
		}
		all = append(all, chunk[:n]...)
	}
}

func enterNetwork(o Order) syscall.Errno {
	if o.Network == Unset {
		return 0
	}
	_, _, errno := syscall.Syscall(sysSetns, uintptr(o.Network), syscall.CLONE_NEWNET, 0)
	return errno
}

func setLimits(limits []Limit) syscall.Errno {
	for _, l := range limits {
		// Setrlimit rather than prlimit: it keeps the runtime from restoring the number of descriptors.
		err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard})
		if errno, failed := err.(syscall.Errno); failed { //nolint:errorlint // as above
			return errno
		}
	}
	return 0
}

// nice changes the niceness of this thread, which becomes the program.
func nice(o Order) syscall.Errno {
	if o.Nice > 0 {
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, o.Nice) // the program works without it
	}
	return 0
}

// dropCapabilities leaves at most CAP_DAC_OVERRIDE, for root: the data folder may belong to another user, and
// Landlock says which files may be opened. After no_new_privs, execve gives none back.
func dropCapabilities(Order) syscall.Errno {
	for c := uintptr(0); c < 64; c++ {
		if c == capDacOverride {
			continue
		}
		errno := prctl(prCapbsetDrop, c)
		if errno == syscall.EINVAL || errno == syscall.EPERM {
			break // the kernel knows no more of them, or there is no right to drop and none to lose
		}
		if errno != 0 {
			return errno
		}
	}
	if errno := prctl(prCapAmbient, ambientClearAll); errno != 0 {
		return errno
	}
	header := struct {
		version uint32
		pid     int32
	}{version: capVersion3}
	var data [2]struct{ effective, permitted, inheritable uint32 }
	_, _, errno := syscall.Syscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&header)),
		uintptr(unsafe.Pointer(&data)), 0)
	if errno != 0 {
		return errno
	}
	kept := data[0].permitted & (1 << capDacOverride)
	data[0].effective, data[0].permitted, data[0].inheritable = kept, kept, 0
	data[1].effective, data[1].permitted, data[1].inheritable = 0, 0, 0
	_, _, errno = syscall.Syscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)),
		uintptr(unsafe.Pointer(&data)), 0)
	return errno
}

func restrictFiles(o Order) syscall.Errno {
	if o.Ruleset == Unset {
		return 0
	}
	_, _, errno := syscall.Syscall(sysLandlockRestrictSelf, uintptr(o.Ruleset), 0, 0)
	return errno
}

// closeOthers lets the program start without any descriptor above Order.Keep.
func closeOthers(o Order) syscall.Errno {
	_, _, errno := syscall.Syscall(sysCloseRange, uintptr(o.Keep+1), 1<<31-1, closeRangeCloexec)
	if errno != syscall.ENOSYS && errno != syscall.EINVAL {
		return errno
	}
	for _, fd := range []int{o.Status, o.Order, o.Ruleset, o.Network} { // before Linux 5.11
		if fd != Unset {
			syscall.CloseOnExec(fd)
		}
	}
	return 0
}

func filterCalls(o Order) syscall.Errno {
	if len(o.Filter) == 0 {
		return 0
	}
	if o.Pid != Unset {
		pid := uint32(syscall.Getpid())
		for i := range 4 {
			o.Filter[o.Pid+i] = byte(pid >> (8 * i)) // amd64 and arm64 are little-endian
		}
	}
	program := syscall.SockFprog{
		Len:    uint16(len(o.Filter) / syscall.SizeofSockFilter),
		Filter: (*syscall.SockFilter)(unsafe.Pointer(&o.Filter[0])),
	}
	_, _, errno := syscall.Syscall(sysSeccomp, setModeFilter, 0, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(&program)
	return errno
}

func prctl(option, argument uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, option, argument, 0, 0, 0, 0)
	return errno
}
