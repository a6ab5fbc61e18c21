package transcode

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

func registry() *workers.Registry { return workertest.Registry("transcode", New(ffmpeg.Tools{})) }

var x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

func args(lists ...[]string) []string { return slices.Concat(lists...) }

// TestConformance runs all jobs of a video of 14 s with two rungs, and plays the outputs.
func TestConformance(t *testing.T) {
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "transcode", Params: `{"ladder":[90,180],"mp4":["90p"]}`, Media: workertest.Media(320, 180, 10, 14),
		Source: workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "14"), x264)...),
	})
	rung := []string{"init.mp4", "seg_%05d.m4s"}
	want := []string{"90p.mp4", "index/transcode-0000.json", "index/transcode-first.json"}
	for _, name := range rung {
		want = append(want, "90p/"+name, "180p/"+name)
	}
	var got []string
	for _, r := range out.Results {
		got = append(got, workertest.Paths(r)...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("outputs %v", got)
	}
	runs := map[string]pipeline.Segments{
		"transcode-first 90p": {First: 0, Count: 1}, "transcode-0000 180p": {First: 0, Count: 3, Last: true},
		"transcode-0000 90p": {First: 1, Count: 2, Last: true},
	}
	for job, r := range out.Results {
		for _, o := range r.Outputs {
			if o.Kind != pipeline.KindRendition {
				continue
			}
			want := runs[job+" "+o.Name]
			if s := *o.Segments; s.First != want.First || s.Count != want.Count || s.Last != want.Last || s.Header == "" ||
				len(s.Durations) != s.Count || o.FrameRate != 10 || o.Bandwidth < o.AverageBandwidth || !strings.HasPrefix(o.Codecs, "avc1.64") {
				t.Errorf("%s: %+v %+v", job, o, s)
			}
		}
	}
	verifyTree(t, packaged(t, out.Store, out.Results), map[string][2]int{"180p": {320, 180}, "90p": {160, 90}})
}

