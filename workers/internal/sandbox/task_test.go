package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func echo(in io.Reader, out io.Writer, args []string) error {
	text, err := io.ReadAll(in)
	if err == nil {
		_, err = fmt.Fprintf(out, "%q %s", args, text)
	}
	return err
}

// greedy takes more memory than it may.
func greedy(_ io.Reader, out io.Writer, _ []string) error {
	var all [][]byte
	for range 64 {
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	_, err := fmt.Fprint(out, len(all))
	return err
}

func endless(io.Reader, io.Writer, []string) error {
	for n := 0; ; n++ {
		if n < 0 {
			return nil
		}
	}
}

func failing(io.Reader, io.Writer, []string) error { return errors.New("it is damaged") }

func escaping(io.Reader, io.Writer, []string) error {
	_, err := os.Open("/etc/passwd")
	_, err2 := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	_, err3 := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	return errors.Join(err, err2, err3)
}

// TestTasks runs functions of this program, in a cage and without.
func TestTasks(t *testing.T) {
	for name, c := range map[string]*Cage{"caged": newCage(t), "free": nil} {
		in, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString("words"); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		var out, stderr bytes.Buffer
		err = c.Run(t.Context(), Spec{Task: "echo", Args: []string{"a b", ""}, Stdin: in, Stdout: &out, Stderr: &stderr})
		if err != nil || out.String() != `["a b" ""] words` {
			t.Errorf("%s: %v, %q, %q", name, err, &out, &stderr)
		}
		for task, want := range map[string]string{"failing": "it is damaged\n", "unknown": "there is no task unknown\n"} {
			stderr.Reset()
			err = c.Run(t.Context(), Spec{Task: task, Stderr: &stderr})
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != TaskFailed || stderr.String() != want {
				t.Errorf("%s, %s: %v, %q", name, task, err, &stderr)
			}
		}
	}
}

// TestTaskIsCaged checks that a task has the same cage as a program, and its limits.
func TestTaskIsCaged(t *testing.T) {
	c := newCage(t)
	var stderr bytes.Buffer
	err := c.Run(t.Context(), Spec{Task: "escaping", Stderr: &stderr})
	for _, want := range []string{"/etc/passwd: permission denied", "operation not permitted\n", "/bin/true: operation not permitted"} {
		if err == nil || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v, %q, want %q", err, &stderr, want)
		}
	}
	var exit *exec.ExitError
	err = c.Run(t.Context(), Spec{Task: "endless", Limits: Limits{CPU: time.Second}})
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL { //nolint:forcetypeassert // as on every Unix
		t.Errorf("endless: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Run(ctx, Spec{Task: "endless", Started: func(int) { cancel() }})
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL { //nolint:forcetypeassert // as above
		t.Errorf("canceled: %v", err)
	}
}
