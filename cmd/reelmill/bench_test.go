package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkServeStart measures the time from the start of `reelmill serve` on an empty folder to its ready
// line, and the memory it then holds idle (resident set size, from /proc).
func BenchmarkServeStart(b *testing.B) {
	var idle, peak int64
	var wait time.Duration
	for b.Loop() {
		begin := time.Now()
		p := startServe(b, binary, b.TempDir())
		wait += time.Since(begin)
		idle = max(idle, procStatus(b, p.cmd.Process.Pid, "VmRSS"))
		peak = max(peak, procStatus(b, p.cmd.Process.Pid, "VmHWM"))
		b.StopTimer()
		p.kill()
		b.StartTimer()
	}
	b.ReportMetric(float64(wait.Milliseconds())/float64(b.N), "ms-to-ready")
	b.ReportMetric(float64(idle)/1e6, "MB-idle")
	b.ReportMetric(float64(peak)/1e6, "MB-peak")
}

// procStatus returns a size of a process in bytes.
func procStatus(b *testing.B, pid int, field string) int64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatalf("no %s in /proc/%d/status", field, pid)
	return 0
}
