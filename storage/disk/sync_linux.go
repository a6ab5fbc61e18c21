package disk

import (
	"errors"
	"os"
	"syscall"
)

// syncData syncs the bytes of a file and its size, without its times.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
