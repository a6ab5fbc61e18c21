package transcode

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
	"github.com/reelmill/reelmill/workers/workertest"
)

// standardClip returns 14 s of standard input with a keyframe every gop frames, at 10 frames/s, and facts
// that say that it has a keyframe at each border.
func standardClip(t *testing.T, gop string, borders ...float64) (string, pipeline.Media) {
	t.Helper()
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("640x360", "10", "14"), x264, []string{
		"-g", gop, "-bf", "2", "-sc_threshold", "0", "-profile:v", "high"})...)
	m := standardMedia()
	m.Duration, m.Video.Width, m.Video.Height, m.Video.CodedWidth, m.Video.CodedHeight = 14, 640, 360, 640, 360
	m.Video.Groups.Borders = borders
	m.Video.FrameRateNum, m.Video.Bitrate, m.Video.Matrix, m.Audio = 10, 500_000, "bt709", nil
	return source, m
}

// payload returns the encoded frames of a file, joined in order of storage.
func payload(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(workertest.Clip(t, "a.h264", "-i", file, "-map", "0:v", "-c", "copy",
		"-bsf:v", "h264_mp4toannexb,filter_units=remove_types=6-9", "-f", "h264"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCopy: the top rung has the source's own frames, bit for bit, and one job makes all of it.
func TestCopy(t *testing.T) {
	source, m := standardClip(t, "50", 0, 5, 10)
	root := runAll(t, `{"ladder":[180,360]}`, source, m)
	verifyTree(t, root, map[string][2]int{"360p": {640, 360}, "180p": {320, 180}})
	if !bytes.Equal(payload(t, source), payload(t, workertest.Joined(t, filepath.Join(root, "360p")))) {
		t.Error("the frames are not the source's")
	}
	for _, rung := range []string{"360p", "180p"} { // a player may switch at any segment
		list, err := os.ReadFile(filepath.Join(root, rung, "index.m3u8"))
		if err != nil || strings.Count(string(list), "#EXTINF:5.0") != 2 || strings.Count(string(list), "#EXTINF:4.0") != 1 {
			t.Errorf("%s: %s %v", rung, list, err)
		}
	}
}

// TestCopyOfHighRate: no segment begins at a keyframe that lies between two frames of the rungs with half the
// rate.
func TestCopyOfHighRate(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("960x540", "60", "13"), x264, []string{
		"-g", "45", "-sc_threshold", "0", "-profile:v", "high"})...)
	_, m := standardClip(t, "50")
	m.Duration, m.Video.Width, m.Video.Height, m.Video.CodedWidth, m.Video.CodedHeight = 13, 960, 540, 960, 540
	m.Video.FrameRateNum, m.Video.Groups.Borders = 60, bordersOf(t, source, picture.LowRate)
	if want := []float64{0, 6, 12}; !slices.Equal(m.Video.Groups.Borders, want) {
		t.Fatalf("borders %v, want %v", m.Video.Groups.Borders, want)
	}
	root := runAll(t, `{"ladder":[180,540],"quality":"premium"}`, source, m)
	verifyTree(t, root, map[string][2]int{"540p": {960, 540}, "180p": {320, 180}})
	for _, rung := range []string{"540p", "180p"} {
		list, err := os.ReadFile(filepath.Join(root, rung, "index.m3u8"))
		if err != nil || strings.Count(string(list), "#EXTINF:6.0") != 2 || strings.Count(string(list), "#EXTINF:1.0") != 1 {
			t.Errorf("%s: %s %v", rung, list, err)
		}
	}
}

// bordersOf returns the borders that inspection would find.
func bordersOf(t *testing.T, file string, grid float64) []float64 {
	t.Helper()
	return pictureOf(t, file, sampletable.Grid{Low: grid, Rate: 60}).Groups.Borders
}

func pictureOf(t *testing.T, file string, grid sampletable.Grid) sampletable.Picture {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	index, err := sampletable.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	p, err := index.Picture(t.Context(), 1, false, grid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCopyFallsBack: a source that is not standard input after all is encoded, and its facts say so.
func TestCopyFallsBack(t *testing.T) {
	source, m := standardClip(t, "140", 0, 6, 12)
	store := workertest.NewStore(t)
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	jobs[0].Worker, jobs[0].Params = "transcode", json.RawMessage("{}")
	task := pipeline.Task{Video: store.Video, Job: jobs[0], Media: &m, Source: store.Add(t, "original", source)}
	r := store.Work(t, registry(), task, nil, nil)
	if r.Facts["copied"] != false || r.Facts["note"] == nil || !strings.Contains(r.Facts["reason"].(string), "1 segments, want 3") {
		t.Errorf("facts %v", r.Facts)
	}
	for _, o := range r.Outputs {
		if o.Kind == pipeline.KindRendition && (o.Segments.Count != 3 || !o.Segments.Last) {
			t.Errorf("rendition %+v %+v", o, o.Segments)
		}
	}
}

// longClip returns 170 s of standard input with a keyframe every gop frames, at 10 frames/s, and facts that
// say that it has a keyframe every 6 s.
func longClip(t *testing.T, gop string) (string, pipeline.Media) {
	t.Helper()
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("640x360", "10", "170"), []string{
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-profile:v", "high",
		"-g", gop, "-bf", "2", "-sc_threshold", "0", "-colorspace", "bt709"})...)
	_, m := standardClip(t, "50")
	m.Duration = 170
	for at := 0.0; at < 170; at += 6 {
		m.Video.Groups.Borders = append(m.Video.Groups.Borders, at)
	}
	return source, m
}

// TestCopyInParts: playback only waits for the first minute. Each part begins where the previous one ends.
func TestCopyInParts(t *testing.T) {
	source, m := longClip(t, "20")
	want := []string{"copy! 360p 0-600", "copy-0001 360p 600-0 after copy"}
	if got := outline(t, Params{Ladder: []int{360}}, m); !slices.Equal(got, want) {
		t.Errorf("plan %q, want %q", got, want)
	}
	long := m
	groups := *m.Video.Groups
	long.Duration, long.Video.Groups = 340, &groups
	for at := 174.0; at < 340; at += 6 {
		groups.Borders = append(groups.Borders, at)
	}
	want = []string{
		"copy! 360p 0-600", "copy-0001 360p 600-1800 after copy", "copy-0002 360p 1800-0 after copy,copy-0001",
	}
	if got := outline(t, Params{Ladder: []int{360}}, long); !slices.Equal(got, want) {
		t.Errorf("plan %q, want %q", got, want)
	}
	root := runAll(t, `{"ladder":[360]}`, source, m)
	verifyTree(t, root, map[string][2]int{"360p": {640, 360}})
	if !bytes.Equal(payload(t, source), payload(t, workertest.Joined(t, filepath.Join(root, "360p")))) {
		t.Error("the frames are not the source's")
	}
}

// TestCopyInPartsFallsBack: the first part decides for all parts.
func TestCopyInPartsFallsBack(t *testing.T) {
	source, m := longClip(t, "70")
	root := runAll(t, `{"ladder":[360]}`, source, m)
	verifyTree(t, root, map[string][2]int{"360p": {640, 360}})
	if bytes.Equal(payload(t, source), payload(t, workertest.Joined(t, filepath.Join(root, "360p")))) {
		t.Error("the frames are the source's")
	}
	list, err := os.ReadFile(filepath.Join(root, "360p", "index.m3u8"))
	if err != nil || strings.Count(string(list), "#EXTINF:6.0") != 28 || strings.Count(string(list), "#EXTINF:2.0") != 1 {
		t.Errorf("%s %v", list, err)
	}
}

// TestSamples: of a long copy a few places are verified, including the first and the last; of a short copy
// all.
func TestSamples(t *testing.T) {
	for _, c := range []struct {
		group float64 // seconds
		count int
		want  [][2]int
	}{
		{2, 1, [][2]int{{0, 1}}},
		{2, 3, [][2]int{{0, 1}, {1, 2}, {2, 3}}},
		{2, 300, [][2]int{{0, 1}, {99, 100}, {199, 200}, {299, 300}}},
		{0.25, 10, [][2]int{{0, 4}, {4, 8}, {8, 10}}},
		{0.4, 31, [][2]int{{0, 3}, {10, 13}, {20, 23}, {30, 31}}},
	} {
		p := &sampletable.Pictures{Timescale: 1000}
		for n := range c.count {
			p.Starts = append(p.Starts, int64(float64(n)*c.group*1000))
		}
		if got := samples(p); !slices.Equal(got, c.want) {
			t.Errorf("%d groups of %g s: %v, want %v", c.count, c.group, got, c.want)
		}
	}
}

// TestFaultOfTheDiskIsNoReason: if the disk cannot be read, the job is retried; the copy is not given up.
func TestFaultOfTheDiskIsNoReason(t *testing.T) {
	workertest.DiskFault(t, New(ffmpeg.Tools{}), Params{}, standardMedia())
}

// TestUnlike: what points to the source has its picture encoded. What points to the machine is retried.
func TestUnlike(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for code, want := range map[pipeline.Code]bool{
		pipeline.CodeVerification: true, pipeline.CodeMalformed: true, pipeline.CodeEncodeFailed: true,
		pipeline.CodeEncoderCrashed: true, pipeline.CodeOutOfMemory: false, pipeline.CodeDiskFull: false,
		pipeline.CodeStorageFailed: false, pipeline.CodeJobTimeout: false,
	} {
		err := pipeline.Fail(code, "copy")
		if got := unlike(t.Context(), err); got != want || unlike(ended, err) {
			t.Errorf("%s: %v, want %v", code, got, want)
		}
	}
}

// TestLaterPartsFollowTheFirst: later parts follow the decision of the job that made their rung, whatever its
// name, or the facts in a result of an earlier version. Another step's rung of the same name decides nothing.
func TestLaterPartsFollowTheFirst(t *testing.T) {
	made := func(rung string, d *pipeline.Decision, facts map[string]any) pipeline.Result {
		rendition := pipeline.Output{Name: path.Base(rung), Kind: pipeline.KindRendition, Path: rung + "/s.m4s"}
		return pipeline.Result{Outputs: []pipeline.Output{rendition}, Decision: d, Facts: facts}
	}
	yes, no := &pipeline.Decision{Copied: true}, &pipeline.Decision{}
	for name, c := range map[string]struct {
		results map[string]pipeline.Result
		want    bool
	}{
		"another step's": {map[string]pipeline.Result{
			"film-copy": made("720p", no, nil), "again-copy": made("again/720p", yes, nil),
		}, false},
		"another step's alone": {map[string]pipeline.Result{"again-copy": made("again/720p", yes, nil)}, false},
		"copied":               {map[string]pipeline.Result{"film-a": made("720p", yes, nil), "film-b": made("720p", nil, nil)}, true},
		"not copied":           {map[string]pipeline.Result{"film-copy": made("720p", no, map[string]any{"copied": true})}, false},
		"another rung":         {map[string]pipeline.Result{"film-copy": made("360p", yes, nil)}, false},
		"audio":                {map[string]pipeline.Result{"sound-copy": {Decision: yes}}, false},
		"told by facts": {map[string]pipeline.Result{
			"transcode-copy": made("720p", nil, map[string]any{"copied": true}),
		}, true},
		"nothing": {nil, false},
	} {
		run := copyRun{job: workers.Attempt{Results: c.results}, rung: rung{Name: "720p"}}
		if got := run.decided(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
