package sandbox

import (
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNiceProcess: the process is nice, and processes forked from the same thread outlive it. The
// parent-death signal is sent when a thread ends, so a thread that forks must not end.
func TestNiceProcess(t *testing.T) {
	for _, c := range []*Cage{nil, nil, nil, nil, newCage(t), newCage(t), newCage(t)} {
		other := exec.CommandContext(t.Context(), "cat")
		other.SysProcAttr = processAttributes()
		input, err := other.StdinPipe()
		if err == nil {
			err = other.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		nice := 0
		err = c.Run(t.Context(), Spec{Program: "/bin/sleep", Args: []string{"0.01"}, Nice: 7, Started: func(pid int) {
			got, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
			if err != nil && err != syscall.ESRCH {
				t.Error(err)
			}
			nice = 20 - got // the kernel answers 40 to 1 for niceness -20 to 19: getpriority(2)
		}})
		if err != nil || nice != 7 {
			t.Errorf("%v, niceness %d", err, nice)
		}
		if err := input.Close(); err != nil {
			t.Fatal(err)
		}
		if err := other.Wait(); err != nil {
			t.Fatalf("another process of ours: %v", err)
		}
	}
}
