// Package confine writes small programs. Each turns its process into another program, which can do nothing
// but what it was allowed. Package sandbox decides what is allowed, and starts them.
//
// Between fork and exec no Go code can run, and the start of a Go program takes milliseconds. So the process
// first becomes a program of a few hundred bytes:
//
//  1. Order.Program writes it, as an ELF file: a loop in assembly (loop_linux_*.s), which is always the same,
//     and a list of system calls with all that they point to (steps_linux.go).
//  2. Package sandbox puts it into an anonymous file, and executes that.
//  3. The loop makes the calls one after the other: limits, no_new_privs, a death signal, no capabilities,
//     Landlock, descriptors, seccomp, memory; the last one executes the other program. Landlock's rules and
//     the seccomp filter come ready-made from the parent.
//  4. If a call does not end as it must, the loop writes which one and how to the status descriptor, and
//     exits with ExitFailed. The other program never runs with fewer restrictions than ordered. A started
//     program closes the status descriptor, which tells the parent that all is in force.
package confine
