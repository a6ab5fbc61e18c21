//go:build amd64 || arm64

package confine

import "unsafe"

// errno is an error number of the kernel; 0 is none.
type errno uintptr

// The numbers that this package tells apart, from errno(3).
const (
	eperm  errno = 1
	eacces errno = 13
	einval errno = 22
	enosys errno = 38
)

// call makes a system call with up to five arguments, and returns what the kernel leaves in the register of
// results. (Package syscall would do it, but is initialised late.)
func call(number, a, b, c, d, e uintptr) uintptr

// failed returns the error in the result of a system call, which is -4095 to -1.
func failed(result uintptr) errno {
	if result > ^uintptr(4095) {
		return errno(-result)
	}
	return 0
}

// text returns s with the NUL that the kernel expects at its end.
func text(s string) *byte {
	b := append([]byte(s), 0)
	return &b[0]
}

// vector returns the strings as the kernel expects argv and envp: a list that ends with a null pointer.
func vector(list []string) []*byte {
	v := make([]*byte, 0, len(list)+1)
	for _, s := range list {
		v = append(v, text(s))
	}
	return append(v, nil)
}

func open(path string) (fd uintptr, err errno) {
	const atFdcwd = ^uintptr(99) // -100
	fd = call(sysOpenat, atFdcwd, uintptr(unsafe.Pointer(text(path))), 0, 0, 0)
	return fd, failed(fd)
}

// pread reads into b, which is not empty, from an offset of a descriptor.
func pread(fd uintptr, b []byte, offset int) (n int, err errno) {
	r := call(sysPread, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(offset), 0)
	return int(r), failed(r)
}

// write writes b, which is not empty. It says nothing of a failure.
func write(fd uintptr, b []byte) {
	call(sysWrite, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0)
}

// exit ends the process with all its threads.
func exit(status uintptr) {
	for {
		call(sysExitGroup, status, 0, 0, 0, 0)
	}
}

// execute turns the process into another program. It returns only if that fails.
func execute(path string, args, env []string) errno {
	argv, envp := vector(args), vector(env)
	return failed(call(sysExecve, uintptr(unsafe.Pointer(text(path))), uintptr(unsafe.Pointer(&argv[0])),
		uintptr(unsafe.Pointer(&envp[0])), 0, 0))
}

func prctl(option, argument uintptr) errno {
	return failed(call(sysPrctl, option, argument, 0, 0, 0))
}
