package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func socket(domain, kind, protocol int) func() error {
	return func() error {
		fd, err := unix.Socket(domain, kind, protocol)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
}

func sockets() []attempt {
	return []attempt{
		{"tcp", socket(unix.AF_INET, unix.SOCK_STREAM, 0)},
		{"tcp6", socket(unix.AF_INET6, unix.SOCK_STREAM, 0)},
		{"mptcp", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)},
		{"udp", socket(unix.AF_INET, unix.SOCK_DGRAM, 0)},
		{"unix", socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)},
		{"unix_pair", func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"netlink", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
		{"raw", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		{"packet", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"crypto_socket", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	}
}

func others() []attempt {
	var iov [1]unix.Iovec
	return []attempt{
		{"signal_victim", func() error { return unix.Kill(victim, unix.SIGCONT) }},
		{"signal_parent", func() error { return unix.Kill(os.Getppid(), unix.SIGCONT) }},
		{"signal_thread_of_victim", func() error { return unix.Tgkill(victim, victim, unix.SIGCONT) }},
		{"signal_by_descriptor", func() error {
			fd, err := unix.PidfdOpen(victim, 0)
			if err == nil {
				err = unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0)
			}
			return err
		}},
		{"trace_victim", func() error {
			err := unix.PtraceSeize(victim)
			if err == nil {
				err = unix.PtraceDetach(victim)
				if err == unix.ESRCH { //nolint:errorlint // it was not stopped, which detaching needs
					err = nil
				}
			}
			return err
		}},
		{"read_memory_of_victim", call(unix.SYS_PROCESS_VM_READV, uintptr(victim), uintptr(unsafe.Pointer(&iov)), 0, uintptr(unsafe.Pointer(&iov)), 0)},
		{"limit_victim", func() error { var r unix.Rlimit; return unix.Prlimit(victim, unix.RLIMIT_CPU, nil, &r) }},
		{"slow_victim", func() error { return unix.Setpriority(unix.PRIO_PROCESS, victim, 19) }},
		{"become_another_user", func() error { return unix.Setresuid(-1, -1, -1) }},
		{"become_another_group", func() error { return unix.Setresgid(-1, -1, -1) }},
		{"gain_capabilities", func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&header, &data[0]); err != nil {
				return err
			}
			return unix.Capset(&header, &data[0])
		}},
		{"leave_process_group", func() error { return unix.Setpgid(0, 0) }},
		{"own_descriptor_signals", func() error { _, err := unix.FcntlInt(0, unix.F_SETOWN, victim); return err }},
		{"type_into_terminal", call(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0)},
	}
}

func kernel() []attempt {
	return []attempt{
		{"mount", func() error {
			err := unix.Mount("none", out, "tmpfs", 0, "")
			if err == nil {
				err = unix.Unmount(out, unix.MNT_DETACH)
			}
			return err
		}},
		{"namespaces", call(unix.SYS_UNSHARE, unix.CLONE_FS)},
		{"user_namespace", fork(unix.CLONE_NEWUSER)},
		{"bpf", func() error {
			attr := struct{ kind, key, value, entries, flags uint32 }{2, 4, 4, 1, 0} // an array
			return call(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))()
		}},
		{"perf_event", func() error {
			attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: unix.PERF_ATTR_SIZE_VER1}
			fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
		{"io_uring", func() error {
			var params [120]byte
			return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)))()
		}},
		{"userfaultfd", call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC)},
		{"memfd", func() error {
			fd, err := unix.MemfdCreate("x", 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
		{"keys", func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true); return err }},
		{"shared_memory", func() error { _, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600); return err }},
		{"splice", func() error {
			var p [2]int
			if err := unix.Pipe(p[:]); err != nil {
				return err
			}
			_, err := unix.Vmsplice(p[1], nil, 0)
			return err
		}},
		{"set_clock", call(unix.SYS_SETTIMEOFDAY, 0, 0)},
		{"set_host_name", func() error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			return unix.Sethostname([]byte(name))
		}},
		{"change_personality", call(unix.SYS_PERSONALITY, 0xffffffff)},
		{"dump_core", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }},
		{"allow_death_of_parent", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }},
	}
}

func resources() []attempt {
	return []attempt{
		{"descriptors_5000", func() error {
			for range 5000 {
				if _, err := unix.Dup(1); err != nil {
					return err
				}
			}
			return nil
		}},
		{"raise_descriptors", func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 8192, Max: 8192}) }},
		{"memory_40_gb", func() error {
			b, err := unix.Mmap(-1, 0, 40<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
			if err == nil {
				b[0], b[len(b)-1] = 1, 1
			}
			return err
		}},
		{"core_of_8_gb", func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 33, Max: 1 << 33}) }},
		{"environment", func() error {
			if len(os.Environ()) == 0 {
				return unix.ENOENT
			}
			return nil
		}},
	}
}
