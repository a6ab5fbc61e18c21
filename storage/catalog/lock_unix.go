//go:build unix && !solaris && !aix

package catalog

import (
	"errors"
	"os"
	"syscall"
)

// lockSums opens the file of sums of the catalog at path, and waits until nobody else has it. Closing it
// releases it.
func lockSums(path string) (*os.File, error) {
	f, err := os.OpenFile(path+sumSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
			continue
		}
		return nil, errors.Join(err, f.Close())
	}
}

// claimed reports whether nobody else has the lock of the catalog, and then takes it alone.
func claimed(lock *os.File) bool {
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// lockFile takes the advisory lock of the catalog at path without waiting: exclusively, or shared with
// others. Closing the file releases it; so does the end of the process.
func lockFile(path string, alone bool) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
}
