package confine

// Numbers of system calls.
const (
	sysSeccomp = 317
	sysSetns   = 308
)
