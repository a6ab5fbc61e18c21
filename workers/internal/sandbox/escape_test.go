//go:build linux

package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// refused are the attempts of testdata/escape, and the error that refuses each in a cage.
var refused = map[string]string{
	"read_etc_passwd": "EACCES", "read_other_video": "EACCES", "read_parents_environment": "EACCES",
	"list_data_folder": "EACCES", "write_tmp": "EACCES", "write_beside": "EACCES", "write_input": "EACCES",
	"truncate_input_by_open": "EPERM", "truncate_input": "EPERM", "write_other_video": "EACCES",
	"write_oom_score": "EACCES", "write_sysctl": "EACCES", "open_device": "EACCES", "open_disk": "EACCES",
	"make_device": "EPERM", "make_fifo": "EPERM", "make_folder": "EACCES", "symlink": "EPERM",
	"hard_link_other_video": "EPERM", "chmod_other_video": "EPERM", "chown_input": "EPERM",
	"date_other_video": "EPERM", "label_other_video": "EPERM", "watch_data_folder": "EPERM",
	"open_by_handle": "EPERM", "make_file_that_runs_as_owner": "EPERM", "leave_device": "EPERM",
	"rename_other_video": "EACCES", "delete_other_video": "EACCES", "chroot": "EPERM",

	"start_shell": "EPERM", "execute_shell": "EACCES", "execute_written_program": "EACCES",
	"execute_memory": "EPERM", "fork": "EPERM", "clone3": "ENOSYS", "fork_bomb": "EPERM",

	"tcp": "EPERM", "tcp6": "EPERM", "mptcp": "EPERM", "udp": "EPERM", "unix": "EPERM", "unix_pair": "EPERM",
	"netlink": "EPERM", "raw": "EPERM", "packet": "EPERM", "crypto_socket": "EPERM",

	"signal_victim": "EPERM", "signal_parent": "EPERM", "signal_thread_of_victim": "EPERM",
	"signal_by_descriptor": "EPERM", "trace_victim": "EPERM", "read_memory_of_victim": "EPERM",
	"limit_victim": "EPERM", "slow_victim": "EPERM", "become_another_user": "EPERM",
	"become_another_group": "EPERM", "gain_capabilities": "EPERM", "leave_process_group": "EPERM",
	"own_descriptor_signals": "EPERM", "type_into_terminal": "EPERM",

	"mount": "EPERM", "namespaces": "EPERM", "user_namespace": "EPERM", "bpf": "EPERM", "perf_event": "EPERM",
	"io_uring": "EPERM", "userfaultfd": "EPERM", "memfd": "EPERM", "keys": "EPERM", "shared_memory": "EPERM",
	"splice": "EPERM", "set_clock": "EPERM", "set_host_name": "EPERM", "change_personality": "EPERM",
	"dump_core": "EPERM", "allow_death_of_parent": "EPERM",

	"descriptors_5000": "EMFILE", "raise_descriptors": "EPERM", "memory_40_gb": "ENOMEM", "core_of_8_gb": "EPERM",
	"environment": "ENOENT",
}

// TestEscapes lets a hostile stand-in for ffmpeg try everything, in a cage and without.
func TestEscapes(t *testing.T) {
	program := build(t, "escape")
	scene := newScene(t)
	caged := scene.run(t, newCage(t), program, nil)
	for name, want := range refused {
		if got := caged[name]; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if len(caged) != len(refused) {
		t.Errorf("%d attempts, but %d are expected: %v", len(caged), len(refused), caged)
	}
	scene.unharmed(t)

	free := scene.run(t, nil, program, []string{"FREE=1"})
	escaped := 0
	for name := range refused {
		if free[name] == "escaped" {
			escaped++
		}
	}
	t.Logf("without a cage %d of %d attempts succeed", escaped, len(free))
	if least := len(refused) / 2; escaped <= least {
		t.Errorf("only %d of %d attempts succeed without a cage: %v", escaped, len(free), free)
	}
}

// TestEscapesOfUser runs TestEscapes as a user without any rights.
func TestEscapesOfUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // then TestEscapes itself has run as one
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestEscapes$", "-test.v")
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	home := folder(t)
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "GOCACHE="+filepath.Join(home, "cache"),
		prebuiltEnv+"="+build(t, "escape"))
	text, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "--- PASS: TestEscapes ") {
		t.Errorf("%v\n%s", err, text)
	}
}

// scene is what an escape may touch.
type scene struct {
	out, input, other string
	victim            *exec.Cmd
}

func newScene(t *testing.T) scene {
	t.Helper()
	dir := folder(t)
	s := scene{
		out: filepath.Join(dir, "job", "out"), input: write(t, filepath.Join(dir, "objects", "input"), "the input"),
		other: write(t, filepath.Join(dir, "objects", "other"), "another video"),
	}
	write(t, filepath.Join(s.out, "x"), "")
	s.victim = exec.CommandContext(t.Context(), "sleep", "3600")
	if err := s.victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.victim.Process.Kill()
		_ = s.victim.Wait()
	})
	return s
}

// run returns what came of each attempt.
func (s scene) run(t *testing.T, c *Cage, program string, env []string) map[string]string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := c.Run(t.Context(), Spec{
		Program: program, Args: []string{s.out, s.input, s.other, strconv.Itoa(s.victim.Process.Pid)}, Env: env,
		Dir: s.out, Read: []string{s.input}, Write: []string{s.out}, Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	results := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), " ")
		results[name] = result
	}
	return results
}

// unharmed checks that nothing has changed but the folder that may be written.
func (s scene) unharmed(t *testing.T) {
	t.Helper()
	for path, want := range map[string]string{s.input: "the input", s.other: "another video"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	if err := s.victim.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the victim: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(s.out))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the folder that may be written: %v, %v", entries, err)
	}
}
