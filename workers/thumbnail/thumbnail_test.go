package thumbnail

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

func registry() *workers.Registry { return workertest.Registry("thumbnail", New(ffmpeg.Tools{})) }

var x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

func TestConformance(t *testing.T) {
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "thumbnail", Media: workertest.Media(320, 180, 10, 3),
		Source: workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("320x180", "10", "3"), x264)...),
	})
	for job, want := range map[string][]string{
		"thumbnail-poster":     {"thumbnail.jpg", "thumbnail.webp"},
		"thumbnail-storyboard": {"storyboard.jpg", "storyboard.json", "storyboard.vtt"},
	} {
		if got := workertest.Paths(out.Results[job]); !slices.Equal(got, want) {
			t.Errorf("outputs of %s: %v", job, got)
		}
	}
	root := out.Store.Tree(t, out.Results)
	var b board
	data, err := os.ReadFile(filepath.Join(root, "storyboard.json"))
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil || len(b.Tiles) != 3 || b.TileWidth != 284 || b.TileHeight != 160 || b.Tiles[2].X != 568 {
		t.Errorf("storyboard %+v, %v", b, err)
	}
	sheet, err := imaging.Open(filepath.Join(root, "storyboard.jpg"))
	if err != nil || sheet.Bounds().Dx() != 852 || sheet.Bounds().Dy() != 160 {
		t.Fatalf("sheet %v, %v", sheet, err)
	}
	for _, tile := range b.Tiles { // no cell is left black
		if sharpness(imaging.Crop(sheet, image.Rect(tile.X, tile.Y, tile.X+284, tile.Y+160))) < 1 {
			t.Errorf("tile %+v is empty", tile)
		}
	}
}

// TestJobs: people wait for the poster but not for the storyboard, and a job alone says which of them it
// makes.
func TestJobs(t *testing.T) {
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, workertest.Media(1920, 1080, 25, 60))
	if err != nil || len(jobs) != 2 {
		t.Fatalf("%+v, %v", jobs, err)
	}
	poster, board := jobs[0], jobs[1]
	if poster.Name != "poster" || poster.Priority != pipeline.High || poster.Scratch < 3*1280*720 {
		t.Errorf("poster %+v", poster)
	}
	if board.Name != "storyboard" || board.Priority != pipeline.Normal || board.Scratch < 60*3*284*160 || board.Timeout != 360 {
		t.Errorf("storyboard %+v", board)
	}
	store := workertest.NewStore(t)
	source := workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("64x64", "10", "1"), x264)...)
	m := workertest.Media(64, 64, 10, 1)
	task := pipeline.Task{Video: store.Video, Source: store.Add(t, "original", source), Media: &m,
		Job: pipeline.Job{Name: "thumbnail-x", Worker: "thumbnail", Params: []byte("{}"), Part: []byte(`"x"`)}}
	var failed *pipeline.Error
	if result, err := store.Try(t, t.Context(), registry(), task, nil); !errors.As(err, &failed) || failed.Code != pipeline.CodeParameters {
		t.Errorf("an unknown part: %+v, %v", result, err)
	}
}

// TestSkip: the frames that a decoder skips depend on the distance of key frames.
func TestSkip(t *testing.T) {
	groups := func(longest float64) *pipeline.Groups { return &pipeline.Groups{Longest: longest} }
	for _, c := range []struct {
		name     string
		codec    string
		groups   *pipeline.Groups
		interval float64
		want     string
	}{
		{"dense keyframes", "h264", groups(1.001), 1, "nokey all"},
		{"less dense keyframes", "h264", groups(1.2), 1, "noref all"},
		{"short groups", "h264", groups(2), 1, "noref all"},
		{"long groups", "h264", groups(10), 1, "noref"},
		{"unknown groups", "hevc", nil, 4.9, "noref"},
		{"a long video", "hevc", nil, 5, "nokey all"},
		{"a long video", "vp9", nil, 36, "nokey"},
		{"a long video", "h264", groups(10), 6, "nokey all"},
		{"a long video of few keyframes", "h264", groups(100), 36, "noref"},
		{"no such frames", "vp9", groups(5), 1, ""},
		{"no smoothing", "mpeg2video", groups(2), 1, "noref"},
	} {
		got := ""
		for _, o := range skip(pipeline.VideoTrack{Codec: c.codec, Groups: c.groups}, c.interval) {
			got += " " + o.Value
		}
		if strings.TrimSpace(got) != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.codec, got, c.want)
		}
	}
}

