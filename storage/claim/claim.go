// Package claim gives a folder to one process at a time. The claim is an advisory lock (flock) on a file,
// which the kernel releases with the process, however that ends: a file that a killed process left is free.
// The process that has the lock writes into the file who it is, so that the next one can say whom to stop.
//
// Not guaranteed: on a system without flock every claim succeeds. A file system that has no locks refuses
// them, and Take says so.
package claim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// ErrTaken says that another process has the claim.
var ErrTaken = errors.New("the folder is in use")

// Claim is a claim that this process has. Take makes one.
type Claim struct{ file *os.File }

// Take claims by the file path, which it makes if it is missing; the folder must exist. The error is
// ErrTaken, with the holder, when another process has the claim.
func Take(path string) (*Claim, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	free, err := tryLock(f)
	switch {
	case err != nil:
		err = fmt.Errorf("lock %s: %w: its file system has no locks (flock); name a folder on a local disk",
			path, err)
	case !free:
		err = fmt.Errorf("%w: %s has locked %s", ErrTaken, Holder(path), path)
	default:
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Claim{f}, nil
}

// Release gives the claim up. The file stays.
func (c *Claim) Release() error { return c.file.Close() }

// sign writes who has the claim. A full disk does not prevent a claim: then nobody knows the holder.
func sign(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	command := filepath.Base(os.Args[0])
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		command += " " + os.Args[1] // the subcommand; other arguments may hold secrets
	}
	_, _ = fmt.Fprintf(f, "process %d (%s) on %s\n", os.Getpid(), command, host)
	return nil
}

// maxHolder bounds the text of a holder, in bytes.
const maxHolder = 200

// Holder returns who last took the claim by the file path, such as "process 12 (reelmill serve) on host-7";
// or "another process" if that is unknown. It is of use while the claim is taken.
func Holder(path string) string {
	text, err := os.ReadFile(path)
	line, _, whole := strings.Cut(string(text), "\n")
	if err != nil || !whole || len(line) > maxHolder || strings.ContainsFunc(line, unprintable) {
		return "another process"
	}
	return line
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
