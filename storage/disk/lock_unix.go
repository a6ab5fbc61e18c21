//go:build unix && !solaris && !aix

package disk

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the advisory lock on f, which means "in use". The kernel drops it with the process.
func lock(f *os.File) error {
	return flock(f, syscall.LOCK_EX)
}

// tryLock is lock without waiting. It reports whether the lock was free.
func tryLock(f *os.File) (free bool, err error) {
	err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
