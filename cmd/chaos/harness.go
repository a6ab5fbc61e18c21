package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The settings of a run. They shorten waits so that a run can measure them; a run prints what they change.
const (
	lease      = 6 * time.Second
	sweepEvery = 5 * time.Second
	sweepAge   = 10 * time.Second
	retryMax   = 8 * time.Second
	slots      = "chaos=5;inspect=1;thumbnail=1;transcode=1;audio=1;watermark=1;webhook=4"
	unfinished = 12 // videos at once
	settleTime = 3 * time.Minute
	maxSettle  = 60 * time.Second // of the promise, at p99
	smallDisk  = 600              // MiB
)

const settings = "lease 6s, sweeper every 5s from age 10s, step retries 1,2,4,8 s, " +
	"built-in retry delays (inspect, webhook) cut to 8s"

// harness is what the phases of a run share.
type harness struct {
	options
	began    time.Time
	dir      string
	self     string // this program
	clip     string // a short video
	film     string // a longer one, of one segment
	junk     string // a file that is no video
	receiver *receiver
	points   *points

	mu     sync.Mutex
	random *rand.Rand
	faults map[string]int
}

func newHarness(o options) *harness {
	return &harness{
		options: o, began: time.Now(), random: rand.New(rand.NewPCG(o.seed, 1)), faults: map[string]int{},
	}
}

// clean is the environment of a process without faults.
func (h *harness) clean() environment {
	return environment{Seed: uint64(h.intN(1 << 30)), RetryMaxMS: int(retryMax / time.Millisecond)}
}

func (h *harness) intN(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.random.IntN(n)
}

// between returns a duration between two numbers of seconds.
func (h *harness) between(low, high float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Duration((low + (high-low)*h.random.Float64()) * float64(time.Second))
}

// count counts a fault.
func (h *harness) count(fault string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[fault] += n
}

func (h *harness) sayf(format string, args ...any) {
	fmt.Printf("%7.1fs  %s\n", time.Since(h.began).Seconds(), fmt.Sprintf(format, args...))
}

// run runs both phases, prints the table, and returns errViolated when a promise was broken.
func (h *harness) run(ctx context.Context) (err error) {
	if err := h.prepare(ctx); err != nil {
		return err
	}
	fmt.Printf("seed %d, %.3g minutes, folder %s\nsettings: %s\n", h.seed, h.minutes, h.dir, settings)
	total := time.Duration(h.minutes * float64(time.Minute))
	var results []*result
	for _, p := range []struct {
		name  string
		share float64
		run   func(context.Context, time.Duration) (*result, error)
	}{{"A", 0.7, h.distributed}, {"B", 0.3, h.allInOne}} {
		if h.only != "" && h.only != p.name {
			continue
		}
		share := p.share
		if h.only != "" {
			share = 1
		}
		r, err := p.run(ctx, time.Duration(float64(total)*share))
		if err != nil {
			return fmt.Errorf("phase %s: %w", p.name, err)
		}
		results = append(results, r)
	}
	return h.report(results)
}

// prepare makes the folder, builds the program, and makes the clip and the receiver.
func (h *harness) prepare(ctx context.Context) (err error) {
	if h.self, err = os.Executable(); err != nil {
		return err
	}
	if h.dir, err = os.MkdirTemp("", "reelmill-chaos-"); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(h.dir, "logs"), 0o700); err != nil {
		return err
	}
	h.points = &points{h: h, file: filepath.Join(h.dir, "covered")}
	if h.program == "" {
		h.program = filepath.Join(h.dir, "reelmill")
		out, err := exec.CommandContext(ctx, "go", "build", "-tags", "chaos", "-o", h.program,
			"./cmd/reelmill").CombinedOutput()
		if err != nil {
			return fmt.Errorf("build reelmill: %w\n%s", err, out)
		}
	}
	if h.clip, err = h.record(ctx, "clip.mp4", "320x180", 2); err != nil {
		return err
	}
	if h.film, err = h.record(ctx, "film.mp4", "640x360", 5); err != nil {
		return err
	}
	h.junk = filepath.Join(h.dir, "junk.mp4")
	if err := os.WriteFile(h.junk, []byte(strings.Repeat("this is no video\n", 500)), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.dir, "config.yaml"), []byte(configuration), 0o600); err != nil {
		return err
	}
	h.receiver, err = newReceiver(ctx)
	return err
}

// record makes a video of some seconds.
func (h *harness) record(ctx context.Context, name, size string, seconds int) (string, error) {
	file := filepath.Join(h.dir, name)
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-y",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=25:duration=%d", size, seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=48000:duration=%d", seconds),
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest",
		file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make %s: %w\n%s", name, err, out)
	}
	return file, nil
}

// configuration is the configuration file of every process: pipelines of simulated heavy work, and one of
// real work.
const configuration = `pipelines:
  - name: quick
    steps: [{name: work, worker: chaos, with: {ms: 100, size: 20000}, retry: [1, 2, 4, 8]}]
  - name: middle
    steps: [{name: work, worker: chaos, with: {ms: 700, size: 100000}, retry: [1, 2, 4, 8]}]
  - name: slow
    steps: [{name: work, worker: chaos, with: {ms: 1500, size: 300000}, retry: [1, 2, 4, 8]}]
  - name: long
    steps: [{name: work, worker: chaos, with: {ms: 3000, size: 1000}, retry: [1, 2, 4, 8]}]
  - name: flaky
    steps:
      - {name: work, worker: chaos, with: {ms: 200, size: 5000, fail: "transient:1"}, retry: [1, 2, 4, 8]}
  - name: flakier
    steps:
      - {name: work, worker: chaos, with: {ms: 200, size: 5000, fail: "transient:2"}, retry: [1, 2, 4, 8]}
  - name: broken
    steps: [{name: work, worker: chaos, with: {ms: 200, fail: input}, retry: [1, 2, 4, 8]}]
  - name: real
    steps:
      - {name: thumbnail, worker: thumbnail, retry: [1, 2, 4, 8]}
      - {name: transcode, worker: transcode, retry: [1, 2, 4, 8]}
      - {name: packager, worker: packager, retry: [1, 2, 4, 8]}
`

// freePort returns a free port of loopback.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// sysStatus returns how a process ended, if err says so.
func sysStatus(err error, exit **exec.ExitError) (syscall.WaitStatus, bool) {
	if !errors.As(err, exit) {
		return 0, false
	}
	status, ok := (*exit).Sys().(syscall.WaitStatus)
	return status, ok
}
