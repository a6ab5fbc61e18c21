package pipelinetest

import "golang.org/x/sys/unix"

// thread makes getrusage(2) count the calling thread alone.
const thread = unix.RUSAGE_THREAD
