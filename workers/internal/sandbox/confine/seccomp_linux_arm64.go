package confine

// Numbers of system calls.
const (
	sysSeccomp = 277
	sysSetns   = 268
)