// verifyTree plays every rung of a directory of outputs, and decodes each segment.
func verifyTree(t *testing.T, root string, rungs map[string][2]int) {
	t.Helper()
	for name, size := range rungs {
		_, err := (ffmpeg.Tools{}).VerifyHLS(t.Context(), filepath.Join(root, name, "index.m3u8"), ffmpeg.Expect{
			Width: size[0], Height: size[1], VideoCodec: "h264", FullDecode: true, Scratch: t.TempDir(),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(root, "master.m3u8")); err != nil || strings.Count(string(text), "#EXT-X-STREAM-INF:") != len(rungs) {
		t.Errorf("master %s %v", text, err)
	}
}

// runAll runs the jobs of a video, and returns the directory of their outputs.
func runAll(t *testing.T, params, source string, m pipeline.Media) string {
	t.Helper()
	store, results := workertest.NewStore(t), map[string]pipeline.Result{}
	jobs, err := New(ffmpeg.Tools{}).Plan(decode(t, params), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		j.Worker, j.Params = "transcode", json.RawMessage(params)
		task := pipeline.Task{Video: store.Video, Job: j, Media: &m, Source: store.Add(t, "original", source)}
		results[j.Name] = store.Work(t, registry(), task, results, nil)
	}
	return packaged(t, store, results)
}

// packaged writes playlists for the results, and returns the directory of all outputs.
func packaged(t *testing.T, store *workertest.Store, results map[string]pipeline.Result) string {
	t.Helper()
	var all []manifest.Made
	for _, r := range results {
		made := manifest.Made{Outputs: r.Outputs}
		for _, o := range r.Outputs {
			if !manifest.IsIndex(o) {
				continue
			}
			data, err := os.ReadFile(store.Local(o))
			if err != nil {
				t.Fatal(err)
			}
			if made.Runs, err = manifest.DecodeIndex(data); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, made)
	}
	texts, err := manifest.Package(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := store.Tree(t, results)
	for _, text := range texts {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(text.Output.Path)), text.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func decode(t *testing.T, params string) (p Params) {
	t.Helper()
	if err := json.Unmarshal([]byte(params), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestShapes encodes sources that break encoders: tiny, odd, slow, turned, with a changing size.
func TestShapes(t *testing.T) {
	turned := workertest.Media(48, 64, 5, 2)
	turned.Video.Rotation, turned.Video.CodedWidth, turned.Video.CodedHeight = 90, 64, 48
	wide := workertest.Media(96, 64, 5, 1)
	wide.Video.SampleRatio = 1.5
	clip := func(name, size, rate, seconds string, more ...string) string {
		return workertest.Clip(t, name, args(workertest.Pattern(size, rate, seconds), x264, more)...)
	}
	for _, c := range []struct {
		name   string
		source string
		media  pipeline.Media
		rung   string
		size   [2]int
	}{
		{"2x2", clip("a.mp4", "2x2", "5", "1"), workertest.Media(2, 2, 5, 1), "2p", [2]int{2, 2}},
		{"odd", workertest.Clip(t, "a.mov", args(workertest.Pattern("51x37", "5", "1"), []string{"-c:v", "qtrle"})...), workertest.Media(51, 37, 5, 1), "36p", [2]int{50, 36}},
		{"1 frame/s", clip("b.mp4", "64x64", "1", "5"), workertest.Media(64, 64, 1, 5), "64p", [2]int{64, 64}},
		{"one frame", clip("c.mp4", "64x64", "25", "0.04"), workertest.Media(64, 64, 25, 0.04), "64p", [2]int{64, 64}},
		{"turned", workertest.Rotate(t, clip("d.mp4", "64x48", "5", "2"), 90), turned, "48p", [2]int{48, 64}},
		{"wide pixels", clip("e.mp4", "64x64", "5", "1", "-vf", "setsar=3/2"), wide, "64p", [2]int{96, 64}},
	} {
		t.Run(c.name, func(t *testing.T) {
			verifyTree(t, runAll(t, "{}", c.source, c.media), map[string][2]int{c.rung: c.size})
		})
	}
}

// TestTurned: a turned video is shown as a viewer expects it.
func TestTurned(t *testing.T) {
	// Red is above, blue below. After a quarter turn clockwise, red is on the right.
	source := workertest.Clip(t, "a.mp4", args([]string{"-f", "lavfi", "-i", "color=red:s=64x32:d=1:r=5",
		"-f", "lavfi", "-i", "color=blue:s=64x32:d=1:r=5", "-filter_complex", "[0][1]vstack"}, x264)...)
	m := workertest.Media(64, 64, 5, 1)
	m.Video.Rotation = 90
	img := frame(t, runAll(t, "{}", workertest.Rotate(t, source, 90), m), "64p")
	if !isColor(img.At(8, 32), 0, 0, 255) || !isColor(img.At(56, 32), 255, 0, 0) {
		t.Errorf("left %v, right %v", img.At(8, 32), img.At(56, 32))
	}
}

func TestAlphaIsBlackBehind(t *testing.T) {
	source := workertest.Clip(t, "a.mov", "-f", "lavfi", "-i", "color=white@0.5:s=64x64:d=1:r=5,format=argb", "-c:v", "qtrle")
	m := workertest.Media(64, 64, 5, 1)
	m.Video.Alpha, m.Video.Codec = true, "qtrle"
	if c := frame(t, runAll(t, "{}", source, m), "64p").At(32, 32); !isColor(c, 128, 128, 128) {
		t.Errorf("white at half strength became %v", c)
	}
}

// frame decodes the first frame of a rung.
func frame(t *testing.T, root, rung string) image.Image { return frameAt(t, root, rung, "0") }

// frameAt decodes the frame that is shown at a time within a rung's first segment.
func frameAt(t *testing.T, root, rung, second string) image.Image {
	t.Helper()
	var data []byte
	for _, name := range []string{"init.mp4", "seg_00000.m4s"} {
		part, err := os.ReadFile(filepath.Join(root, rung, name))
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, part...)
	}
	file := filepath.Join(t.TempDir(), "a.mp4")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := imaging.Open(workertest.Clip(t, "a.png", "-ss", second, "-i", file, "-frames:v", "1"))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func isColor(c interface{ RGBA() (r, g, b, a uint32) }, red, green, blue int) bool {
	r, g, b, _ := c.RGBA()
	near := func(got uint32, want int) bool { return max(int(got>>8)-want, want-int(got>>8)) < 24 }
	return near(r, red) && near(g, green) && near(b, blue)
}

// TestChangingSize: recordings of windows and calls change their size. The renditions do not, and are as long
// as the source.
func TestChangingSize(t *testing.T) {
	var joined []byte
	for _, part := range [][]string{{"red:s=64x64:r=10:d=2", "0"}, {"blue:s=96x48:r=10:d=2", "2"}} {
		name := workertest.Clip(t, "a.ts", args([]string{"-f", "lavfi", "-i", "color=" + part[0]}, x264,
			[]string{"-output_ts_offset", part[1]})...)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, data...)
	}
	source := filepath.Join(t.TempDir(), "a.ts")
	if err := os.WriteFile(source, joined, 0o600); err != nil {
		t.Fatal(err)
	}
	m := workertest.Media(64, 64, 10, 4)
	m.Container = "mpegts"
	root := runAll(t, "{}", source, m)
	verifyTree(t, root, map[string][2]int{"64p": {64, 64}})
	for second, blue := range map[string]bool{"0": false, "1.8": false, "2.2": true, "3.8": true} {
		if img := frameAt(t, root, "64p", second); isColor(img.At(32, 32), 0, 0, 255) != blue {
			t.Errorf("%s s: %v", second, img.At(32, 32))
		}
	}
}

// TestWrongPlanFails: an output that differs from the facts of the media is never published. If the frames
// stop early, the file is damaged, and the job is not retried.
func TestWrongPlanFails(t *testing.T) {
	store, m := workertest.NewStore(t), workertest.Media(64, 64, 10, 9)
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "10", "2"), x264)...)
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	jobs[0].Worker = "transcode"
	task := pipeline.Task{Video: store.Video, Job: jobs[0], Media: &m, Source: store.Add(t, "original", source)}
	_, err = store.Try(t, t.Context(), registry(), task, nil)
	if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeMalformed {
		t.Errorf("2 s for 9: %v", err)
	}
	for _, key := range store.Keys(t) {
		if !strings.Contains(key, "source") {
			t.Errorf("%s was published", key)
		}
	}
}

// TestFileWithoutItsAudio: a progressive file of a video whose audio is missing is refused, not made silent.
func TestFileWithoutItsAudio(t *testing.T) {
	m := workertest.Media(64, 64, 10, 1)
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "10", "1"), x264)...)
	store, results := workertest.NewStore(t), map[string]pipeline.Result{}
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{MP4: []string{"highest"}}, m)
	if err != nil || len(jobs) != 2 {
		t.Fatal(jobs, err)
	}
	for i, expects := range [][]string{nil, nil, {"audio-eng"}} {
		j := jobs[min(i, 1)]
		j.Worker, j.Params, j.Expects = "transcode", json.RawMessage(`{"mp4":["highest"]}`), expects
		task := pipeline.Task{Video: store.Video, Job: j, Media: &m, Source: store.Add(t, "original", source)}
		if len(expects) == 0 {
			results[j.Name] = store.Work(t, registry(), task, results, nil)
			continue
		}
		_, err := store.Try(t, t.Context(), registry(), task, results)
		if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeVerification || !strings.Contains(p.Detail, "audio-eng") {
			t.Errorf("%v", err)
		}
	}
}

