package confine

// Numbers of system calls.
const (
	sysWrite       = 1
	sysClose       = 3
	sysPread       = 17
	sysGetpid      = 39
	sysSocket      = 41
	sysExecve      = 59
	sysFcntl       = 72
	sysCapget      = 125
	sysCapset      = 126
	sysSetpriority = 141
	sysPrctl       = 157
	sysExitGroup   = 231
	sysOpenat      = 257
	sysPrlimit     = 302
	sysSetns       = 308
	sysSeccomp     = 317
)
