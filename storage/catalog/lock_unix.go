//go:build unix && !solaris && !aix

package catalog

import (
	"errors"
	"os"
	"syscall"
)

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
