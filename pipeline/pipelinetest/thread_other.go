//go:build !linux

package pipelinetest

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime returns the processor time that this process has used, which is at least that of the calling
// thread. So a machine seems less busy than it is.
func threadTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong argument can cause it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
