package encode

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestWorkLimitsTime checks that the limit grows with the pixels, and that ffmpeg gets it.
func TestWorkLimitsTime(t *testing.T) {
	m := pipeline.Media{
		Size:  50e6,
		Video: pipeline.VideoTrack{CodedWidth: 1000, CodedHeight: 100, FrameRateNum: 25, FrameRateDen: 1},
	}
	dir := t.TempDir()
	told, program := filepath.Join(dir, "told"), filepath.Join(dir, "ffmpeg")
	// A process gets its limits just after its start.
	script := "#!/bin/sh\nfor i in $(seq 1000); do [ $(ulimit -S -t) = unlimited ] || break; done\n" +
		"ulimit -S -t >" + told + "\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		work Work
		want string
	}{
		"a second":         {Decoding(m, 1, 0), "8"},    // 50 MB,  2.5 MP
		"at a higher rate": {Decoding(m, 1, 100), "11"}, // 50 MB,  10 MP
		"an hour":          {Decoding(m, 3600, 0), "3607"},
		"encoded":          {Work{Encoded: 1e9}, "2005"},
		"beyond numbers":   {Work{Decoded: 1e300}, "2592005"},
	} {
		s := Step{Tools: ffmpeg.Tools{FFmpeg: program}, Dir: dir, Work: c.work}
		err := s.Run(t.Context(), ffmpeg.Command{
			Inputs:  []ffmpeg.Input{{Path: "in.mp4", Demuxer: "mov"}},
			Outputs: []ffmpeg.Output{{Format: "null", Maps: []string{"0:v:0"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(told)
		if got := strings.TrimSpace(string(raw)); err != nil || got != c.want {
			t.Errorf("%s: %s s, %v; want %s", name, got, err, c.want)
		}
	}
	if none, pixel := (Work{}).limit(), (Work{Decoded: 1}).limit(); none != 0 || pixel < 5*time.Second {
		t.Errorf("no work gets %s, a pixel %s", none, pixel)
	}
}

// TestWorkOfOneFrame: between two reports, a run gets time for the frames that an encoder looks ahead at.
func TestWorkOfOneFrame(t *testing.T) {
	m := pipeline.Media{
		Size:  100e6,
		Video: pipeline.VideoTrack{CodedWidth: 1000, CodedHeight: 1000, FrameRateNum: 25, FrameRateDen: 1},
	}
	hour := Decoding(m, 3600, 0)
	hour.Encoded = 3600 * 25 * 1e6
	for name, c := range map[string]struct {
		work Work
		want time.Duration
	}{
		"none":     {Work{}, 0},
		"a second": {Decoding(m, 1, 0), 18 * time.Second}, // 5 s, 100 MB, 25 MP
		"an hour":  {hour, 248 * time.Second},             // 5 s, 100 MB, 100 MP decoded and encoded
	} {
		if got := c.work.hang(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestWorkLimitsFiles: the limit of a file grows with the pixels, and ffmpeg cannot write more.
func TestWorkLimitsFiles(t *testing.T) {
	for name, c := range map[string]struct {
		work Work
		want int64
	}{
		"no work":        {Work{}, 0},
		"a picture":      {Work{Decoded: 1e6}, 1 << 30},
		"encoded":        {Work{Decoded: 1e9, Encoded: 1e9}, 1<<30 + 4e9},
		"beyond numbers": {Work{Encoded: 1e300}, 1<<30 + 1<<50},
	} {
		if got := c.work.file(); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
	dir := t.TempDir()
	program, made := filepath.Join(dir, "ffmpeg"), filepath.Join(dir, "out.mp4")
	// A process gets its limits just after its start.
	script := "#!/bin/sh\nfor i in $(seq 10000); do [ $(ulimit -S -f) = unlimited ] || break; done\n" +
		"dd if=/dev/zero of=" + made + " bs=1 seek=1073741824 count=2 2>&1\n" // a hole of 1 GiB
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := Step{Tools: ffmpeg.Tools{FFmpeg: program}, Dir: dir, Work: Work{Encoded: 0.25}}
	err := s.Run(t.Context(), ffmpeg.Command{
		Inputs:  []ffmpeg.Input{{Path: "in.mp4", Demuxer: "mov"}},
		Outputs: []ffmpeg.Output{{Path: made, Format: "mp4", Maps: []string{"0:v:0"}}},
	})
	if info, statErr := os.Stat(made); err == nil || statErr != nil || info.Size() != 1<<30+1 {
		t.Errorf("%v; %+v, %v", err, info, statErr)
	}
}

// TestNoiseFitsItsFile: the most bytes that libx264 writes for a pixel are below those that Work allows, without
// the floor.
func TestNoiseFitsItsFile(t *testing.T) {
	const size, frames = 512, 8
	out := workertest.Clip(t, "a.mp4", "-f", "lavfi", "-i", fmt.Sprintf("color=gray:s=%dx%d:r=8:d=1", size, size),
		"-vf", "noise=alls=100:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "1", "-pix_fmt", "yuv420p")
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	perPixel := float64(info.Size()) / (size * size * frames)
	if perPixel > bytesPerEncoded || perPixel < bytesPerEncoded/2 {
		t.Errorf("%.2f bytes per pixel", perPixel)
	}
}
