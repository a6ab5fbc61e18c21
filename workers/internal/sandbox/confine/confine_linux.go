//go:build amd64 || arm64

package confine

import (
	"runtime"
	"unsafe"
)

// init is explained in the package comment.
func init() {
	if value, ordered := variable(); ordered {
		obey(value)
	}
}

// Numbers of prctl(2), capabilities(7), close_range(2), fcntl(2), open(2), seccomp(2), setns(2) and Landlock.
const (
	prSetPdeathsig  = 1
	prCapbsetDrop   = 24
	prSetNoNewPrivs = 38
	prCapAmbient    = 47
	ambientClearAll = 4

	capDacOverride = 1
	capVersion3    = 0x20080522

	closeRangeCloexec = 4
	setFdCloexec      = 2 // F_SETFD
	fdCloexec         = 1
	cloneNewnet       = 0x40000000
	setModeFilter     = 1
	sigkill           = 9

	sysCloseRange           = 436 // the same on every architecture, as are those of Landlock
	sysLandlockRestrictSelf = 446
)

// step is a restriction, with the name that a failure has.
type step struct {
	name string
	do   func(Order) errno
}

// steps are the restrictions in their order. Each needs something that a later one takes away.
var steps = []step{
	{"network namespace", enterNetwork},
	{"limits", func(o Order) errno { return setLimits(o.Limits) }},
	{"niceness", nice},
	{"no_new_privs", func(Order) errno { return prctl(prSetNoNewPrivs, 1) }},
	{"capabilities", dropCapabilities},
	{"death signal", func(Order) errno { return prctl(prSetPdeathsig, sigkill) }},
	{"Landlock", restrictFiles},
	{"descriptors", closeOthers},
	{"seccomp", filterCalls},
	{"memory limits", func(o Order) errno { return setLimits(o.Memory) }},
}

// variable returns the value of Variable, if it is the first variable of the environment. (Package syscall,
// which knows the environment, is initialised later; sandbox.Main looks there.)
func variable() (value string, set bool) {
	fd, err := open("/proc/self/environ")
	if err != 0 {
		return "", false
	}
	const prefix = Variable + "="
	var first [len(prefix) + 24]byte
	n, err := pread(fd, first[:], 0)
	call(sysClose, fd, 0, 0, 0, 0)
	if err != 0 || n < len(prefix) || string(first[:len(prefix)]) != prefix {
		return "", false
	}
	end := len(prefix)
	for end < n && first[end] != 0 {
		end++
	}
	return string(first[len(prefix):end]), true
}

// obey never returns. The thread stays locked, since Landlock and seccomp hold for one thread, and the
// program that it executes.
func obey(descriptor string) {
	runtime.LockOSThread()
	o, ok := readOrder(descriptor)
	if !ok {
		exit(ExitFailed)
	}
	for _, s := range steps {
		if err := s.do(o); err != 0 {
			o.fail(s.name, err)
		}
	}
	if o.Check {
		check(o)
	}
	o.fail("execute "+o.Path, execute(o.Path, o.Args, o.Env))
}

// fail reports why the order cannot be obeyed, and ends the process.
func (o Order) fail(what string, err errno) {
	write(uintptr(o.Status), Failure{what, int(err)}.encode()) // without it, the exit status still tells
	exit(ExitFailed)
}

// check tries what the order forbids, and ends the process: with status 0 if nothing of it succeeds.
func check(o Order) {
	if o.Ruleset != Unset {
		if _, err := open("/proc/self/exe"); err != eacces {
			o.fail("check of Landlock: a file that is not allowed opens", einval)
		}
	}
	if len(o.Filter) > 0 {
		const afUnix, sockStream = 1, 1
		if err := failed(call(sysSocket, afUnix, sockStream, 0, 0, 0)); err != eperm {
			o.fail("check of seccomp: a socket opens", einval)
		}
	}
	exit(0)
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
		n, err := pread(uintptr(fd), chunk, len(all))
		if err != 0 {
			return Order{}, false
		}
		if n == 0 {
			return decode(all)
		}
		all = append(all, chunk[:n]...)
	}
}

func enterNetwork(o Order) errno {
	if o.Network == Unset {
		return 0
	}
	return failed(call(sysSetns, uintptr(o.Network), cloneNewnet, 0, 0, 0))
}

func setLimits(limits []Limit) errno {
	for _, l := range limits {
		limit := [2]uint64{l.Soft, l.Hard}
		err := failed(call(sysPrlimit, 0, uintptr(l.Resource), uintptr(unsafe.Pointer(&limit)), 0, 0))
		if err != 0 {
			return err
		}
	}
	return 0
}

// nice changes the niceness of this thread, which becomes the program. The program works without it.
func nice(o Order) errno {
	if o.Nice > 0 {
		const prioProcess = 0
		call(sysSetpriority, prioProcess, 0, uintptr(o.Nice), 0, 0)
	}
	return 0
}

// dropCapabilities leaves at most CAP_DAC_OVERRIDE, for root: the data folder may belong to another user, and
// Landlock says which files may be opened. After no_new_privs, execve gives none back.
func dropCapabilities(Order) errno {
	for c := uintptr(0); c < 64; c++ {
		if c == capDacOverride {
			continue
		}
		err := prctl(prCapbsetDrop, c)
		if err == einval || err == eperm {
			break // the kernel knows no more of them, or there is no right to drop and none to lose
		}
		if err != 0 {
			return err
		}
	}
	if err := prctl(prCapAmbient, ambientClearAll); err != 0 {
		return err
	}
	header := struct {
		version uint32
		pid     int32
	}{version: capVersion3}
	var data [2]struct{ effective, permitted, inheritable uint32 }
	err := failed(call(sysCapget, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0, 0, 0))
	if err != 0 {
		return err
	}
	kept := data[0].permitted & (1 << capDacOverride)
	data[0].effective, data[0].permitted, data[0].inheritable = kept, kept, 0
	data[1].effective, data[1].permitted, data[1].inheritable = 0, 0, 0
	return failed(call(sysCapset, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0, 0, 0))
}

func restrictFiles(o Order) errno {
	if o.Ruleset == Unset {
		return 0
	}
	return failed(call(sysLandlockRestrictSelf, uintptr(o.Ruleset), 0, 0, 0, 0))
}

// closeOthers lets the program start without any descriptor above Order.Keep.
func closeOthers(o Order) errno {
	err := failed(call(sysCloseRange, uintptr(o.Keep+1), 1<<31-1, closeRangeCloexec, 0, 0))
	if err != enosys && err != einval {
		return err
	}
	for _, fd := range []int{o.Status, o.Order, o.Ruleset, o.Network} { // before Linux 5.11
		if fd != Unset {
			closeOnExec(uintptr(fd))
		}
	}
	return 0
}

func closeOnExec(fd uintptr) { call(sysFcntl, fd, setFdCloexec, fdCloexec, 0, 0) }

func filterCalls(o Order) errno {
	if len(o.Filter) == 0 {
		return 0
	}
	if o.Pid != Unset {
		pid := uint32(call(sysGetpid, 0, 0, 0, 0, 0))
		for i := range 4 {
			o.Filter[o.Pid+i] = byte(pid >> (8 * i)) // amd64 and arm64 are little-endian
		}
	}
	const instruction = 8 // bytes of a struct sock_filter
	program := struct {
		length uint16
		filter *byte
	}{uint16(len(o.Filter) / instruction), &o.Filter[0]}
	return failed(call(sysSeccomp, setModeFilter, 0, uintptr(unsafe.Pointer(&program)), 0, 0))
}
