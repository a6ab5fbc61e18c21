package inspect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// here is a source that is read where it lies.
type here string

func (h here) Local(context.Context, string, string) (string, error) { return string(h), nil }

func (h here) Upload(context.Context, string, string) (size int64, sha256 string, err error) {
	return 0, "", errors.New("an inspection stores nothing")
}

// inspect is one attempt at a file, with its scratch in dir.
func inspect(ctx context.Context, tools ffmpeg.Tools, path, dir string) (pipeline.Result, error) {
	return New(tools, Limits{}).Work(ctx, workers.Job[Params]{
		Attempt: workers.NewAttempt(workers.Attempt{Dir: dir}, here(path), nil),
	})
}

// TestFaultOfTheScratchDiskIsNoFact: where the disk is full or broken to which the inspection writes, the attempt fails
// and another follows. The file is neither refused nor said to have no groups, no second picture or less sound.
func TestFaultOfTheScratchDiskIsNoFact(t *testing.T) {
	film := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "3"), x264)...)
	films := workertest.Clip(t, "b.mkv", args([]string{"-i", film}, workertest.Pattern("32x32", "10", "3"),
		[]string{"-map", "0", "-map", "1"}, x264)...)
	sources := map[string]string{ // by the name of what is written for them
		"remuxed.mp4": film, "shot.raw": films,
	}
	gone := filepath.Join(t.TempDir(), "gone", "x")
	for _, c := range []struct {
		name, target, shell string
		want                pipeline.Code
		only                string
	}{
		{"full", "/dev/full", "", pipeline.CodeDiskFull, "remuxed.mp4"}, // which is read as zeros without end
		{"broken", "/proc/self/mem", "", pipeline.CodeInternal, ""},     // there is no memory at 0: EIO
		{"gone", gone, "", pipeline.CodeInternal, ""},
		{"a file in the place of the folder", filepath.Join(film, "x"), "", pipeline.CodeInternal, ""},
		{"a file may not grow", "", "trap '' XFSZ; ulimit -f 1", pipeline.CodeInternal, ""},
		{"a file that grows is deadly", "", "ulimit -f 1", pipeline.CodeInternal, ""},
	} {
		for output, path := range sources {
			if c.only != "" && c.only != output {
				continue
			}
			dir := t.TempDir()
			if c.target != "" {
				if err := os.Symlink(c.target, filepath.Join(dir, output)); err != nil {
					t.Fatal(err)
				}
			}
			tools, _ := counted(t, c.shell)
			r, err := inspect(t.Context(), tools, path, dir)
			if err == nil {
				t.Errorf("%s, %s: found %+v", c.name, output, r.Inspection)
				continue
			}
			if p := pipeline.ProblemOf(err); p.Code != c.want || !p.Retryable {
				t.Errorf("%s, %s: %+v, want %s", c.name, output, p, c.want)
			}
		}
	}
}

