package ffmpeg

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// MemoryIsLimited reports whether the system may refuse memory that a usual video needs: this process has a
// limit on its address space or data, which its children inherit, or the kernel promises no more memory than
// there is (proc_sys_vm(5), overcommit_memory 2). Otherwise a lack of memory ends in a kill.
func MemoryIsLimited() bool {
	for _, resource := range []int{unix.RLIMIT_AS, unix.RLIMIT_DATA} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil || limit.Cur != unix.RLIM_INFINITY {
			return true
		}
	}
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	return err == nil && string(bytes.TrimSpace(mode)) == "2"
}
