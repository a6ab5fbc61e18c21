//go:build amd64 || arm64

package confine

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestProgram: the process becomes the program of the order, with its arguments, environment and limits.
func TestProgram(t *testing.T) {
	o := order("/usr/bin/env", "env", "sh", "-c", `printf %s. "$@" "$A"; ulimit -n; nice; echo >&4`, "", "", "b c", "ä\n")
	o.Env = []string{"A=1", "PATH=/usr/bin:/bin"}
	o.Limits, o.Nice = []Limit{{unix.RLIMIT_NOFILE, 77, 77}}, 7
	stdout, stderr, status, err := run(t, o)
	if want := ".b c.ä\n.1.77\n7\n"; stdout != want || len(status) > 0 {
		t.Errorf("%q, want %q; %v; status %q", stdout, want, err, status)
	}
	if !strings.Contains(stderr, "4") { // the shell found no descriptor 4
		t.Errorf("the status descriptor is open in the program: %q", stderr)
	}
}

// TestNoRights: the program has no capability and gains none.
func TestNoRights(t *testing.T) {
	o := order("/bin/grep", "grep", "-E", "^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs):", "/proc/self/status")
	stdout, _, _, err := run(t, o)
	var want strings.Builder
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		want.WriteString(set + ":\t0000000000000000\n")
	}
	want.WriteString("NoNewPrivs:\t1\n")
	if stdout != want.String() {
		t.Errorf("%v, %q", err, stdout)
	}
}

// TestFailures: whatever the order asks for and cannot have, the program says what, and executes nothing.
func TestFailures(t *testing.T) {
	allow := binary.NativeEndian.AppendUint32([]byte{unix.BPF_RET | unix.BPF_K, 0, 0, 0}, unix.SECCOMP_RET_ALLOW)
	for _, c := range []struct {
		want  Failure
		spoil func(o *Order)
	}{
		{Failure{"execute /no/such", int(unix.ENOENT)}, func(o *Order) { o.Path = "/no/such" }},
		{Failure{"network namespace", int(unix.EBADF)}, func(o *Order) { o.Network = 99 }},
		{Failure{"limits", int(unix.EINVAL)}, func(o *Order) { o.Limits = []Limit{{Resource: 99}} }},
		{Failure{"memory limits", int(unix.EINVAL)}, func(o *Order) { o.Memory = []Limit{{Soft: 2, Hard: 1}} }},
		{Failure{"Landlock", int(unix.EBADF)}, func(o *Order) { o.Ruleset = 99 }},
		{Failure{"descriptors", int(unix.EBADF)}, func(o *Order) { o.Image = 99 }},
		{Failure{"seccomp", int(unix.EINVAL)}, func(o *Order) { o.Filter = make([]byte, 8) }},
		{Failure{"check of Landlock: open a folder that is not allowed", 0}, func(o *Order) {
			o.Check, o.Ruleset = true, 3
		}},
		{Failure{"check of seccomp: open a socket", 0}, func(o *Order) { o.Check, o.Filter = true, allow }},
	} {
		o := order("/bin/echo", "echo", "executed")
		c.spoil(&o)
		stdout, stderr, status, err := run(t, o)
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) || exit.ExitCode() != ExitFailed || stdout+stderr != "" {
			t.Errorf("%+v: %v, %q, %q", c.want, err, stdout, stderr)
		}
		if got, ok := o.Program().Failure(status); !ok || got != c.want {
			t.Errorf("%+v, %t, want %+v", got, ok, c.want)
		}
		o.Status = 99 // nobody hears of it
		if stdout, _, _, err := run(t, o); !errors.As(err, &exit) || exit.ExitCode() != ExitFailed || stdout != "" {
			t.Errorf("%+v, without a status descriptor: %v, %q", c.want, err, stdout)
		}
	}
}

// TestNoReport: what is no report of this program is not taken for one.
func TestNoReport(t *testing.T) {
	p := order("/bin/echo").Program()
	words := func(n ...uint64) (b []byte) {
		for _, n := range n {
			b = binary.NativeEndian.AppendUint64(b, n)
		}
		return b
	}
	last := p.calls + sizeOf[call]()*uint64(len(p.steps)-1)
	if f, ok := p.Failure(words(last, ^uint64(0))); !ok || f.Errno != 1 || f.What != "execute /bin/echo" {
		t.Errorf("a report: %+v, %t", f, ok)
	}
	for _, status := range [][]byte{
		nil, words(p.calls), words(p.calls, 1, 2), words(0, 1), words(p.calls-1, 1), words(last+sizeOf[call](), 1),
	} {
		if f, ok := p.Failure(status); ok {
			t.Errorf("%x: %+v", status, f)
		}
	}
}

// order returns an order that restricts next to nothing.
func order(path string, args ...string) Order {
	return Order{Path: path, Args: args, Status: 4, Image: Unset, Ruleset: Unset, Network: Unset, Keep: 2, Pid: Unset}
}

// run executes the program of an order. Its descriptor 3 is a Landlock ruleset that refuses only to make links;
// descriptor 4 gets the report.
func run(t *testing.T, o Order) (stdout, stderr string, reported []byte, err error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err == nil {
		err = errors.Join(o.Program().WriteTo(file), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), name)
	cmd.ExtraFiles = []*os.File{ruleset(t), write}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	reported, readErr := io.ReadAll(read)
	if err := errors.Join(readErr, read.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), reported, err
}

func ruleset(t *testing.T) *os.File {
	t.Helper()
	attr := struct{ fs uint64 }{unix.LANDLOCK_ACCESS_FS_MAKE_SYM}
	fd, _, e := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		t.Fatal(e)
	}
	f := os.NewFile(fd, "ruleset")
	t.Cleanup(func() { _ = f.Close() })
	return f
}