// TestFaultOfReadingIsNoFact: an index that could not be read is no file without an index. What a file tells wrong of
// itself is no fault.
func TestFaultOfReadingIsNoFact(t *testing.T) {
	garbage := save(t, "a.mp4", make([]byte, 100))
	for path, fails := range map[string]bool{garbage: false, t.TempDir(): true, filepath.Join(t.TempDir(), "gone"): true} {
		m := measurement{path: path, media: &pipeline.Media{Container: "mov", Size: 100}}
		if _, err := m.index(t.Context()); (err != nil) != fails {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	file, err := os.Open(garbage)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, at := range []int64{100, -1, math.MaxInt64 - 10} {
		_, err := file.ReadAt(make([]byte, 100), at)
		if fault := encode.DiskFault(t.Context(), err); err == nil || fault != nil {
			t.Errorf("at %d of 100 bytes: %v", at, fault)
		}
	}
}

// TestKillIsNoFact: a program that the machine kills tells nothing of the file, neither that its transparency cannot be
// decoded nor that there is no track beyond those at its start.
func TestKillIsNoFact(t *testing.T) {
	glass := workertest.Clip(t, "a.webm", args(workertest.Pattern("64x64", "5", "1"),
		[]string{"-vf", "format=yuva420p", "-c:v", "libvpx", "-auto-alt-ref", "0"})...)
	silent := workertest.Clip(t, "a.flv", args(workertest.Pattern("64x64", "5", "1"), x264)...)
	for _, c := range []struct {
		program, path, which string
		nth                  int
	}{
		{"ffmpeg", glass, "*passthrough*", 1}, {"ffprobe", silent, "*", 2},
	} {
		tools, err := ffmpeg.Find("", "")
		if err != nil {
			t.Fatal(err)
		}
		program := &tools.FFmpeg
		if c.program == "ffprobe" {
			program = &tools.FFprobe
		}
		dir := t.TempDir()
		script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in %s) i=1; while ! mkdir %s/$i 2>/dev/null; do i=$((i+1)); done\n"+
			"if [ $i = %d ]; then kill -KILL $$; fi;; esac\nexec %s \"$@\"\n", c.which, dir, c.nth, *program)
		*program = filepath.Join(dir, c.program)
		if err := os.WriteFile(*program, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		r, err := inspect(t.Context(), tools, c.path, t.TempDir())
		if err == nil {
			t.Errorf("%s: found %+v", c.program, r.Inspection)
		} else if p := pipeline.ProblemOf(err); p.Code != pipeline.CodeOutOfMemory {
			t.Errorf("%s: %+v", c.program, p)
		}
	}
}

// stopping are tools whose nth start of ffmpeg calls stop, and then does nothing but wait for its end. more is what
// a shell does before each.
func stopping(t *testing.T, nth int, more string, stop func()) ffmpeg.Tools {
	t.Helper()
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	if err := syscall.Mkfifo(told, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(told, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		if n, _ := pipe.Read(make([]byte, 1)); n > 0 { // else it was closed
			stop()
		}
	})
	t.Cleanup(func() {
		if err := pipe.Close(); err != nil {
			t.Error(err)
		}
		reader.Wait()
	})
	tools, _ := counted(t, fmt.Sprintf(`d=%s; i=1; while ! mkdir $d/$i 2>/dev/null; do i=$((i+1)); done
if [ $i = %d ]; then mkfifo $d/never; echo >$d/told; exec cat $d/never; fi
%s`, dir, nth, more))
	return tools
}

// TestCancelIsNoFact: an attempt that is stopped has no finding, whichever ffmpeg it waits for at that moment.
func TestCancelIsNoFact(t *testing.T) {
	for _, c := range []struct{ name, path, more string }{
		{"sound that begins first and cannot be decoded", workertest.Clip(t, "a.mkv", args([]string{"-itsoffset", "1"},
			workertest.Pattern("64x64", "10", "2"), workertest.Tone("3"), x264, []string{"-c:a", "flac"})...),
			`case "$*" in *":1 "*) echo "Error while opening decoder" >&2; exit 1;; esac`},
		{"interlaced", workertest.Clip(t, "i.mkv", args(workertest.Pattern("64x64", "50", "1"), x264,
			[]string{"-flags", "+ildct+ilme"})...), ""},
	} {
		for nth, stopped := 1, true; stopped; nth++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the lease is lost")
			r, err := inspect(ctx, stopping(t, nth, c.more, func() { cancel(why) }), c.path, t.TempDir())
			switch stopped = ctx.Err() != nil; {
			case stopped && !errors.Is(err, why):
				t.Errorf("%s, stopped at start %d of ffmpeg: %+v, %v", c.name, nth, r.Inspection, err)
			case !stopped && (err != nil || nth < 4):
				t.Errorf("%s: %d starts of ffmpeg, %v", c.name, nth-1, err)
			}
			cancel(nil)
		}
	}
}
