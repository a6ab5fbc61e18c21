package ffmpeg

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// cpuTick is a clock tick of /proc: USER_HZ is 100 on every architecture that Go supports.
const cpuTick = time.Second / 100

// cpuTicks returns the CPU time that a process has used, in clock ticks; 0 if unknown. Source: proc(5),
// stat, fields 14 and 15, counted from after the command name, which may contain spaces and brackets.
func cpuTicks(pid int) int64 {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0
	}
	fields := bytes.Fields(stat[i+1:]) // starts with field 3
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return user + system
}
