// Package confine turns a process of this program into another program that can do nothing but what it was
// allowed. Package sandbox decides what is allowed, starts the process, and hands it an Order.
//
// Between fork and exec no Go code can run, so the program executes itself, restricts itself, and then
// executes the other program:
//
//  1. Package sandbox writes the Order to an anonymous file, and starts this program with the number of its
//     descriptor in the environment variable Variable.
//  2. Go initialises this package right after the runtime, before even package syscall, since it imports
//     nothing else: it makes its system calls itself. That is why it has the only func init of the project:
//     reaching main takes tens of milliseconds, because hundreds of packages prepare tables; reaching this
//     package takes one or two. TestImports keeps its imports so few.
//  3. The process obeys the order: limits, no_new_privs, a death signal, no capabilities, Landlock,
//     descriptors, seccomp, memory; then it executes the other program. Landlock's rules and the seccomp
//     filter come ready-made from the parent.
//  4. If a step fails, it writes the reason to the status descriptor and exits with 126. The other program
//     never runs with fewer restrictions than ordered. A started program closes the status descriptor,
//     which tells the parent that all is in force.
//
// In a process without the variable, which is every other one, this package does nothing.
package confine
