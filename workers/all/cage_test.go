package all

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
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
