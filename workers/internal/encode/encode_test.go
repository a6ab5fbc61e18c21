package encode

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// TestThreads: the command's own number wins, then that of the tools, then the default.
func TestThreads(t *testing.T) {
	dir := t.TempDir()
	told, program := filepath.Join(dir, "told"), filepath.Join(dir, "ffmpeg")
	script := "#!/bin/sh\necho \"$@\" >" + told + "\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command, tools int
		want           string
	}{{0, 0, "-threads 2"}, {0, 5, "-threads 5"}, {3, 5, "-threads 3"}, {3, 0, "-threads 3"}} {
		s := Step{Tools: ffmpeg.Tools{FFmpeg: program, Threads: c.tools}, Dir: dir}
		err := s.Run(t.Context(), ffmpeg.Command{
			Inputs:  []ffmpeg.Input{{Path: "in.mp4", Demuxer: "mov"}},
			Outputs: []ffmpeg.Output{{Format: "null", Maps: []string{"0:v:0"}}},
			Threads: c.command,
		})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(told)
		if err != nil || strings.Count(string(raw), c.want) != 2 || strings.Count(string(raw), "-threads") != 2 {
			t.Errorf("%+v: %s, %v", c, raw, err)
		}
	}
}
