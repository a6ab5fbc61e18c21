package confine

// Numbers of system calls.
const (
	sysFcntl       = 25
	sysOpenat      = 56
	sysClose       = 57
	sysWrite       = 64
	sysPread       = 67
	sysCapget      = 90
	sysCapset      = 91
	sysExitGroup   = 94
	sysSetpriority = 140
	sysPrctl       = 167
	sysGetpid      = 172
	sysSocket      = 198
	sysExecve      = 221
	sysPrlimit     = 261
	sysSetns       = 268
	sysSeccomp     = 277
)
