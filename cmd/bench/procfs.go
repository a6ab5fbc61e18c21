package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tick is the unit of processor times in /proc, in seconds: USER_HZ is 100 on every Linux that Go runs on.
const tick = 0.01

// procStat has fields of /proc/PID/stat.
type procStat struct {
	parent int
	start  uint64  // ticks after boot; with the PID it identifies a process
	own    float64 // seconds of processor
	gone   float64 // seconds of ended children that were waited for, and of theirs
}

// parseStat reads a line of /proc/PID/stat (proc(5)). It counts fields after the command's name, which may
// have blanks and brackets.
func parseStat(stat []byte) (procStat, error) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return procStat{}, errors.New("no command in stat")
	}
	fields := strings.Fields(string(stat[i+1:])) // the first of them is field 3
	if len(fields) < 20 {
		return procStat{}, fmt.Errorf("%d fields in stat", len(fields))
	}
	var n [20]uint64
	for _, at := range []int{1, 11, 12, 13, 14, 19} {
		var err error
		if n[at], err = strconv.ParseUint(fields[at], 10, 64); err != nil {
			return procStat{}, fmt.Errorf("field %d of stat: %w", at+3, err)
		}
	}
	return procStat{
		parent: int(n[1]), start: n[19],
		own: float64(n[11]+n[12]) * tick, gone: float64(n[13]+n[14]) * tick,
	}, nil
}

func readStat(pid int) (procStat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(raw)
}

// parseStatus returns a size in /proc/PID/status, such as VmHWM, in bytes; 0 if it is missing, as after the
// end of a process.
func parseStatus(status []byte, field string) int64 {
	for line := range strings.Lines(string(status)) {
		value, ok := strings.CutPrefix(line, field+":")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}

// peakRSS returns the peak memory of a process in bytes; 0 when it is gone.
func peakRSS(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return parseStatus(status, "VmHWM")
}

// residentSet returns the memory of a process now, in bytes; 0 when it is gone.
func residentSet(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return parseStatus(status, "VmRSS")
}

// children returns the running children of pid, by process id.
func children(pid int) map[int]procStat {
	found := map[int]procStat{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(child); err == nil && s.parent == pid {
			found[child] = s
		}
	}
	return found
}

// processorTime returns the processor time of a process and all its children, in seconds, also running ones.
func processorTime(pid int) float64 {
	s, err := readStat(pid)
	if err != nil {
		return 0
	}
	sum := s.own + s.gone
	for _, c := range children(pid) {
		sum += c.own + c.gone
	}
	return sum
}

// machineTime has the processor seconds of the machine since boot, summed over its processors.
type machineTime struct{ busy, idle, stolen float64 }

// parseMachineTime reads the first line of /proc/stat (proc(5)). Stolen is what the host gave to others.
func parseMachineTime(stat []byte) (machineTime, error) {
	first, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return machineTime{}, fmt.Errorf("/proc/stat begins with %.60q", first)
	}
	var n [9]float64
	for i := 1; i < 9; i++ {
		ticks, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return machineTime{}, fmt.Errorf("/proc/stat: %w", err)
		}
		n[i] = float64(ticks) * tick
	}
	return machineTime{busy: n[1] + n[2] + n[3] + n[6] + n[7], idle: n[4] + n[5], stolen: n[8]}, nil
}

func readMachineTime() machineTime {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}
	}
	t, err := parseMachineTime(raw)
	if err != nil {
		return machineTime{}
	}
	return t
}

func (t machineTime) since(before machineTime) machineTime {
	return machineTime{t.busy - before.busy, t.idle - before.idle, t.stolen - before.stolen}
}

// folderSize returns the bytes of the files below dir, without files that vanish meanwhile.
func folderSize(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
