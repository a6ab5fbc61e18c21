package ffmpeg

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processAttributes gives a process its own group, and lets it die with us.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// setNice raises the niceness of every thread of a process group. Linux keeps niceness per thread; a new
// thread inherits it.
func setNice(group, n int) error {
	return unix.Setpriority(unix.PRIO_PGRP, group, n)
}

// setLimits applies l to a running child, and forbids core dumps, which would contain users' pictures.
func setLimits(pid int, l Limits) error {
	set := func(resource int, soft, hard uint64) error {
		return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: soft, Max: hard}, nil)
	}
	if err := set(unix.RLIMIT_CORE, 0, 0); err != nil {
		return fmt.Errorf("limit core dumps: %w", err)
	}
	if l.CPU > 0 {
		s := uint64((l.CPU + time.Second - 1) / time.Second)
		if err := set(unix.RLIMIT_CPU, s, s+1); err != nil {
			return fmt.Errorf("limit cpu time: %w", err)
		}
	}
	if l.FileSize > 0 {
		if err := set(unix.RLIMIT_FSIZE, uint64(l.FileSize), uint64(l.FileSize)); err != nil {
			return fmt.Errorf("limit file size: %w", err)
		}
	}
	if l.Memory > 0 {
		if err := set(unix.RLIMIT_AS, uint64(l.Memory), uint64(l.Memory)); err != nil {
			return fmt.Errorf("limit memory: %w", err)
		}
	}
	return nil
}

// cpuTicks returns the CPU time that a process has used, in clock ticks; 0 if unknown. Source: proc(5),
// stat, fields 14 and 15, counted from after the command name, which may contain spaces and brackets.
func cpuTicks(pid int) int64 {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0
	}
	fields := bytes.Fields(stat[i+1:]) // starts with field 3
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return user + system
}