// TestPosterIsNear: the poster is from between 18% and 40% of the video, wherever its key frames are.
func TestPosterIsNear(t *testing.T) {
	colours := "color=red:s=64x64:r=10:d=10,noise=alls=20,drawbox=c=green:t=fill:enable='gt(t,1.75)',noise=alls=60," +
		"drawbox=c=blue:t=fill:enable='gt(t,4.2)',noise=alls=20"
	for name, c := range map[string]struct {
		keyint string
		groups *pipeline.Groups
	}{
		"dense":       {"5", &pipeline.Groups{Closed: true, Longest: 0.5, Average: 0.5}},
		"one":         {"1000", &pipeline.Groups{Closed: true, Longest: 10, Average: 10}},
		"one unknown": {"1000", nil}, "dense unknown": {"5", nil},
	} {
		source := workertest.Clip(t, "a.mp4", slices.Concat([]string{"-f", "lavfi", "-i", colours, "-g", c.keyint, "-sc_threshold", "0"}, x264)...)
		m := workertest.Media(64, 64, 10, 10)
		m.Video.Groups = c.groups
		img, err := imaging.Open(poster(t, source, m))
		if err != nil {
			t.Fatal(err)
		}
		small := imaging.Resize(img, 1, 1, imaging.Box)
		if at := small.NRGBAAt(0, 0); at.G <= at.R || at.G <= at.B {
			t.Errorf("%s: the poster is %v, want green", name, at)
		}
	}
}

// TestOneBadSeek: if one part cannot be read, the candidates from others are still used.
func TestOneBadSeek(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("64x64", "10", "10"), x264, []string{"-g", "5"})...)
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	mdat, moov := bytes.Index(data, []byte("mdat"))+4, bytes.Index(data, []byte("moov"))-4
	clear(data[mdat+(moov-mdat)/5 : mdat+(moov-mdat)*3/10]) // two of the three times
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m := workertest.Media(64, 64, 10, 10)
	m.Damaged, m.Video.Groups = true, &pipeline.Groups{Longest: 0.5, Average: 0.5}
	img, err := imaging.Open(poster(t, source, m))
	if err != nil || sharpness(img) < 1 {
		t.Errorf("no poster of a damaged file, %v", err)
	}
}

// TestPosterIsNotBlack: frames of a black start or end do not become the poster.
func TestPosterIsNotBlack(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("64x64", "10", "4"),
		[]string{"-vf", "drawbox=c=black:t=fill:enable='lt(t,1.1)'"}, x264)...)
	img, err := imaging.Open(poster(t, source, workertest.Media(64, 64, 10, 4)))
	if err != nil || sharpness(img) < 1 {
		t.Errorf("the poster is black, %v", err)
	}
}

// TestPosterOfTheWholeLength: if most of a film is black, its poster is a later frame.
func TestPosterOfTheWholeLength(t *testing.T) {
	for _, until := range []string{"3.6", "6.4"} {
		for name, keyint := range map[string]string{"dense": "5", "one": "1000"} {
			source := workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("64x64", "10", "8"), []string{"-vf",
				"drawbox=c=black:t=fill:enable='lt(t," + until + ")'", "-g", keyint, "-sc_threshold", "0"}, x264)...)
			m := workertest.Media(64, 64, 10, 8)
			if name == "dense" {
				m.Video.Groups = &pipeline.Groups{Closed: true, Longest: 0.5, Average: 0.5}
			}
			img, err := imaging.Open(poster(t, source, m))
			if err != nil || sharpness(img) < 1 {
				t.Errorf("black until %s s, keyframes %s: the poster is black, %v", until, name, err)
			}
		}
	}
}

// work runs one job of a video, poster or storyboard, and returns the folder of its outputs.
func work(t *testing.T, job, source string, m pipeline.Media) string {
	t.Helper()
	store := workertest.NewStore(t)
	p := pipeline.Pipeline{Name: "x", Steps: []pipeline.Step{{Worker: "thumbnail"}}}
	jobs, err := pipeline.NewPlan(p, nil, m, registry())
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(jobs, func(j pipeline.Job) bool { return j.Name == "thumbnail-"+job })
	task := pipeline.Task{
		Project: pipeline.DefaultProject, Video: store.Video, Source: store.Add(t, "original", source), Media: &m, Job: jobs[at],
	}
	return store.Tree(t, map[string]pipeline.Result{job: store.Work(t, registry(), task, nil, nil)})
}

