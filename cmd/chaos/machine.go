package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// The faults below are those of the machine: its disk and its memory. Its clock cannot be set for a process
// alone, so Go tests set that of the program: see pipeline/RELIABILITY.md.

// fillWhileEncoding fills the small disk when an encoder runs.
func (p *phase) fillWhileEncoding(ctx context.Context) {
	p.load.begin(&video{pipeline: "real", file: p.film, expect: pipeline.StateVideoReady})
	until := time.Now().Add(30 * time.Second)
	for encodes := false; !encodes; pause.For(ctx, 50*time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(until) {
			p.sayf("no encoder began, so the disk was not filled")
			return
		}
		encodes = len(p.running(ctx, "transcode")) > 0
	}
	p.count("disk full while encoding", 1)
	p.fillDisk(ctx)
}

// fillDisk fills the small disk to the last byte for a while.
func (p *phase) fillDisk(ctx context.Context) {
	name := filepath.Join(p.disk, "ballast")
	defer os.Remove(name)
	f, err := os.Create(name)
	if err != nil {
		p.sayf("fill the disk: %v", err)
		return
	}
	defer f.Close()
	p.count("disk full for 5 to 10 s", 1)
	until := time.Now().Add(p.between(5, 10))
	chunk, size := make([]byte, 64<<10), int64(0)
	for ctx.Err() == nil && time.Now().Before(until) {
		var fs unix.Statfs_t
		if err := unix.Statfs(p.disk, &fs); err == nil && fs.Bavail > 64 {
			room := int64(fs.Bavail) * int64(fs.Bsize)
			if unix.Fallocate(int(f.Fd()), 0, size, room) == nil {
				size += room
			}
		}
		n, err := f.WriteAt(chunk, size) // also fill space that others free
		size += int64(n)
		if err != nil {
			pause.For(ctx, 20*time.Millisecond)
		}
	}
	p.sayf("the disk was full: %s", fmt.Sprint(size>>20, " MiB of ballast"))
}

// readOnly makes the data folder read-only for a while, as a kernel does that found an error on its disk,
// except that what is open can still be written: nothing can be made, renamed or removed. In every other
// injection, on average, the server is killed meanwhile, and cannot start until the end.
func (p *phase) readOnly(ctx context.Context) {
	const what = "data folder read-only for 5 to 10 s"
	if !p.inner {
		p.count(what+": NOT RUN, nothing can be mounted", 0)
		return
	}
	if err := syscall.Mount(p.data, p.data, "", syscall.MS_BIND, ""); err != nil {
		p.count(what+": NOT RUN, "+err.Error(), 0)
		return
	}
	defer func() { // files that were opened meanwhile keep the mount busy, but only for themselves
		if err := syscall.Unmount(p.data, syscall.MNT_DETACH); err != nil {
			p.sayf("make the data folder writable: %v", err)
		}
	}()
	err := syscall.Mount("", p.data, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
	if err != nil {
		p.count(what+": NOT RUN, "+err.Error(), 0)
		return
	}
	p.count(what, 1)
	if p.intN(2) == 0 {
		p.count("SIGKILL while the data folder is read-only", 1)
		p.serve.signal(syscall.SIGKILL)
	}
	pause.For(ctx, p.between(5, 10))
}

// exhaust lets the kernel refuse a process further memory, and then opens more connections to it than it can
// hold. The process dies, as the Go runtime does without memory, and is started again.
func (p *phase) exhaust(ctx context.Context, u *unit, what string) {
	before, pid := u.now(), u.pid()
	held, err := dataOf(pid)
	if err != nil {
		p.sayf("%s has ended: %v", what, err)
		return
	}
	var old unix.Rlimit
	u.mayEnd()
	if err = unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &old); err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: held, Max: old.Max}, nil)
	}
	if err != nil {
		p.count("memory of "+what+" refused: NOT RUN, "+err.Error(), 0)
		return
	}
	p.crowd(ctx, u, before)
	if u.now() == before {
		p.sayf("%s lives on without more memory", what)
		_ = unix.Prlimit(pid, unix.RLIMIT_DATA, &old, nil) // it may have ended just now
		return
	}
	p.count("memory of "+what+" refused: it died", 1)
	u.awaitUp(ctx, before)
}

// crowd opens connections to a process, on which nothing comes, until the next generation runs, for at most
// 20 s.
func (p *phase) crowd(ctx context.Context, u *unit, before int) {
	dialer, until := net.Dialer{Timeout: time.Second}, time.Now().Add(20*time.Second)
	for ctx.Err() == nil && time.Now().Before(until) && u.now() == before {
		conn, err := dialer.DialContext(ctx, "tcp", u.address)
		if err != nil {
			pause.For(ctx, 50*time.Millisecond)
			continue
		}
		defer conn.Close()
	}
}

// dataOf returns how much data the kernel counts for RLIMIT_DATA of a process, in bytes.
func dataOf(pid int) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib uint64
		if _, err := fmt.Sscanf(lines.Text(), "VmData: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmData", pid)
}
