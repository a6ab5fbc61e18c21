//go:build amd64 || arm64

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Rights of Landlock, as unions of its access rights.
const (
	mayRead    = ll.AccessFSReadFile
	mayExecute = ll.AccessFSReadFile | ll.AccessFSExecute
	mayWrite   = ll.AccessFSReadFile | ll.AccessFSReadDir | ll.AccessFSWriteFile | ll.AccessFSTruncate |
		ll.AccessFSMakeReg | ll.AccessFSRemoveFile
	ofFiles = mayExecute | ll.AccessFSWriteFile | ll.AccessFSTruncate // the others are of folders
)

// handled returns all that the kernel's Landlock can refuse; everything in it that no rule allows is refused.
// Source: the table of ABI versions in the kernel's documentation of Landlock.
func handled(abi int) ll.RulesetAttr {
	attr := ll.RulesetAttr{HandledAccessFS: ll.AccessFSMakeSym<<1 - 1}
	if abi >= 2 {
		attr.HandledAccessFS |= ll.AccessFSRefer
	}
	if abi >= 3 {
		attr.HandledAccessFS |= ll.AccessFSTruncate
	}
	if abi >= 4 {
		attr.HandledAccessNet = ll.AccessNetBindTCP | ll.AccessNetConnectTCP
	}
	if abi >= 5 {
		attr.HandledAccessFS |= ll.AccessFSIoctlDev
	}
	if abi >= 6 {
		attr.Scoped = ll.ScopeAbstractUnixSocket | ll.ScopeSignal
	}
	if abi >= 9 {
		attr.HandledAccessFS |= ll.AccessFSResolveUnix
	}
	if abi >= 10 {
		attr.HandledAccessNet |= ll.AccessNetBindUDP | ll.AccessNetConnectSendUDP
	}
	return attr
}

// landlockABI returns the version of the kernel's Landlock; 0: it has none, or it is off.
func landlockABI() int {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}

// ruleset makes a Landlock ruleset for a spec.
func (c *Cage) ruleset(s Spec, program needs) (*os.File, error) {
	attr := handled(c.abi)
	fd, err := ll.LandlockCreateRuleset(&attr, 0)
	if err != nil {
		return nil, fmt.Errorf("landlock_create_ruleset: %w", err)
	}
	set := os.NewFile(uintptr(fd), "landlock")
	for _, r := range []struct {
		paths  []string
		rights uint64
	}{
		{program.execute, mayExecute}, {program.libraries, mayRead},
		{[]string{"/dev/null", "/dev/urandom"}, mayRead},
		{s.Read, mayRead}, {s.Write, mayWrite},
	} {
		for _, path := range r.paths {
			if err := allow(fd, path, r.rights&attr.HandledAccessFS); err != nil {
				return nil, errors.Join(fmt.Errorf("landlock: allow %s: %w", path, err), set.Close())
			}
		}
	}
	return set, nil
}

// allow adds a rule. It adds none for a path that does not exist: the program finds out.
func allow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= ofFiles
	}
	return ll.LandlockAddPathBeneathRule(ruleset, &ll.PathBeneathAttr{AllowedAccess: rights, ParentFd: fd}, 0)
}
