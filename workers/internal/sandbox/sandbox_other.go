//go:build unix && !(linux && (amd64 || arm64))

package sandbox

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// New returns nil, the Cage that starts programs without one, unless a cage is required.
func New(_ context.Context, m Mode) (*Cage, error) {
	if m == Required {
		return nil, &Unavailable{[]string{"only Linux on amd64 and arm64 has it"}}
	}
	return nil, nil
}

// start is not called: no cage is made here.
func (c *Cage) start(ctx context.Context, cmd *exec.Cmd, s Spec) error { return startFree(ctx, cmd, s) }

// self is this program.
var self, _ = os.Executable() //nolint:errcheck // then no task starts, and its error says so

// processAttributes gives a process its own group. Without a parent-death signal, a program can outlive our
// crash.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func setNice(int, int) error { return syscall.ENOSYS }

func setLimits(int, Limits) error { return nil }
