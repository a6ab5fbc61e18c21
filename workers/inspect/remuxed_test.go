package inspect

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestGroupsWithoutAnIndex: a file without an index has the same facts about its groups as an MP4.
func TestGroupsWithoutAnIndex(t *testing.T) {
	plain := workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "25", "14"), workertest.Tone("14"),
		[]string{"-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "50", "-sc_threshold", "0", "-c:a", "aac"})...)
	as := func(name string, more ...string) string {
		return workertest.Clip(t, name, args([]string{"-i", plain, "-c", "copy"}, more)...)
	}
	for name, path := range map[string]string{
		"MP4": plain, "Matroska": as("a.mkv"), "MPEG-TS": as("a.ts"), "FLV": as("a.flv"),
		"fragments":              as("a.mp4", "-movflags", "frag_keyframe+empty_moov"),
		"fragments with an edit": as("a.mp4", "-movflags", "frag_keyframe+delay_moov"),
	} {
		dir := t.TempDir()
		m, err := New(ffmpeg.Tools{}, Limits{}).look(t.Context(), path, dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g := m.Video.Groups
		if g == nil || !g.Closed || g.Changes || math.Abs(g.Longest-2) > 0.01 || g.Remuxed != (name != "MP4") ||
			math.Abs(g.FrameLeast-0.04) > 0.002 || math.Abs(g.FrameMost-0.04) > 0.002 {
			t.Errorf("%s: %+v", name, g)
			continue
		}
		lead := picture.Lead(*m)
		near := func(got, want float64) bool { return math.Abs(got-want) < 0.002 }
		if want := []float64{0, 6 + lead, 12 + lead}; !slices.EqualFunc(g.Borders, want, near) {
			t.Errorf("%s: borders %v, want %v", name, g.Borders, want)
		}
		if m.Video.Bitrate <= 0 || m.Video.Edits == pipeline.EditsComplex {
			t.Errorf("%s: %d bits/s, edits %q", name, m.Video.Bitrate, m.Video.Edits)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*.mp4")); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

// TestBordersBehindPriming: segments can begin at keyframes even if the AAC encoder's priming, a frame before
// the audio, moves the video to the middle between two frames of the grid.
func TestBordersBehindPriming(t *testing.T) {
	for _, c := range pipelinetest.Sweep([]struct {
		rate  string
		sound int // Hz
		lead  float64
	}{
		{"24000/1001", 48000, 1001.0 / 24000}, {"20", 44100, 0}, {"60", 44100, 1.0 / 30},
		{"24", 44100, 1.0 / 24}, {"25", 48000, 0.04}, {"30", 48000, 1.0 / 30}, {"50", 48000, 0.04},
	}, 3) {
		for _, name := range []string{"a.mkv", "a.ts"} {
			path := workertest.Clip(t, name, args(workertest.Pattern("64x64", c.rate, "8"), workertest.Tone("8"), []string{
				"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "100", "-sc_threshold", "0",
				"-force_key_frames", "0,6", "-c:a", "aac", "-ar", strconv.Itoa(c.sound)})...)
			m, err := New(ffmpeg.Tools{}, Limits{}).look(t.Context(), path, t.TempDir())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if delay := picture.Delay(*m); delay < 0.015 || delay > 0.03 {
				t.Errorf("%s of %s frames/s: the video begins %.3f s after the audio", name, c.rate, delay)
			}
			near := func(got, want float64) bool { return math.Abs(got-want) < 0.002 }
			key := math.Ceil(6*m.Video.FrameRate()-1e-6) / m.Video.FrameRate()
			if got, want := m.Video.Groups.Borders, []float64{0, key + c.lead}; !slices.EqualFunc(got, want, near) {
				t.Errorf("%s of %s frames/s: borders %v, want %v", name, c.rate, got, want)
			}
		}
	}
}

// TestParameterSetsThatChange: the facts say that two films are in one stream.
func TestParameterSetsThatChange(t *testing.T) {
	part := func(preset string) []byte {
		data, err := os.ReadFile(workertest.Clip(t, "a.h264", args(workertest.Pattern("64x64", "10", "2"),
			[]string{"-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0", "-preset", preset})...))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	both := filepath.Join(t.TempDir(), "a.h264")
	if err := os.WriteFile(both, append(part("veryslow"), part("superfast")...), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := New(ffmpeg.Tools{}, Limits{}).look(t.Context(),
		workertest.Clip(t, "a.ts", "-i", both, "-c", "copy", "-bsf:v", "setts=ts=N*9000"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if g := m.Video.Groups; g == nil || !g.Changes {
		t.Errorf("%+v", g)
	}
}
