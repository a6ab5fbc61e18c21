//go:build unix && !linux

package ffmpeg

import "syscall"

// processAttributes: a group of its own. There is no parent-death signal here: an ffmpeg can outlive a crash.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func setNice(int, int) error { return syscall.ENOSYS }

func setLimits(int, Limits) error { return nil }

// cpuTicks is unknown here, so Stall goes by progress reports alone.
func cpuTicks(int) int64 { return 0 }
