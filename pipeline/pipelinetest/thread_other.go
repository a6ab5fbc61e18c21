//go:build !linux

package pipelinetest

import "golang.org/x/sys/unix"

// thread makes getrusage(2) count the whole process, since it knows no threads here: a machine then seems less
// busy than it is.
const thread = unix.RUSAGE_SELF
