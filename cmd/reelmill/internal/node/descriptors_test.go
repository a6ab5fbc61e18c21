package node

import (
	"strings"
	"testing"
)

// TestDescriptors checks what a limit suffices for, and that the words fit the number of jobs.
func TestDescriptors(t *testing.T) {
	for _, c := range []struct {
		jobs, limit, connections int
		says                     string // in the error, or in the description
	}{
		{0, 255, 0, "may open 255 files, and needs 256 without any job"},
		{1, 263, 0, "may open 263 files, and needs 264 to run a job"},
		{7, 311, 0, "may open 311 files, and needs 312 to run 7 jobs at once"},
		{0, 256, 16, "needs 256 without any job; a server takes up to 16 connections"},
		{7, 312, 16, "needs 312 to run 7 jobs at once; a server takes up to 16 connections"},
		{7, 1024, 194, "up to 194 connections"},
		{0, 1 << 20, 16384, "up to 16384 connections"},
	} {
		d, err := checkDescriptors(c.jobs, c.limit)
		said := d.String()
		if err != nil {
			said = err.Error()
		}
		if (err == nil) != (c.connections > 0) || d.Connections != c.connections || !strings.Contains(said, c.says) {
			t.Errorf("%d jobs with %d: %d connections, %s", c.jobs, c.limit, d.Connections, said)
		}
		if lower := strings.Contains(d.Remedy(), "--slots"); lower != (c.jobs > 0) {
			t.Errorf("%d jobs: %s", c.jobs, d.Remedy())
		}
	}
}
