package inspect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// here is a source on the local disk.
type here string

func (h here) Local(context.Context, string, string) (string, error) { return string(h), nil }

func (h here) Upload(context.Context, string, string) (size int64, sha256 string, err error) {
	return 0, "", errors.New("an inspection stores nothing")
}

// inspect runs one attempt at a file, with dir as its scratch directory.
func inspect(ctx context.Context, tools ffmpeg.Tools, path, dir string) (pipeline.Result, error) {
	return New(tools, Limits{}).Work(ctx, workers.Job[Params]{
		Attempt: workers.NewAttempt(workers.Attempt{Dir: dir}, here(path), nil),
	})
}

// TestFaultOfTheScratchDiskIsNoFact: if the scratch disk is full or broken, the attempt fails and is retried.
// The file is not refused, and no groups, video tracks or audio are missing in its facts.
func TestFaultOfTheScratchDiskIsNoFact(t *testing.T) {
	film := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "3"), x264)...)
	films := workertest.Clip(t, "b.mkv", args([]string{"-i", film}, workertest.Pattern("32x32", "10", "3"),
		[]string{"-map", "0", "-map", "1"}, x264)...)
	sources := map[string]string{ // by the name of the file that is written for them
		"remuxed.mp4": film, "shot.raw": films,
	}
	gone := filepath.Join(t.TempDir(), "gone", "x")
	for _, c := range []struct {
		name, target, shell string
		want                pipeline.Code
		only                string
	}{
		{"full", "/dev/full", "", pipeline.CodeDiskFull, "remuxed.mp4"}, // reading it gives endless zeros
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

// TestFaultOfReadingIsNoFact: if the index cannot be read, that is a fault of the machine, and does not mean
// that there is no index. A wrong index is no fault of the machine.
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

// disturbed is a source for which any start of a program may be made to fail. more is what a shell runs
// before each start of ffmpeg.
type disturbed struct{ name, path, more string }

// disturbedSources returns sources that need additional runs: for late tracks, for comparing two films, for
// transparency, for audio that cannot be decoded, and for interlaced frames.
func disturbedSources(t *testing.T) []disturbed {
	film := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "2"), x264)...)
	const halve = `case "$*" in *passthrough*framecrc*) %s "$@" | awk '/^#/ || n++ %% 2 == 0'; exit;; esac`
	real, err := ffmpeg.Find("", "")
	if err != nil {
		t.Fatal(err)
	}
	return []disturbed{
		{"no sound", workertest.Clip(t, "a.flv", args(workertest.Pattern("64x64", "5", "1"), x264)...), ""},
		{"two films", workertest.Clip(t, "b.mkv", args([]string{"-i", film}, workertest.Pattern("32x32", "10", "2"),
			[]string{"-map", "0", "-map", "1"}, x264)...), ""},
		{"transparent", workertest.Clip(t, "a.webm", args(workertest.Pattern("64x64", "5", "1"),
			[]string{"-vf", "format=yuva420p", "-c:v", "libvpx", "-auto-alt-ref", "0"})...), ""},
		{"sound that begins first and cannot be decoded", workertest.Clip(t, "a.mkv", args([]string{"-itsoffset", "1"},
			workertest.Pattern("64x64", "10", "2"), workertest.Tone("3"), x264, []string{"-c:a", "flac"})...),
			`case "$*" in *":1 "*) echo "Error while opening decoder" >&2; exit 1;; esac`},
		{"packets of a field", workertest.Clip(t, "i.mkv", args(workertest.Pattern("64x64", "50", "1"), x264,
			[]string{"-vf", "setfield=tff", "-flags", "+ildct+ilme"})...), fmt.Sprintf(halve, real.FFmpeg)},
	}
}