// poster returns the path of a video's poster.
func poster(t *testing.T, source string, m pipeline.Media) string {
	t.Helper()
	return filepath.Join(work(t, "poster", source, m), "thumbnail.jpg")
}

// sheet returns the path of a video's storyboard.
func sheet(t *testing.T, source string, m pipeline.Media) string {
	t.Helper()
	return filepath.Join(work(t, "storyboard", source, m), "storyboard.jpg")
}

func TestOneFrameAndTiny(t *testing.T) {
	for _, size := range []int{2, 64} {
		source := workertest.Clip(t, "a.mp4", slices.Concat([]string{"-f", "lavfi", "-i",
			"testsrc2=r=25:d=0.04:s=64x64", "-vf", "scale=" + map[int]string{2: "2:2", 64: "64:64"}[size]}, x264)...)
		m := workertest.Media(size, size, 25, 0.04)
		for path, edge := range map[string]int{poster(t, source, m): size, sheet(t, source, m): 160} {
			img, err := imaging.Open(path)
			if err != nil || img.Bounds().Dx() != edge {
				t.Errorf("%d pixels: %s %v", size, path, err)
			}
		}
	}
}

func TestBoard(t *testing.T) {
	for _, c := range []struct {
		name              string
		w, h              int
		seconds, interval float64
		tiles, columns    int
		cell              image.Point
	}{
		{"short", 1920, 1080, 0.5, 1, 1, 1, image.Pt(284, 160)},
		{"ten seconds", 1920, 1080, 10, 1, 10, 10, image.Pt(284, 160)},
		{"an hour", 1080, 1920, 3600, 36, 100, 10, image.Pt(90, 160)},
		{"a rope", 8192, 16, 20, 1, 20, 10, image.Pt(480, 2)},
		{"a pixel", 1, 1, 2.5, 1, 3, 3, image.Pt(160, 160)},
	} {
		b := newBoard(workertest.Media(c.w, c.h, 25, c.seconds))
		if b.Interval != c.interval || len(b.Tiles) != c.tiles || b.Columns != c.columns || image.Pt(b.TileWidth, b.TileHeight) != c.cell {
			t.Errorf("%s: %+v", c.name, b)
		}
	}
}

func TestVTT(t *testing.T) {
	want := `WEBVTT

00:00:00.000 --> 00:00:01.000
storyboard.jpg#xywh=0,0,284,160

00:00:01.000 --> 00:00:01.500
storyboard.jpg#xywh=284,0,284,160
`
	if got := newBoard(workertest.Media(1920, 1080, 25, 1.5)).vtt(); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := timestamp(3723.0049); got != "01:02:03.005" {
		t.Errorf("timestamp %s", got)
	}
}

func TestSharpness(t *testing.T) {
	checks := imaging.New(64, 64, color.White)
	for i := range 64 * 64 {
		if (i/64+i%64)%2 == 0 {
			checks.Set(i%64, i/64, color.Black)
		}
	}
	if dim := sharpness(imaging.AdjustFunc(checks, func(c color.NRGBA) color.NRGBA {
		return color.NRGBA{R: c.R / 5, G: c.G / 5, B: c.B / 5, A: c.A}
	})); dim >= 1 {
		t.Errorf("a frame of mean luma 25.5 has %g, want that of a black one", dim)
	}
	blurred := imaging.Blur(checks, 2)
	black := imaging.New(64, 64, color.Black)
	if a, b, c := sharpness(checks), sharpness(blurred), sharpness(black); !(a > b && b >= c && c == 0) {
		t.Errorf("checks %g, blurred %g, black %g", a, b, c)
	}
	if sharpness(imaging.New(1, 1, color.White)) != 0 {
		t.Error("a pixel is sharp")
	}
}

