//go:build amd64 || arm64

package sandbox

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLimitsOfOurOwn: a process that has limits itself starts programs all the same, also with limits that are
// higher. In a cage even root may not raise one.
func TestLimitsOfOurOwn(t *testing.T) {
	const own = 1 << 50 // more than this test takes, since it cannot be raised again
	for _, resource := range []int{unix.RLIMIT_DATA, unix.RLIMIT_AS, unix.RLIMIT_FSIZE, unix.RLIMIT_CPU} {
		var r unix.Rlimit
		if err := unix.Getrlimit(resource, &r); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: min(r.Cur, own), Max: min(r.Max, own)}); err != nil {
			t.Fatal(err)
		}
	}
	higher := Limits{Memory: 1 << 60, FileSize: 1 << 60, CPU: 1<<63 - 1, Files: 1 << 30}
	for name, c := range map[string]*Cage{"caged": newCage(t), "free": nil} {
		var out, stderr bytes.Buffer
		err := c.Run(t.Context(), Spec{Task: "echo", Args: []string{"a"}, Stdout: &out, Stderr: &stderr, Limits: higher})
		if err != nil || out.String() != `["a"] ` {
			t.Errorf("%s: %v, %q, %q", name, err, &out, &stderr)
		}
	}
	if l := limit(unix.RLIMIT_FSIZE, 1, 2); l.Soft != 1 || l.Hard != 2 {
		t.Errorf("a lower limit became %+v", l)
	}
}

// noPrograms names the environment variable of a process in which no program in memory may start.
const noPrograms = "REELMILL_SANDBOX_TEST_NO_PROGRAMS"

// TestNoProgramsInMemory: where vm.memfd_noexec forbids programs in memory, a required cage says so, and with
// best effort programs run without one.
func TestNoProgramsInMemory(t *testing.T) {
	if os.Getenv(noPrograms) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestNoProgramsInMemory$", "-test.v")
		cmd.Env = append(os.Environ(), noPrograms+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWPID | unix.CLONE_NEWUSER,
			UidMappings: same(os.Getuid()), GidMappings: same(os.Getgid()),
		}
		text, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(text), "--- PASS: TestNoProgramsInMemory ") {
			t.Errorf("%v\n%s", err, text)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0); err != nil { // of this pid namespace
		t.Fatal(err)
	}
	unavailable := new(Unavailable)
	_, err := New(t.Context(), Required)
	if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "memfd_noexec") {
		t.Errorf("required: %v", err)
	}
	c, err := New(t.Context(), BestEffort)
	if err != nil {
		t.Fatal(err)
	}
	input, limited, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = c.Run(t.Context(), Spec{
		Program: "/bin/sh", Args: []string{"-c", "read line; ulimit -n"}, Stdin: input, Stdout: &out,
		Started: func(int) { _ = limited.Close() }, // without a cage, limits come after the start
	})
	if err != nil || out.String() != "256\n" || c.Tier() != TierOff || len(c.Missing()) != 2 {
		t.Errorf("%v, %q, %v", err, &out, c)
	}
}

// TestCanceledStart: what is tried while the program ends says nothing about the machine, nor about what a
// program needs.
func TestCanceledStart(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, m := range []Mode{Required, BestEffort} {
		if c, err := New(ended, m); c != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %v", m, c, err)
		}
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	c := newCage(t)
	if n, err := c.needs(ended, program); !errors.Is(err, context.Canceled) || len(c.programs) > 0 {
		t.Errorf("%+v, %v; kept: %+v", n, err, c.programs)
	}
	if err := c.Run(t.Context(), Spec{Program: program}); err != nil {
		t.Errorf("later: %v", err)
	}
}

// TestLoaderIsInTheCage: the dynamic loader may be executed, and runs a program that the caged one has written.
// That program has the same cage.
func TestLoaderIsInTheCage(t *testing.T) {
	env, cat := "/usr/bin/env", filepath.Join(folder(t), "cat")
	binary, err := elf.Open(env)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := interpreter(binary)
	if err := errors.Join(err, binary.Close()); err != nil || loader == "" {
		t.Fatalf("%q, %v", loader, err)
	}
	raw, err := os.ReadFile("/bin/cat")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cat, raw, 0o755); err != nil { //nolint:gosec // it is to be executed
		t.Fatal(err)
	}
	own := write(t, filepath.Join(filepath.Dir(cat), "own"), "its own file")
	for name, want := range map[string]string{own: "its own file", "/etc/passwd": cat + ": /etc/passwd: Permission denied\n"} {
		var out bytes.Buffer
		err := newCage(t).Run(t.Context(), Spec{
			Program: env, Args: []string{loader, cat, name}, Write: []string{filepath.Dir(cat)}, Stdout: &out, Stderr: &out,
		})
		if out.String() != want || (err == nil) != (name == own) {
			t.Errorf("%s: %v, %q", name, err, &out)
		}
	}
}

// TestLibrariesElsewhere: of a folder that is not only of libraries, a program may read its libraries alone.
func TestLibrariesElsewhere(t *testing.T) {
	n := needs{libraries: []string{"/usr/lib"}}
	n.addLibraries([]byte("\tlinux-vdso.so.1 (0x1)\n\tlibm.so.6 => /usr/lib/x/libm.so.6 (0x2)\n" +
		"\tliba.so => /srv/app/liba.so (0x3)\n\tlibb.so => not found\n\tliba.so => /srv/app/liba.so (0x3)\n"))
	if want := []string{"/usr/lib", "/srv/app/liba.so"}; !slices.Equal(n.libraries, want) {
		t.Errorf("%q, want %q", n.libraries, want)
	}
}

// TestTurnedLink: a program is started from where its link leads now.
func TestTurnedLink(t *testing.T) {
	c, link := newCage(t), filepath.Join(folder(t), "program")
	for _, name := range []string{"true", "sleep"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, link)
		}
		if err == nil {
			err = c.Run(t.Context(), Spec{Program: link, Args: []string{"0"}})
		}
		if err := errors.Join(err, os.Remove(link)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
