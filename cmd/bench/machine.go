package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline/pause"
)

// machine describes the machine of a run.
type machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory int64   `json:"memory_bytes"`
	Kernel string  `json:"kernel"`
	Load   string  `json:"load_average"` // 1, 5 and 15 minutes, at the start
	Others float64 `json:"others_cores"` // cores that other programs kept busy, over two seconds at the start
}

// quiet is how many cores other programs may keep busy without a warning.
const quiet = 0.1

// readMachine describes this machine. It watches other programs for two seconds.
func readMachine(ctx context.Context) machine {
	m := machine{Cores: runtime.NumCPU()}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpuModel(raw)
	}
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = parseStatus(raw, "MemTotal")
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(raw))
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		fields := strings.Fields(string(raw))
		m.Load = strings.Join(fields[:min(3, len(fields))], " ")
	}
	before, begun := readMachineTime(), time.Now()
	pause.For(ctx, 2*time.Second)
	spent := readMachineTime().since(before)
	m.Others = (spent.busy + spent.stolen) / time.Since(begun).Seconds()
	return m
}

// cpuModel returns the model of the first processor in /proc/cpuinfo.
func cpuModel(cpuinfo []byte) string {
	for line := range strings.Lines(string(cpuinfo)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// String describes the machine for people.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.1f GiB, Linux %s\nload average %s; others keep %.2f cores busy", m.CPU,
		m.Cores, float64(m.Memory)/(1<<30), m.Kernel, m.Load, m.Others)
}

// versions returns the versions of ReelMill and of what it uses; clip is a file that x264 encoded.
func versions(ctx context.Context, program, clip string) map[string]string {
	v := map[string]string{"go": runtime.Version()}
	if out, err := exec.CommandContext(ctx, program, "version").Output(); err == nil {
		v["reelmill"] = strings.TrimSpace(strings.TrimPrefix(string(out), "reelmill "))
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		v["checkout"] = strings.TrimSpace(string(out))
	}
	if out, err := exec.CommandContext(ctx, "ffmpeg", "-version").Output(); err == nil {
		first, _, _ := strings.Cut(string(out), " Copyright")
		v["ffmpeg"] = strings.TrimPrefix(first, "ffmpeg version ")
	}
	if raw, err := os.ReadFile(clip); err == nil {
		v["x264"] = x264Version(raw)
	}
	return v
}

var x264Words = regexp.MustCompile(`x264 - core ([0-9]+(?: r[0-9]+)?(?: [0-9a-f]{7})?)`)

// x264Version finds the version that x264 writes into its output as user data.
func x264Version(video []byte) string {
	if found := x264Words.FindSubmatch(video[:min(len(video), 8<<20)]); found != nil {
		return string(bytes.TrimSpace(found[1]))
	}
	return "unknown"
}

// watchOthers measures other programs during a run. The function that it returns takes the processor time of
// the run, and returns how many cores other programs kept busy.
func watchOthers() func(own float64) float64 {
	before, self, begun := readMachineTime(), ownTime(os.Getpid()), time.Now()
	return func(own float64) float64 {
		spent := readMachineTime().since(before)
		us := ownTime(os.Getpid()) - self
		return max(0, spent.busy+spent.stolen-own-max(0, us)) / max(0.1, time.Since(begun).Seconds())
	}
}

// ownTime returns the processor time of a process without its children.
func ownTime(pid int) float64 {
	s, err := readStat(pid)
	if err != nil {
		return 0
	}
	return s.own
}