// TestTimesOfCells: cells show the frames of their times even if the video track starts late or changes its
// size.
func TestTimesOfCells(t *testing.T) {
	color := func(name, source string, more ...string) string {
		return workertest.Clip(t, name, slices.Concat([]string{"-f", "lavfi", "-i", "color=" + source}, x264, more)...)
	}
	file := workertest.Concat(t, "changing.ts",
		color("a.ts", "red:s=64x64:r=10:d=3"), color("b.ts", "blue:s=96x48:r=10:d=3", "-output_ts_offset", "3"))
	late := workertest.Clip(t, "late.mkv", slices.Concat(workertest.Tone("5"), []string{"-itsoffset", "2", "-f", "lavfi", "-i",
		"color=red:s=64x64:r=10:d=3,drawbox=c=blue:t=fill:enable='gte(t,1.95)'", "-c:a", "pcm_s16le"}, x264)...)
	for _, c := range []struct {
		source, container string
		seconds           float64
		want              string
		groups            *pipeline.Groups
	}{
		{file, "mpegts", 6, "rrrbbb", nil},
		{late, "matroska", 5, "rrrrb", nil},
		{colours(t, "5"), "mov", 6, "rrrbbb", &pipeline.Groups{Longest: 0.5}},     // keyframes alone
		{colours(t, "20"), "mov", 6, "rrrbbb", &pipeline.Groups{Longest: 2}},      // without smoothing
		{colours(t, "1000"), "mov", 6, "rrrbbb", &pipeline.Groups{Longest: 6}},    // needed frames
		{colours(t, "1000"), "mov", 6, "rrrbbb", &pipeline.Groups{Longest: 0.01}}, // a wrong index
	} {
		m := workertest.Media(64, 64, 10, c.seconds)
		m.Container, m.Video.Groups = c.container, c.groups
		img, err := imaging.Open(sheet(t, c.source, m))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i := range c.want {
			if r, _, b, _ := img.At(i*160+80, 80).RGBA(); r > b {
				got += "r"
			} else {
				got += "b"
			}
		}
		if got != c.want {
			t.Errorf("%s: cells %s, want %s", c.container, got, c.want)
		}
	}
}

// TestCellsShowTheirTimes: each cell shows the frame of its time, even the last ones. The brightness of a
// frame gives its time.
func TestCellsShowTheirTimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		keyint string
		groups *pipeline.Groups
		before float64 // seconds by which a cell's frame may be before the middle of its interval
		end    string  // of the video, in seconds
	}{
		{"keyframes each 2 s", "20", &pipeline.Groups{Longest: 2, Average: 2}, 0.2, "9"},
		{"keyframes each 1.2 s", "12", &pipeline.Groups{Longest: 1.2, Average: 1.2}, 0.2, "9"},
		{"keyframes each second", "10", &pipeline.Groups{Longest: 1, Average: 1}, 1, "9"},
		{"keyframes each 0.8 s", "8", &pipeline.Groups{Longest: 0.8, Average: 0.8}, 0.8, "9"},
		{"a last keyframe that ends within its slot", "6", &pipeline.Groups{Longest: 0.6, Average: 0.6}, 0.6, "8.3"},
		{"an index that lies of keyframes each 2 s", "20", &pipeline.Groups{Longest: 0.5, Average: 0.5}, 2, "9"},
	} {
		source := workertest.Clip(t, "a.mp4", slices.Concat([]string{"-f", "lavfi", "-i",
			"color=black:s=64x64:r=10:d=" + c.end + ",geq=lum='16+24*T':cb=128:cr=128", "-g", c.keyint, "-sc_threshold", "0"}, x264)...)
		end, err := strconv.ParseFloat(c.end, 64)
		if err != nil {
			t.Fatal(err)
		}
		m := workertest.Media(64, 64, 10, end)
		m.Video.Groups = c.groups
		img, err := imaging.Open(sheet(t, source, m))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 9 {
			grey, _, _, _ := img.At(i*160+80, 80).RGBA()
			at, middle := float64(grey>>8)/255*219/24, float64(i)+0.5
			if at > middle+0.1 || at < min(middle, end)-c.before-0.1 {
				t.Errorf("%s: cell %d shows %.2f s", c.name, i, at)
			}
		}
	}
}

// colours returns 3 s of red and 3 s of blue, with reordered frames and a key frame every that many.
func colours(t *testing.T, keyint string) string {
	t.Helper()
	return workertest.Clip(t, "a.mp4", "-f", "lavfi", "-i", "color=red:s=64x64:r=10:d=6,drawbox=c=blue:t=fill:enable='gte(t,2.95)'",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-g", keyint, "-keyint_min", keyint, "-sc_threshold", "0")
}

// TestPicturesHaveLimitedTime: a frame that never ends to decode ends the job.
func TestPicturesHaveLimitedTime(t *testing.T) {
	program, wantLimit := workertest.Timed(t)
	workertest.Run(t, workertest.Case{
		Registry: workertest.Registry("thumbnail", New(ffmpeg.Tools{FFmpeg: program})), Worker: "thumbnail",
		Media:  workertest.Media(320, 180, 10, 3),
		Source: workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("320x180", "10", "3"), x264)...),
	})
	wantLimit(frameCodec)
}
