//go:build unix && !linux

package ffmpeg

import "syscall"

// processAttributes gives a process its own group. Without a parent-death signal, an ffmpeg can outlive our
// crash.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func setNice(int, int) error { return syscall.ENOSYS }

func setLimits(int, Limits) error { return nil }

// cpuTicks is unknown on this system, so Stall depends on progress reports alone.
func cpuTicks(int) int64 { return 0 }