// TestNothingDecodesIsTheInputsFault: a source without a decodable frame fails at once, as damaged.
func TestNothingDecodesIsTheInputsFault(t *testing.T) {
	good := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "1"), []string{"-c:v", "libvpx-vp9", "-cpu-used", "8", "-g", "100"})...)
	broken := workertest.Clip(t, "b.mkv", "-i", good, "-c", "copy", "-copyinkf", "-bsf:v", "noise=amount=100")
	store, m := workertest.NewStore(t), workertest.Media(64, 64, 10, 1)
	m.Container, m.Video.Codec = "matroska", "vp9"
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	jobs[0].Worker = "transcode"
	task := pipeline.Task{Video: store.Video, Job: jobs[0], Media: &m, Source: store.Add(t, "original", broken)}
	_, err = store.Try(t, t.Context(), registry(), task, nil)
	if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeMalformed || p.Retryable {
		t.Errorf("broken VP9: %v", err)
	}
}

// TestLatePicture: a video track that begins half a second after the audio still does so in the outputs.
func TestLatePicture(t *testing.T) {
	source := workertest.Clip(t, "a.mkv", args(workertest.Tone("2"), []string{"-itsoffset", "0.5", "-f", "lavfi", "-i",
		"color=black:s=64x64:r=10:d=1,drawbox=c=white:t=fill:enable='gte(t,0.45)'", "-c:a", "pcm_s16le"}, x264)...)
	m := workertest.Media(64, 64, 10, 1.5)
	m.Container, m.Video.Start = "matroska", 0.5
	root := runAll(t, "{}", source, m)
	for second, white := range map[string]bool{"0": false, "0.9": false, "1.0": true, "1.4": true} {
		img := frameAt(t, root, "64p", second)
		if isColor(img.At(32, 32), 255, 255, 255) != white {
			t.Errorf("%s s: %v", second, img.At(32, 32))
		}
	}
}

// TestChunksHaveLimitedTime: a frame that never ends to decode ends the chunk.
func TestChunksHaveLimitedTime(t *testing.T) {
	program, wantLimit := workertest.Timed(t)
	workertest.Run(t, workertest.Case{
		Registry: workertest.Registry("transcode", New(ffmpeg.Tools{FFmpeg: program})), Worker: "transcode",
		Media:  workertest.Media(320, 180, 10, 2),
		Source: workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "2"), x264)...),
	})
	wantLimit("libx264")
}
