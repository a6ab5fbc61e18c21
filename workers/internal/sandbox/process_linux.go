//go:build amd64 || arm64

package sandbox

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/workers/internal/sandbox/confine"
)

// processAttributes gives a process its own group, and lets it die with us.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// ownCapabilities returns the set of capabilities that programs keep: at most CAP_DAC_OVERRIDE, for root. The
// data folder may belong to another user, and Landlock says which files may be opened. Other users' programs
// would lose it at execve, and so would root's where a bit of capabilities(7) says so.
func ownCapabilities() uint32 {
	const override = 1 << unix.CAP_DAC_OVERRIDE
	var data [2]unix.CapUserData
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if os.Geteuid() != 0 || err != nil || bits != 0 {
		return 0
	}
	had, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_DAC_OVERRIDE, 0, 0, 0)
	if err != nil || had == 0 {
		return 0
	}
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return 0
	}
	return data[0].Permitted & override
}

// setNice raises the niceness of every thread of a process group. Linux keeps niceness per thread; a new
// thread inherits it.
func setNice(group, n int) error {
	return unix.Setpriority(unix.PRIO_PGRP, group, n)
}

// setLimits applies l to a running child that has no cage.
func setLimits(pid int, l Limits) error {
	for _, r := range append(l.list(), l.memory()...) {
		if err := unix.Prlimit(pid, r.Resource, &unix.Rlimit{Cur: r.Soft, Max: r.Hard}, nil); err != nil {
			return fmt.Errorf("set limit %d of setrlimit: %w", r.Resource, err)
		}
	}
	return nil
}

// list returns the limits other than memory's. None allows core dumps, which would contain users' pictures.
func (l Limits) list() []confine.Limit {
	list := []confine.Limit{{Resource: unix.RLIMIT_CORE}}
	if l.CPU > 0 {
		s := uint64((l.CPU + time.Second - 1) / time.Second)
		list = append(list, limit(unix.RLIMIT_CPU, s, s+1))
	}
	if l.FileSize > 0 {
		list = append(list, limit(unix.RLIMIT_FSIZE, uint64(l.FileSize), uint64(l.FileSize)))
	}
	if l.Files > 0 {
		list = append(list, limit(unix.RLIMIT_NOFILE, uint64(l.Files), uint64(l.Files)))
	}
	return list
}

// memory returns the limits of memory: of what can be written to, and, more loosely, of the address space, of
// which libraries reserve much that they never use.
func (l Limits) memory() []confine.Limit {
	if l.Memory == 0 {
		return nil
	}
	data, space := uint64(l.Memory), uint64(l.Memory)+4<<30
	return []confine.Limit{limit(unix.RLIMIT_DATA, data, data), limit(unix.RLIMIT_AS, space, space)}
}

// limit returns a limit, or that of this process if it is lower: nobody in a cage may raise one.
func limit(resource int, soft, hard uint64) confine.Limit {
	var own unix.Rlimit
	if err := unix.Getrlimit(resource, &own); err == nil {
		soft, hard = min(soft, own.Cur), min(hard, own.Max)
	}
	return confine.Limit{Resource: resource, Soft: soft, Hard: hard}
}

// caged returns the limits with the defaults of a cage.
func (l Limits) caged() Limits {
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	if l.Files == 0 {
		l.Files = defaultFiles
	}
	return l
}
