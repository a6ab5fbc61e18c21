//go:build amd64 || arm64

package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/workers/internal/sandbox/confine"
)

// allowed are the system calls that need no look at their arguments: reading, writing and closing what is
// open, memory of the process itself, threads, waiting, time, and questions about the process. Whatever is
// not in these lists is refused with EPERM: sockets, new processes, ptrace, mounts, bpf, io_uring, memfd,
// keys, signals to others, other users' ids, owners and modes of files (which Landlock does not watch), and
// all that a later kernel adds. Names that an architecture lacks are left out there.
var allowed = []string{
	// open files
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
	"pwritev2", "lseek", "close", "close_range", "dup", "dup2", "dup3", "fstat", "fstatfs", "fsync",
	"fdatasync", "sync_file_range", "ftruncate", "fallocate", "fadvise64", "flock", "sendfile",
	"copy_file_range", "getdents64", "pipe", "pipe2",
	// names of files, which Landlock watches
	"execve", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink",
	"readlinkat", "getcwd", "rename", "renameat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
	// waiting
	"poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
	// memory
	"mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mlock", "munlock", "msync", "mincore",
	"get_mempolicy",
	// threads, and signals of the process to itself
	"futex", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "membarrier",
	"sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
	"sched_get_priority_max", "sched_get_priority_min", "exit", "exit_group", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
	"restart_syscall", "wait4", "waitid",
	// time and chance
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
	"getrandom",
	// questions about the process
	"getpid", "gettid", "getppid", "getpgid", "getpgrp", "getuid", "geteuid", "getgid", "getegid",
	"getresuid", "getresgid", "getgroups", "getpriority", "getrusage", "getrlimit", "getcpu", "uname",
	"sysinfo", "capget", "arch_prctl",
}

// absent are system calls that answer ENOSYS, as an older kernel would, so that the C library takes another
// way: for clone3, whose flags a filter cannot read, it is clone.
var absent = []string{
	"clone3", "openat2", "futex_waitv", "io_pgetevents", "map_shadow_stack", "cachestat", "mseal",
}

// namespaces are the flags of clone(2) that make namespaces.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// ownProcess stands in the filter for the process id, which is known only in the process.
const ownProcess = 0x7ec0de1d

// conditional are the system calls that are allowed for some arguments.
func conditional() []seccomp.NameWithConditions {
	when := func(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: conditions}
	}
	is := func(argument uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: value}
	}
	list := []seccomp.NameWithConditions{
		// a thread, but no process
		when("clone",
			seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD},
			seccomp.Condition{Argument: 0, Operation: seccomp.BitsNotSet, Value: namespaces}),
		when("tgkill", is(0, ownProcess)),
		when("prlimit64", is(0, 0)),
	}
	without := func(argument uint32, bits uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.BitsNotSet, Value: bits}
	}
	// Landlock does not watch the device that it leaves where a file was.
	list = append(list, when("renameat2", without(4, unix.RENAME_WHITEOUT)))
	// Before ABI 3, Landlock does not keep O_TRUNC from emptying a file that may only be read. A new file must
	// not run as its owner; the mode means nothing without a new file.
	for name, flags := range map[string]uint32{"open": 1, "openat": 2} {
		keeps := without(flags, unix.O_TRUNC)
		writes := seccomp.Condition{Argument: flags, Operation: seccomp.BitsSet, Value: unix.O_WRONLY | unix.O_RDWR}
		old := without(flags, unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY)
		plain := without(flags+1, unix.S_ISUID|unix.S_ISGID|unix.S_ISVTX)
		list = append(list, when(name, keeps, old), when(name, keeps, plain),
			when(name, writes, old), when(name, writes, plain))
	}
	for name, values := range map[string][]uint64{
		// names of threads and of memory
		"prctl": {unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA},
		// is it a terminal, and how many bytes wait
		"ioctl": {unix.TCGETS, tcgets2, unix.TIOCGWINSZ, unix.TIOCINQ},
		// not those that send signals
		"fcntl": {
			unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL,
			unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_GETPIPE_SZ,
		},
	} {
		argument := uint32(1)
		if name == "prctl" {
			argument = 0
		}
		for _, v := range values {
			list = append(list, when(name, is(argument, v)))
		}
	}
	return list
}

// tcgets2 is TCGETS2 of asm-generic/ioctls.h, which newer C libraries use for isatty.
const tcgets2 = 0x802c542a

// filter returns the seccomp filter as the kernel wants it, and the offset of the process id in it.
func filter() (program []byte, pid int, err error) {
	machine, err := arch.GetInfo("")
	if err != nil {
		return nil, 0, fmt.Errorf("seccomp: %w", err)
	}
	known := func(names []string) (some []string) {
		for _, name := range names {
			if _, ok := machine.SyscallNames[name]; ok {
				some = append(some, name)
			}
		}
		return some
	}
	var some []seccomp.NameWithConditions
	for _, c := range conditional() {
		if _, ok := machine.SyscallNames[c.Name]; ok {
			some = append(some, c)
		}
	}
	policy := seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{
		{Names: known(allowed), Action: seccomp.ActionAllow},
		{NamesWithCondtions: some, Action: seccomp.ActionAllow},
		{Names: known(absent), Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
	}}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, 0, fmt.Errorf("seccomp: %w", err)
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, 0, fmt.Errorf("seccomp: %w", err)
	}
	return encode(raw)
}

// encode writes struct sock_filter of linux/filter.h, and finds ownProcess.
func encode(raw []bpf.RawInstruction) (program []byte, pid int, err error) {
	var b bytes.Buffer
	pid = confine.Unset
	for _, r := range raw {
		if r.K == ownProcess {
			pid = b.Len() + 4
		}
		if err := binary.Write(&b, binary.NativeEndian, struct {
			Code   uint16
			Jt, Jf uint8
			K      uint32
		}{r.Op, r.Jt, r.Jf, r.K}); err != nil {
			return nil, 0, fmt.Errorf("seccomp: %w", err)
		}
	}
	return b.Bytes(), pid, nil
}
