package ffmpeg

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// childEnv makes this test binary run one blocked ffmpeg and print its process id. TestFFmpegDiesWithUs
// kills this process.
const childEnv = "REELMILL_FFMPEG_TEST_CHILD"

func TestMain(m *testing.M) {
	if fifo := os.Getenv(childEnv); fifo != "" {
		os.Exit(runAsChild(fifo))
	}
	goleak.VerifyTestMain(m)
}

// generate runs ffmpeg directly, without this package, to make an input.
func generate(t testing.TB, args ...string) {
	t.Helper()
	args = append([]string{"-nostdin", "-v", "error", "-y"}, args...)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("generate %q: %v\n%s", args, err, out)
	}
}

// video makes a small H.264 and AAC file of whole seconds at 25 fps, with its index first, and returns its
// path.
func video(t testing.TB, name string, secs int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	d := strconv.Itoa(secs)
	generate(t, "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d="+d, "-f", "lavfi", "-i", "sine=d="+d,
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac",
		"-movflags", "+faststart", path)
	return path
}

func truncate(t testing.TB, path string, keep float64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(float64(info.Size())*keep)); err != nil {
		t.Fatal(err)
	}
}

// script makes a stand-in for ffmpeg. No process is forked while the file is open for writing: a child that
// still has it open would make its execution fail with ETXTBSY.
func script(t testing.TB, body string) Tools {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Tools{FFmpeg: path, FFprobe: path}
}

// toNull is a command that decodes a file and discards the frames.
func toNull(path string) Command {
	return Command{
		Inputs:  []Input{{Path: path}},
		Outputs: []Output{{Format: "null", Maps: []string{"0:v:0"}}},
	}
}

// waitFor polls for something that another process does.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	pipelinetest.Until(t, what, cond)
}

// gone reports whether a process has ended. An orphan that nobody reaps stays as a zombie, which counts as
// ended.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	i := strings.LastIndexByte(string(stat), ')')
	return i >= 0 && strings.HasPrefix(strings.TrimSpace(string(stat[i+1:])), "Z")
}

func readPid(path string) int {
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(data), "\n") {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

func testContext(t testing.TB) context.Context { return pipelinetest.Context(t) }
