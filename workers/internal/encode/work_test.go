package encode

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// TestWorkLimitsTime checks that the limit grows with the pixels, and that ffmpeg gets it.
func TestWorkLimitsTime(t *testing.T) {
	v := pipeline.VideoTrack{CodedWidth: 1000, CodedHeight: 100, FrameRateNum: 25, FrameRateDen: 1}
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
		"a second":         {Decoding(v, 1, 0), "32"},   // 2.5 MP
		"at a higher rate": {Decoding(v, 1, 100), "38"}, // 10 MP
		"an hour":          {Decoding(v, 3600, 0), "6780"},
		"encoded":          {Work{Encoded: 1e9}, "2030"},
		"beyond numbers":   {Work{Decoded: 1e300}, "2592030"},
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
	if none, pixel := (Work{}).limit(), (Work{Decoded: 1}).limit(); none != 0 || pixel < 30*time.Second {
		t.Errorf("no work gets %s, a pixel %s", none, pixel)
	}
}
