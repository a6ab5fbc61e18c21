package ffmpeg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

func caged(t testing.TB) Tools {
	t.Helper()
	tools, err := Find("", "")
	if err != nil {
		t.Fatal(err)
	}
	if tools.Cage, err = sandbox.New(t.Context(), sandbox.Required); err != nil {
		t.Fatal(err)
	}
	return tools
}

// TestCagedCommands: what commands need is found in their inputs, outputs and folder; nothing else opens.
func TestCagedCommands(t *testing.T) {
	tools, in := caged(t), video(t, "in.mp4", 2)
	for name, path := range map[string]string{"absolute": filepath.Join(t.TempDir(), "out.mp4"), "relative": "out.mp4"} {
		dir := t.TempDir()
		c := Command{
			Inputs: []Input{{Path: in, Demuxer: "mov"}},
			Outputs: []Output{{Path: path, Format: "mp4", Maps: []string{"0:v:0"}, Options: []Option{
				{"c:v", "libx264"}, {"movflags", "+faststart"}, // which opens the output again
			}}},
		}
		if err := tools.Run(testContext(t), c, RunOptions{Dir: dir}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out := at(dir, path)
		if _, err := tools.VerifyFile(testContext(t), out, Expect{Duration: 2 * time.Second, HasVideo: Present}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, err := tools.Version(testContext(t)); err != nil || v == "" {
		t.Errorf("version %q, %v", v, err)
	}
}

// TestCageOpensNothingElse: a graph that reads another file gets nothing.
func TestCageOpensNothingElse(t *testing.T) {
	in, other := video(t, "in.mp4", 1), video(t, "other.mp4", 1)
	steal := Command{
		Inputs: []Input{{Path: in}}, Filter: "[0:v]null[a];movie=" + other + "[b];[a][b]hstack[v]",
		Outputs: []Output{{Format: "null", Maps: []string{"[v]"}}},
	}
	if err := (Tools{}).Run(testContext(t), steal, RunOptions{}); err != nil {
		t.Fatalf("without a cage: %v", err)
	}
	err := caged(t).Run(testContext(t), steal, RunOptions{})
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Tail, "Permission denied") {
		t.Errorf("in a cage: %v", err)
	}
}

// TestCageLimitsMemory: the limit grows with pixels, threads and outputs.
func TestCageLimitsMemory(t *testing.T) {
	c := ladder()
	c.Inputs[0].Pixels = 1920 * 1080
	if got, want := c.memory(), int64(1<<30+256*1920*1080*3+2*128<<20); got != want {
		t.Errorf("%d, want %d", got, want)
	}
	var e *Error
	err := caged(t).Run(testContext(t), toNull(video(t, "in.mp4", 1)), RunOptions{Limits: sandbox.Limits{Memory: 24 << 20}})
	if !errors.As(err, &e) {
		t.Errorf("with 24 MiB: %v", err)
	}
}

// TestCageLimitsFiles: a command without a file among its outputs cannot write one, not even into its folder.
func TestCageLimitsFiles(t *testing.T) {
	c, dir := toNull(video(t, "in.mp4", 1)), t.TempDir()
	c.Filter, c.Outputs[0].Maps = "[0:v]split[a][b];[a][b]psnr=stats_file=stats[v]", []string{"[v]"}
	var e *Error
	err := caged(t).Run(testContext(t), c, RunOptions{Dir: dir})
	if info, statErr := os.Stat(filepath.Join(dir, "stats")); !errors.As(err, &e) || statErr != nil || info.Size() > 1 {
		t.Errorf("%v; %v, %v", err, info, statErr)
	}
	c.Filter, c.Outputs[0] = "", Output{Path: "out", Format: "rawvideo", Maps: []string{"0:v"}}
	if err := caged(t).Run(testContext(t), c, RunOptions{Dir: dir}); err != nil {
		t.Errorf("a file among the outputs: %v", err)
	}
}

// TestScriptIsNoProgram: a script cannot run in a cage, and the error says so.
func TestScriptIsNoProgram(t *testing.T) {
	tools := script(t, "exit 0")
	tools.Cage = caged(t).Cage
	_, err := tools.Version(testContext(t))
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindStart || !strings.Contains(err.Error(), "perhaps a script") {
		t.Errorf("%v", err)
	}
}
