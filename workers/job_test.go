package workers

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func attemptOn(t *testing.T, s storage.Store) Attempt {
	return NewAttempt(Attempt{
		Task: pipeline.Task{
			Video: "v", Job: pipeline.Job{Name: "j"}, Source: pipeline.Object{Key: "videos/v/source/original.mp4"},
			Assets: map[string]pipeline.Object{"logo": {Key: "videos/v/source/logo.png"}},
		},
		Token: 9, Number: 1, Dir: t.TempDir(),
	}, storeFiles{store: s, scratch: scratchOn(t, s)}, nil)
}

func TestAttemptReads(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	a := attemptOn(t, s)
	put(t, s, "videos/v/source/logo.png", "logo")
	put(t, s, "videos/v/other/3/index", "index")
	for name, read := range map[string]func() (string, error){
		"logo": func() (string, error) { return a.Asset(t.Context(), "logo") },
		"index": func() (string, error) {
			return a.Fetch(t.Context(),
				pipeline.Output{Key: "videos/v/other/3/index"})
		},
	} {
		p, err := read()
		if raw, _ := os.ReadFile(p); err != nil || string(raw) != name {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
	_, gone := a.Input(t.Context())
	_, unknown := a.Asset(t.Context(), "music")
	_, lost := a.Fetch(t.Context(), pipeline.Output{Key: "videos/v/other/4/index"})
	for i, test := range []struct {
		err  error
		code pipeline.Code
	}{{gone, pipeline.CodeFetchFailed}, {unknown, pipeline.CodeParameters}, {lost, pipeline.CodeFetchFailed}} {
		if p := pipeline.ProblemOf(test.err); p == nil || p.Code != test.code {
			t.Errorf("%d: %v, want %s", i, test.err, test.code)
		}
	}
	if a.Media().Container != "" || a.Log == nil {
		t.Error("an inspect job knows nothing of its media")
	}
	a.Task.Media = &pipeline.Media{Container: "mov"}
	if a.Media().Container != "mov" {
		t.Error("media")
	}
}

func TestPublish(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	a := attemptOn(t, s)
	o, err := a.Publish(t.Context(), write(t, a.Dir, "x.m3u8", "#EXTM3U"), pipeline.Output{Path: "720p/x.m3u8"})
	sum := sha256.Sum256([]byte("#EXTM3U"))
	if err != nil || o.Key != "videos/v/j/9/720p/x.m3u8" || o.Size != 7 ||
		o.SHA256 != hex.EncodeToString(sum[:]) ||
		o.ContentType != storage.ContentType("x.m3u8") {
		t.Errorf("%+v, %v", o, err)
	}
	a.Task.Job.Folder = "other"
	o, err = a.Publish(t.Context(), write(t, a.Dir, "y.m3u8", "#EXTM3U"), pipeline.Output{Path: "720p/y.m3u8"})
	if err != nil || o.Path != "other/720p/y.m3u8" || o.Key != "videos/v/j/9/other/720p/y.m3u8" {
		t.Errorf("in a folder: %+v, %v", o, err)
	}
	a.Task.Job.Folder = ""
	for n, contents := range []string{"", "", "", "three", "four"} {
		if contents != "" {
			write(t, a.Dir, SegmentName("s_%05d.m4s", n), contents)
		}
	}
	run := pipeline.Output{Path: "720p/seg_%05d.m4s", Segments: &pipeline.Segments{First: 3, Count: 2}}
	template := filepath.Join(a.Dir, "s_%05d.m4s")
	o, err = a.Publish(t.Context(), template, run)
	if err != nil || o.Size != 9 || o.SHA256 != "" || o.Key != "videos/v/j/9/720p/seg_%05d.m4s" {
		t.Errorf("%+v, %v", o, err)
	}
	if info, err := s.Stat(t.Context(), "videos/v/j/9/720p/seg_00004.m4s"); err != nil || info.Size != 4 {
		t.Errorf("%+v, %v", info, err)
	}
	if err := attemptWith(s).gate(t.Context(), result(o)); err != nil {
		t.Errorf("what was published passes the gate: %v", err)
	}

	faults := map[string]struct {
		file string
		o    pipeline.Output
		code pipeline.Code
	}{
		"no file": {filepath.Join(a.Dir, "gone"), pipeline.Output{Path: "x"},
			pipeline.CodeStorageFailed},
		"empty file": {write(t, a.Dir, "empty", ""), pipeline.Output{Path: "x"},
			pipeline.CodeVerification},
		"path out of the job": {write(t, a.Dir, "f", "f"), pipeline.Output{Path: "../x"},
			pipeline.CodeStorageFailed},
		"a segment is missing": {template, with(run,
			func(o *pipeline.Output) { o.Segments = &pipeline.Segments{First: 3, Count: 3} }),
			pipeline.CodeStorageFailed},
		"path without number": {template, with(run, func(o *pipeline.Output) { o.Path = "x" }),
			pipeline.CodeInternal},
		"file without number": {filepath.Join(a.Dir, "f"), run, pipeline.CodeInternal},
	}
	for name, test := range faults {
		_, err := a.Publish(t.Context(), test.file, test.o)
		if p := pipeline.ProblemOf(err); p == nil || p.Code != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

func with(o pipeline.Output, change func(*pipeline.Output)) pipeline.Output {
	change(&o)
	return o
}

// TestNice: a job that playback waits for does not yield to others. Others yield to jobs that are more
// urgent.
func TestNice(t *testing.T) {
	nice := func(j pipeline.Job) int { return Attempt{Task: pipeline.Task{Job: j}}.Nice() }
	opener := nice(pipeline.Job{Opener: true, Priority: pipeline.High})
	soon := nice(pipeline.Job{Priority: pipeline.High})
	normal, bulk := nice(pipeline.Job{}), nice(pipeline.Job{Priority: pipeline.Bulk})
	if opener != 0 || soon <= opener || normal <= soon || bulk < normal {
		t.Errorf("niceness %d of an opener, %d of a poster, %d and %d of others", opener, soon, normal, bulk)
	}
}