// disturb returns tools whose nth start of any program runs the shell command what instead; reached reports
// whether there was an nth start. A folder marks each start, since ffprobe may not write files.
func (d disturbed) disturb(t *testing.T, nth int, what string) (tools ffmpeg.Tools, reached func() bool) {
	t.Helper()
	tools, err := ffmpeg.Find("", "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stand := func(name, program, more string) string {
		script := fmt.Sprintf("#!/bin/sh\ni=1; while ! mkdir %[1]s/$i 2>/dev/null; do i=$((i+1)); done\n"+
			"if [ $i = %[2]d ]; then %[3]s; fi\n%[4]s\nexec %[5]s \"$@\"\n", dir, nth, what, more, program)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tools.FFmpeg, tools.FFprobe = stand("ffmpeg", tools.FFmpeg, d.more), stand("ffprobe", tools.FFprobe, "")
	return tools, func() bool {
		_, err := os.Stat(filepath.Join(dir, fmt.Sprint(nth)))
		return err == nil
	}
}

// TestKillIsNoFact: if the machine kills a program, that says nothing about the file. Whichever start it is,
// the attempt fails, or has the same facts as without.
func TestKillIsNoFact(t *testing.T) {
	sources := disturbedSources(t)
	slices.Reverse(sources)
	for _, d := range pipelinetest.Sweep(sources, 2) {
		t.Run(d.name, func(t *testing.T) {
			tools, _ := d.disturb(t, 0, ":")
			want, err := inspect(t.Context(), tools, d.path, t.TempDir())
			if err != nil || want.Inspection.Reason != nil {
				t.Fatalf("%+v, %v", want.Inspection, err)
			}
			if rate := want.Inspection.Media.Video.FrameRate(); (rate == 25) != (d.name == "packets of a field") {
				t.Errorf("%v frames/s", rate)
			}
			nth := 1
			for ; withStart(t, d, nth, "kill -KILL $$", want); nth++ {
			}
			if nth < 4 {
				t.Errorf("%d starts", nth-1)
			}
		})
	}
}

// TestMemoryIsNoFact: if a program gets too little memory to load its libraries, that says nothing about the
// file, whichever start it is. The system's own loader refuses here.
func TestMemoryIsNoFact(t *testing.T) {
	for _, d := range disturbedSources(t)[:1] {
		tools, _ := d.disturb(t, 0, ":")
		want, err := inspect(t.Context(), tools, d.path, t.TempDir())
		if err != nil || want.Inspection.Reason != nil {
			t.Fatalf("%+v, %v", want.Inspection, err)
		}
		nth := 1
		for ; withStart(t, d, nth, "ulimit -v 100000", want); nth++ {
		}
		if nth < 4 {
			t.Errorf("%d starts", nth-1)
		}
	}
}

// TestMemoryOfAFile: a file whose reading asks for more than ffmpeg may allocate is refused in one attempt. If
// this process itself is short of memory, the file is not refused.
func TestMemoryOfAFile(t *testing.T) {
	d := disturbed{path: workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "1"), x264)...)}
	tools, _ := d.disturb(t, 1, "echo 'file:x: Cannot allocate memory' >&2; exit 1")
	r, err := inspect(t.Context(), tools, d.path, t.TempDir())
	if ffmpeg.MemoryIsLimited() {
		if p := pipeline.ProblemOf(err); err == nil || p.Code != pipeline.CodeOutOfMemory {
			t.Errorf("with limited memory: %+v, %v", r.Inspection, err)
		}
		return
	}
	if err != nil || r.Inspection.Reason == nil || r.Inspection.Reason.Code != pipeline.CodeLimits ||
		!strings.Contains(r.Inspection.Reason.Detail, "memory") {
		t.Errorf("%+v, %v", r.Inspection, err)
	}
}

// withStart inspects d and runs a shell command before the nth program starts. The attempt must run out of
// memory, or find what it found without that. withStart reports whether there were that many starts.
func withStart(t *testing.T, d disturbed, nth int, what string, want pipeline.Result) bool {
	t.Helper()
	tools, reached := d.disturb(t, nth, what)
	r, err := inspect(t.Context(), tools, d.path, t.TempDir())
	if p := pipeline.ProblemOf(err); err != nil && p.Code != pipeline.CodeOutOfMemory {
		t.Errorf("start %d: %+v", nth, p)
	}
	if err == nil && !reflect.DeepEqual(r, want) {
		t.Errorf("start %d: found %+v, want %+v", nth, r.Inspection, want.Inspection)
	}
	return reached()
}

// tell returns a shell command. When it runs, tell calls stop, and the command waits until it is killed.
func tell(t *testing.T, stop func()) (shell string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "told")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "never"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
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
	return fmt.Sprintf("echo >%[1]s/told; exec cat %[1]s/never", dir)
}

// TestCancelIsNoFact: a stopped attempt has no facts, whichever program it was waiting for.
func TestCancelIsNoFact(t *testing.T) {
	for _, d := range disturbedSources(t)[3:] {
		for nth, stopped := 1, true; stopped; nth++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the lease is lost")
			tools, _ := d.disturb(t, nth, tell(t, func() { cancel(why) }))
			m, err := New(tools, Limits{}).look(ctx, d.path, t.TempDir())
			switch stopped = ctx.Err() != nil; {
			case stopped && !errors.Is(err, why):
				t.Errorf("%s, stopped at start %d: %+v, %v", d.name, nth, m, err)
			case !stopped && (err != nil || nth < 4):
				t.Errorf("%s: %d starts, %v", d.name, nth-1, err)
			}
			cancel(nil)
		}
	}
}

// leaving is a source that stops the attempt when it is opened.
type leaving struct {
	here
	stop func()
}

func (l leaving) Local(context.Context, string, string) (string, error) {
	l.stop()
	return string(l.here), nil
}

// TestCancelIsNoRefusal: a stopped attempt does not refuse the file, even if it is not a video.
func TestCancelIsNoRefusal(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("the lease is lost")
	source := leaving{here(save(t, "a.txt", []byte("no video"))), func() { cancel(why) }}
	r, err := New(ffmpeg.Tools{}, Limits{}).Work(ctx, workers.Job[Params]{
		Attempt: workers.NewAttempt(workers.Attempt{Dir: t.TempDir()}, source, nil),
	})
	if !errors.Is(err, why) || r.Inspection != nil {
		t.Errorf("%+v, %v", r.Inspection, err)
	}
}
