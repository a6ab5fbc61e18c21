package all

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// BenchmarkCage starts programs in a cage and without, in turn, and prints how much longer the middle start
// takes in the cage. (A mean would mostly measure what else the machine does.)
func BenchmarkCage(b *testing.B) {
	cage, err := NewCage(b.Context(), "required", Config{})
	if err != nil {
		b.Fatal(err)
	}
	for _, program := range []string{"true", "ffprobe"} {
		path, err := exec.LookPath(program)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(program, func(b *testing.B) {
			var free, caged []time.Duration
			for b.Loop() {
				free, caged = append(free, start(b, nil, path)), append(caged, start(b, cage, path))
			}
			ms := func(d []time.Duration) float64 {
				slices.Sort(d)
				return float64(d[len(d)/2]) / float64(time.Millisecond)
			}
			b.ReportMetric(ms(free), "free-ms/start")
			b.ReportMetric(ms(caged)-ms(free), "more-ms/start")
		})
	}
	if err := cage.Close(); err != nil {
		b.Error(err)
	}
}

func start(b *testing.B, c *Cage, program string) time.Duration {
	b.Helper()
	began := time.Now()
	if err := c.Run(b.Context(), sandbox.Spec{Program: program, Args: []string{"-version"}}); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// TestCageOfWorkers takes an upload through every worker in the cage.
func TestCageOfWorkers(t *testing.T) {
	cage, err := NewCage(t.Context(), "required", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defaultPipeline(t, Config{Cage: cage})
	if err := cage.Close(); err != nil {
		t.Error(err)
	}
}

// TestFFmpegIsAskedInTheCage: what ffmpeg says about its version when it is tried in the cage is not asked again.
func TestFFmpegIsAskedInTheCage(t *testing.T) {
	real, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(t.TempDir(), "ffmpeg")
	syscall.ForkLock.RLock() // a child with the open file would make its execution fail with ETXTBSY
	err = os.WriteFile(ours, raw, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Find(Config{FFmpeg: ours})
	if err != nil {
		t.Fatal(err)
	}
	if c.Cage, err = NewCage(t.Context(), "required", c); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ours); err != nil { // whoever asks again fails
		t.Fatal(err)
	}
	if known := Programs(t.Context(), c); len(known) != 1 || known[0].Version == "" {
		t.Errorf("ffmpeg is asked again: %+v", known)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if missing := r.CheckMachine(t.Context())["inspect"]; missing != nil {
		t.Errorf("ffmpeg is asked again: %v", missing)
	}
	if err := c.Cage.Close(); err != nil {
		t.Error(err)
	}
}

// TestUnknownModeOfCage: a word that is no mode is refused, and off is no cage.
func TestUnknownModeOfCage(t *testing.T) {
	if _, err := NewCage(t.Context(), "maybe", Config{}); err == nil || !strings.Contains(err.Error(), "best-effort") {
		t.Errorf("%v", err)
	}
	if cage, err := NewCage(t.Context(), "off", Config{}); cage != nil || err != nil || cage.Tier() != TierOff {
		t.Errorf("%v, %v", cage, err)
	}
	if _, err := NewCage(t.Context(), "required", Config{FFmpeg: "/nowhere/ffmpeg"}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("without ffmpeg: %v", err)
	}
}
