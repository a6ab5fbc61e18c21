//go:build unix && !solaris && !aix

package claim

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the advisory lock on f, and reports whether it was free.
func tryLock(f *os.File) (free bool, err error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}
