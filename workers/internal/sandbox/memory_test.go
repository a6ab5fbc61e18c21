//go:build !race

package sandbox

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestGreedyTask: a task has no more memory than its limit. (With the race detector, it would not start.)
func TestGreedyTask(t *testing.T) {
	var stderr bytes.Buffer
	err := newCage(t).Run(t.Context(), Spec{Task: "greedy", Stderr: &stderr, Limits: Limits{Memory: 512 << 20}})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), "out of memory") {
		t.Errorf("%v, %.300q", err, &stderr)
	}
}
