// Package sandbox starts other programs, such as ffmpeg, in a cage: what they may do is what their Spec says,
// even if an uploaded file has taken them over. It is the only package that starts programs for workers.
// Tasks, which are functions of this program, run in the same cage, in a process of their own.
//
// A caged program
//
//   - reads the files of Spec.Read, its libraries, and nothing else; reads and writes the folders of
//     Spec.Write; executes only itself and its dynamic loader (Landlock);
//   - has no socket of any kind, starts no process, traces, signals and mounts nothing, becomes nobody else,
//     and makes only system calls of a list (seccomp);
//   - has an empty environment, no descriptor but those that its Spec names, no capability but, for root,
//     that of opening files of other users where Landlock lets it, and cannot gain any (no_new_privs);
//   - has limits of memory, CPU time, file size, descriptors and core dumps, and dies with this process;
//   - is in a network namespace of its own without any interface, where the kernel lets us make one. Where
//     it does not, seccomp and Landlock keep it from the network all the same.
//
// How: Cage.Run starts a small program, which restricts itself and then executes the other one; package
// confine writes it. New tries all this out on a child before it says that it works.
//
// Not guaranteed:
//
//   - A caged program may see whether a file exists, and its size, where the user of this process may:
//     Landlock does not watch stat. It may use all of its CPU time and memory.
//   - A caged program may run other code: its loader loads every program that it may read, also one that it
//     has written. That is in the same cage.
//   - As root, the number of threads has no limit but memory and CPU time: the kernel exempts root.
//   - A bug in the kernel may open the cage. Only Linux has one, on amd64 and arm64.
package sandbox
