// Command escape is a stand-in for an ffmpeg that a hostile file has taken over: it tries to get out of its
// cage, in every way that it knows. It prints a line for each attempt: its name and "escaped", or the name of
// the error that refused it. Outside of a cage it does no harm.
//
// usage: escape OUT INPUT OTHER VICTIM
//
// OUT is a folder that it may write, INPUT a file that it may read, OTHER a file of another video, and VICTIM
// the id of another process.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

var (
	out, input, other string
	victim            int
)

func pid(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	if len(os.Args) < 5 {
		return // one of a bomb
	}
	out, input, other, victim = os.Args[1], os.Args[2], os.Args[3], pid(os.Args[4])
	for _, list := range [][]attempt{files(), programs(), sockets(), others(), kernel(), resources()} {
		for _, a := range list {
			fmt.Println(a.name, told(a.try()))
		}
	}
}

// attempt returns nil if it succeeds.
type attempt struct {
	name string
	try  func() error
}

func told(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "escaped"
	case errors.As(err, &errno) && unix.ErrnoName(errno) != "":
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func open(path string, flags int) func() error {
	return func() error {
		fd, err := unix.Open(path, flags, 0o600)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
}

// call makes a system call.
func call(number uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		r, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		if r > 2 {
			_ = unix.Close(int(r)) // a descriptor
		}
		return nil
	}
}

func files() []attempt {
	beside := filepath.Join(filepath.Dir(out), "beside")
	in := func(name string) string { return filepath.Join(out, name) }
	list := func() error { _, err := os.ReadDir(filepath.Dir(other)); return err }
	return []attempt{
		{"read_etc_passwd", open("/etc/passwd", unix.O_RDONLY)},
		{"read_other_video", open(other, unix.O_RDONLY)},
		{"read_parents_environment", open("/proc/"+strconv.Itoa(os.Getppid())+"/environ", unix.O_RDONLY)},
		{"list_data_folder", list},
		{"write_tmp", open("/tmp/reelmill-escape-"+strconv.Itoa(os.Getpid()), unix.O_CREAT|unix.O_WRONLY)},
		{"write_beside", open(beside, unix.O_CREAT|unix.O_WRONLY)},
		{"write_input", open(input, unix.O_WRONLY)},
		{"truncate_input_by_open", open(input, unix.O_RDONLY|unix.O_TRUNC)},
		{"truncate_input", func() error { return unix.Truncate(input, 1) }},
		{"write_other_video", open(other, unix.O_RDWR)},
		{"write_oom_score", open("/proc/self/oom_score_adj", unix.O_WRONLY)},
		{"write_sysctl", open("/proc/sys/kernel/hostname", unix.O_RDWR)},
		{"open_device", open("/dev/tty", unix.O_RDWR)},
		{"open_disk", open("/dev/vda", unix.O_RDONLY)},
		{"make_device", func() error { return unix.Mknod(in("null"), unix.S_IFCHR|0o600, 1<<8|3) }},
		{"make_fifo", func() error { return unix.Mkfifo(in("fifo"), 0o600) }},
		{"make_folder", func() error { return unix.Mkdir(in("folder"), 0o700) }},
		{"symlink", func() error { return unix.Symlink("/etc/passwd", in("link")) }},
		{"hard_link_other_video", func() error { return unix.Link(other, in("stolen")) }},
		{"chmod_other_video", func() error { return unix.Chmod(other, 0o666) }},
		{"chown_input", func() error { return unix.Chown(input, os.Getuid(), os.Getgid()) }},
		{"date_other_video", func() error { return unix.Utimes(other, make([]unix.Timeval, 2)) }},
		{"label_other_video", func() error { return unix.Setxattr(other, "user.x", []byte("x"), 0) }},
		{"watch_data_folder", func() error {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err == nil {
				_, err = unix.InotifyAddWatch(fd, filepath.Dir(other), unix.IN_CREATE)
			}
			return err
		}},
		{"open_by_handle", func() error {
			handle, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, other, 0)
			_, _ = handle, mount
			return err
		}},
		{"make_file_that_runs_as_owner", func() error {
			fd, err := unix.Open(in("owner"), unix.O_CREAT|unix.O_WRONLY, unix.S_ISUID|unix.S_ISGID|0o755)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
		{"leave_device", func() error {
			if err := os.WriteFile(in("moved"), nil, 0o600); err != nil {
				return err
			}
			return unix.Renameat2(unix.AT_FDCWD, in("moved"), unix.AT_FDCWD, in("away"), unix.RENAME_WHITEOUT)
		}},
		{"rename_other_video", func() error {
			err := unix.Rename(other, in("renamed"))
			if err == nil {
				err = unix.Rename(in("renamed"), other)
			}
			return err
		}},
		{"delete_other_video", func() error {
			text, _ := os.ReadFile(other)
			err := unix.Unlink(other)
			if err == nil {
				err = os.WriteFile(other, text, 0o600)
			}
			return err
		}},
		{"chroot", func() error { return unix.Chroot(out) }},
	}
}

// execute returns nil if a program can be executed: in another process, since it would end this one.
func execute(path string, args ...string) func() error {
	return func() error {
		p, err := os.StartProcess(path, append([]string{path}, args...), &os.ProcAttr{})
		if err != nil {
			return err
		}
		_, err = p.Wait()
		return err
	}
}

// replace tries execve itself, which does not need another process; it returns only if that fails.
func replace(path string, args ...string) func() error {
	return func() error { return unix.Exec(path, append([]string{path}, args...), nil) }
}

func programs() []attempt {
	written := filepath.Join(out, "program")
	return []attempt{
		{"start_shell", execute("/bin/sh", "-c", "exit 0")},
		{"execute_shell", refusedOnly(replace("/bin/sh", "-c", "exit 0"))},
		{"execute_written_program", refusedOnly(func() error {
			if err := os.WriteFile(written, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // it is to be executed
				return err
			}
			return replace(written)()
		})},
		{"execute_memory", refusedOnly(func() error {
			return call(unix.SYS_EXECVEAT, uintptr(unix.AT_FDCWD&0xffffffff), 0, 0, 0, 0)()
		})},
		{"fork", fork(0)},
		{"clone3", refusedOnly(call(unix.SYS_CLONE3, 0, 0))},
		{"fork_bomb", bomb},
	}
}

// fork makes a process that ends at once.
func fork(flags uintptr) func() error {
	return func() error {
		child, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if child == 0 {
			for {
				_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
		_, err := unix.Wait4(int(child), nil, 0, nil)
		return err
	}
}

// refusedOnly keeps an attempt from being made where nothing refuses it, since it would end this process or
// mean nothing.
func refusedOnly(try func() error) func() error {
	return func() error {
		if os.Getenv("FREE") != "" {
			return errors.New("not-tried")
		}
		return try()
	}
}

// bomb starts a few processes, which is enough to see.
func bomb() error {
	for range 20 {
		if err := execute("/proc/self/exe", "x")(); err != nil {
			return err
		}
	}
	return nil
}
