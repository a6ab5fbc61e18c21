//go:build amd64 || arm64

package confine

import (
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// anyError is the least result of a call whose failure does not matter.
const anyError = -4095

// Program returns the program that obeys the order. Each step needs something that a later one takes away.
func (o Order) Program() *Program {
	w := newWriter()
	if o.Network != Unset {
		args := [5]uint64{uint64(o.Network), unix.CLONE_NEWNET}
		w.do("network namespace", call{Number: unix.SYS_SETNS, Args: args})
	}
	w.limits("limits", o.Limits)
	if o.Nice > 0 { // the program works without it
		args := [5]uint64{unix.PRIO_PROCESS, 0, uint64(o.Nice)}
		w.do("niceness", call{Number: unix.SYS_SETPRIORITY, Args: args, Least: anyError})
	}
	w.prctl("no_new_privs", 0, unix.PR_SET_NO_NEW_PRIVS, 1)
	w.capabilities(o.Capabilities)
	w.prctl("death signal", 0, unix.PR_SET_PDEATHSIG, uint64(unix.SIGKILL))
	if o.Ruleset != Unset {
		w.do("Landlock", call{Number: unix.SYS_LANDLOCK_RESTRICT_SELF, Args: [5]uint64{uint64(o.Ruleset)}})
	}
	w.descriptors(o)
	w.filter(o)
	w.limits("memory limits", o.Memory)
	if o.Check {
		w.check(o)
	} else {
		args := [5]uint64{w.text(o.Path), w.texts(o.Args), w.texts(o.Env)}
		w.do("execute "+o.Path, call{Number: unix.SYS_EXECVE, Args: args})
	}
	const reportAddress = dataAddress + uint64(unsafe.Offsetof(header{}.Report))
	args := [5]uint64{uint64(o.Status), reportAddress, sizeOf[report]()}
	return w.program([]call{
		{Number: unix.SYS_WRITE, Args: args, Least: anyError, Most: math.MaxInt64},
		{Number: unix.SYS_EXIT_GROUP, Args: [5]uint64{ExitFailed}},
	})
}

func (w *writer) limits(step string, limits []Limit) {
	for _, l := range limits {
		limit := w.values([]uint64{l.Soft, l.Hard})
		w.do(step, call{Number: unix.SYS_PRLIMIT64, Args: [5]uint64{0, uint64(l.Resource), limit}})
	}
}

// prctl adds a call of prctl(2).
func (w *writer) prctl(step string, least int64, option, argument uint64) {
	w.do(step, call{Number: unix.SYS_PRCTL, Args: [5]uint64{option, argument}, Least: least})
}

// capabilities leaves those that are kept. After no_new_privs, execve gives none back.
func (w *writer) capabilities(kept uint32) {
	const step = "capabilities"
	for c := range uint64(64) {
		if c < 32 && kept&(1<<c) != 0 {
			continue
		}
		// EPERM: there is no right to drop and none to lose. EINVAL: the kernel does not know so many.
		w.prctl(step, -int64(unix.EINVAL), unix.PR_CAPBSET_DROP, c)
	}
	w.prctl(step, 0, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL)
	header := w.values(unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3})
	data := w.values([2]unix.CapUserData{{Effective: kept, Permitted: kept}})
	w.do(step, call{Number: unix.SYS_CAPSET, Args: [5]uint64{header, data}})
}

// descriptors lets the program start without any descriptor above Order.Keep.
func (w *writer) descriptors(o Order) {
	const step = "descriptors"
	for _, fd := range []int{o.Status, o.Image, o.Ruleset, o.Network} { // before Linux 5.11, that is all
		if fd != Unset {
			w.do(step, call{Number: unix.SYS_FCNTL, Args: [5]uint64{uint64(fd), unix.F_SETFD, unix.FD_CLOEXEC}})
		}
	}
	args := [5]uint64{uint64(o.Keep + 1), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC}
	w.do(step, call{Number: unix.SYS_CLOSE_RANGE, Args: args, Least: -int64(unix.ENOSYS)}) // or EINVAL
}

// filter installs the seccomp filter, with the id of the process in it.
func (w *writer) filter(o Order) {
	if len(o.Filter) == 0 {
		return
	}
	const step, instruction = "seccomp", 8 // bytes of a struct sock_filter
	filter := w.put(o.Filter)
	if o.Pid != Unset {
		w.do(step, call{Number: unix.SYS_GETPID, Most: math.MaxInt32, Store: filter + uint64(o.Pid)})
	}
	// struct sock_fprog: a length of 16 bits, a gap, and an address; both machines are little-endian.
	program := w.values([]uint64{uint64(len(o.Filter) / instruction), filter})
	w.do(step, call{Number: unix.SYS_SECCOMP, Args: [5]uint64{unix.SECCOMP_SET_MODE_FILTER, 0, program}})
}

// check tries what the order forbids, and ends the process.
func (w *writer) check(o Order) {
	refused := func(step string, e syscall.Errno, number uint64, args [5]uint64) {
		w.do(step, call{Number: number, Args: args, Least: -int64(e), Most: -int64(e)})
	}
	if o.Ruleset != Unset {
		const here = ^uint64(99) // AT_FDCWD, -100
		refused("check of Landlock: open a folder that is not allowed", unix.EACCES,
			unix.SYS_OPENAT, [5]uint64{here, w.text("/"), unix.O_RDONLY | unix.O_DIRECTORY})
	}
	if len(o.Filter) > 0 {
		refused("check of seccomp: open a socket", unix.EPERM,
			unix.SYS_SOCKET, [5]uint64{unix.AF_UNIX, unix.SOCK_STREAM})
	}
	w.do("exit", call{Number: unix.SYS_EXIT_GROUP})
}
