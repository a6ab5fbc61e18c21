package watermark

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/disintegration/imaging"
	"golang.org/x/image/bmp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/internal/userimage"
	"github.com/reelmill/reelmill/workers/workertest"
)

func registry() *workers.Registry { return workertest.Registry("watermark", New(ffmpeg.Tools{})) }

var x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

// gray returns a plain grey video of w by h, with audio.
func gray(t *testing.T, size string) string {
	t.Helper()
	return workertest.Clip(t, "a.mp4", slices.Concat([]string{"-f", "lavfi", "-i", "color=gray:r=5:d=1:s=" + size},
		workertest.Tone("1"), x264, []string{"-c:a", "aac"})...)
}

// red writes a red PNG of w by h.
func red(t *testing.T, w, h int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mark.png")
	if err := imaging.Save(imaging.New(w, h, color.NRGBA{R: 255, A: 255}), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func withSound(m pipeline.Media) pipeline.Media {
	m.Audio = []pipeline.AudioTrack{{Stream: 1, Codec: "aac", Channels: 1, Duration: m.Duration}}
	return m
}

func TestConformance(t *testing.T) {
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "watermark", Params: `{"image":"mark"}`, Source: gray(t, "320x180"),
		Assets: map[string]string{"mark": red(t, 100, 50)}, Media: withSound(workertest.Media(320, 180, 5, 1)),
	})
	o := out.Results["watermark"].Outputs
	if len(o) != 1 || o[0].Path != "watermarked.mp4" || o[0].Kind != pipeline.KindVideo || o[0].Width != 320 {
		t.Fatalf("outputs %+v", o)
	}
	// 15% of the width is 48, the padding 16: the mark covers 256..304 by 140..164.
	img := frame(t, out.Store.Local(o[0]))
	for _, at := range []struct {
		x, y int
		red  bool
	}{{280, 152, true}, {260, 144, true}, {300, 160, true}, {250, 152, false}, {310, 152, false}, {280, 134, false}, {280, 172, false}, {40, 40, false}} {
		if r, _, b, _ := img.At(at.x, at.y).RGBA(); (int(r>>8)-int(b>>8) > 100) != at.red {
			t.Errorf("%d,%d is %v", at.x, at.y, img.At(at.x, at.y))
		}
	}
}

func frame(t *testing.T, file string) image.Image {
	t.Helper()
	img, err := imaging.Open(workertest.Clip(t, "f.png", "-i", file, "-frames:v", "1"))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestText(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", slices.Concat([]string{"-f", "lavfi", "-i", "color=gray:r=5:d=1:s=320x180"}, x264)...)
	store := workertest.NewStore(t)
	p := pipeline.Pipeline{Name: "x", Steps: []pipeline.Step{{Worker: "watermark", With: map[string]any{
		"text": `ReelMill: [50%] 'x' \;,`, "position": "top-left", "scale": 0.5,
	}}}}
	r := workertest.Video(t, registry(), store, source, workertest.Media(320, 180, 5, 1), p, nil)
	img := frame(t, store.Local(r["watermark"].Outputs[0]))
	bright := 0
	for x := range 320 {
		for y := range 180 {
			r, g, b, _ := img.At(x, y).RGBA()
			lit := r>>8 > 200 && g>>8 > 200 && b>>8 > 200
			if lit && (x < 14 || x > 180 || y < 14 || y > 60) {
				t.Fatalf("white at %d,%d", x, y)
			}
			if lit {
				bright++
			}
		}
	}
	if bright < 50 {
		t.Errorf("%d white pixels", bright)
	}
}

func encoded(t *testing.T, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestImages: what becomes of an image, and of a file that cannot be read, which is no fault of the image:
// another attempt may fetch it.
func TestImages(t *testing.T) {
	good := encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, imaging.New(4, 4, color.White)) })
	damaged := bytes.Clone(good)
	damaged[len(damaged)-20]++ // the checksum of the pixels
	file := func(data []byte) string {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	large := file(good)
	if err := os.Truncate(large, userimage.MaxBytes+1); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		code pipeline.Code // empty: none
		want string        // in the error
	}{
		"good":    {file(good), "", ""},
		"BMP":     {file(encoded(t, func(b *bytes.Buffer) error { return bmp.Encode(b, imaging.New(4, 4, color.White)) })), pipeline.CodeParameters, "the watermark image is refused: neither JPEG, PNG nor WebP"},
		"damaged": {file(damaged), pipeline.CodeParameters, "the watermark image is refused: damaged: it cannot be decoded"},
		"large":   {large, pipeline.CodeParameters, "the watermark image is refused: 67108865 bytes"},
		"missing": {large + "y", pipeline.CodeFetchFailed, "read the watermark"},
		"folder":  {t.TempDir(), pipeline.CodeFetchFailed, "read the watermark"},
	} {
		img, err := run{}.readImage(t.Context(), c.path, 20, 10)
		problem := pipeline.ProblemOf(err)
		switch {
		case c.code == "" && (err != nil || img.Bounds() != image.Rect(0, 0, 10, 10)):
			t.Errorf("%s: %v", name, err)
		case c.code != "" && (problem == nil || problem.Code != c.code || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s %q", name, err, c.code, c.want)
		}
	}
}

// TestSoundThatChanges: television that goes from stereo to 5.1 is watermarked, with the audio before and
// after.
func TestSoundThatChanges(t *testing.T) {
	part := func(name, layout, hertz, offset string) []byte {
		data, err := os.ReadFile(workertest.Clip(t, name, slices.Concat(workertest.Pattern("64x64", "5", "2"),
			[]string{"-f", "lavfi", "-i", "sine=f=" + hertz + ":r=48000:d=2,aformat=channel_layouts=" + layout},
			x264, []string{"-c:a", "ac3", "-muxdelay", "0", "-output_ts_offset", offset})...))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	source := filepath.Join(t.TempDir(), "a.ts")
	both := slices.Concat(part("a.ts", "stereo", "440", "0"), part("b.ts", "5.1(side)", "880", "2"))
	if err := os.WriteFile(source, both, 0o600); err != nil {
		t.Fatal(err)
	}
	m := withSound(workertest.Media(64, 64, 5, 4))
	m.Container, m.Audio[0].Codec, m.Audio[0].Channels = "mpegts", "ac3", 2
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "watermark", Params: `{"text":"A"}`, Source: source, Media: m,
	})
	data, err := os.ReadFile(workertest.Clip(t, "pcm.raw", "-i", out.Store.Local(out.Results["watermark"].Outputs[0]),
		"-vn", "-ac", "1", "-ar", "48000", "-f", "s16le"))
	if err != nil {
		t.Fatal(err)
	}
	if seconds := float64(len(data)) / 96000; seconds < 3.9 || seconds > 4.1 {
		t.Errorf("%.3f s of audio", seconds)
	}
	for from, want := range map[int]int{24000: 440, 120000: 880} { // crossings in half a second
		crossings := 0
		for i := from; i < from+24000; i++ {
			if (data[2*i+1] < 128) != (data[2*i+3] < 128) {
				crossings++
			}
		}
		if crossings < want-20 || crossings > want+20 {
			t.Errorf("%d crossings at %.1f s, want %d", crossings, float64(from)/48000, want)
		}
	}
}

// TestLoudMixDoesNotClip: the decoded mix does not clip.
func TestLoudMixDoesNotClip(t *testing.T) {
	const tone = "0.9*sin(2*PI*220*t)|0.9*sin(2*PI*330*t)|"
	source := workertest.Clip(t, "a.mov", slices.Concat(workertest.Pattern("64x64", "5", "2"), []string{"-f", "lavfi", "-i",
		"aevalsrc=" + tone + tone + tone + "0.9*(random(0)-0.5)|0.9*(random(1)-0.5):s=48000:c=7.1:d=2"},
		x264, []string{"-c:a", "pcm_s16le"})...)
	m := withSound(workertest.Media(64, 64, 5, 2))
	m.Audio[0].Codec, m.Audio[0].Channels = "pcm_s16le", 8
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "watermark", Params: `{"text":"A"}`, Source: source, Media: m,
	})
	data, err := os.ReadFile(workertest.Clip(t, "pcm.raw", "-i", out.Store.Local(out.Results["watermark"].Outputs[0]),
		"-vn", "-ar", "192000", "-f", "f32le"))
	if err != nil {
		t.Fatal(err)
	}
	peak := 0.0
	for ; len(data) > 0; data = data[4:] {
		peak = max(peak, math.Abs(float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))))
	}
	if peak = 20 * math.Log10(peak); peak > -1 || peak < -6 {
		t.Errorf("a peak of %.2f dBFS", peak)
	}
}

func TestParams(t *testing.T) {
	w, planner := New(ffmpeg.Tools{}), registry()
	for raw, ok := range map[string]bool{
		`{"text":"a"}`: true, `{"image":"mark"}`: true, `{"text":"a","opacity":0,"padding":0,"scale":1}`: true,
		`{"text":"Ελλάς Россия é"}`: true, `{"text":"a","position":"center"}`: true,
		`{}`: false, `{"text":"a","image":"b"}`: false, `{"image":"../x"}`: false, `{"text":"  "}`: false,
		`{"text":"日本"}`: false, `{"text":"a\nb"}`: false, `{"text":"a","scale":2}`: false, `{"text":"a","opacity":-1}`: false,
		`{"text":"a","position":"middle"}`: false, `{"text":"a","padding":0.9}`: false, `{"text":"a","size":1}`: false,
		`{"text":"` + strings.Repeat("x", 201) + `"}`: false,
	} {
		if _, err := planner.Plan("watermark", []byte(raw), workertest.Media(64, 64, 5, 1)); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if _, err := w.Plan(Params{Text: "\xff"}, pipeline.Media{}); err == nil {
		t.Error("broken UTF-8 passed")
	}
	for _, share := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -0.1, 1.1} { // JSON has no NaN
		for name, p := range map[string]Params{
			"opacity": {Text: "a", Opacity: &share}, "scale": {Text: "a", Scale: &share}, "padding": {Text: "a", Padding: &share},
		} {
			if _, err := w.Plan(p, pipeline.Media{}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %g: %v", name, share, err)
			}
		}
	}
}

// TestUploadChecks: what an upload may not send is known before the video is accepted. A step that uploads
// complete may be empty in the configuration.
func TestUploadChecks(t *testing.T) {
	planner := registry()
	doc := func(with map[string]any, when string) pipeline.Pipeline {
		return pipeline.Pipeline{Name: "p", Version: 1, Steps: []pipeline.Step{{Worker: "watermark", With: with, When: when}}}
	}
	for _, when := range []string{"", pipeline.WhenRequested} {
		if err := doc(map[string]any{}, when).Validate(planner); err != nil {
			t.Errorf("an empty step, when %q: %v", when, err)
		}
	}
	for name, c := range map[string]struct {
		with, sent map[string]any
		want       string // in the error; empty: none
	}{
		"a text":         {nil, map[string]any{"text": "a"}, ""},
		"an image":       {nil, map[string]any{"image": "watermark"}, ""},
		"text of step":   {map[string]any{"text": "a"}, map[string]any{"position": "top"}, ""},
		"nothing":        {nil, map[string]any{}, "neither an image nor a text"},
		"only a place":   {map[string]any{"position": "top"}, map[string]any{"opacity": 1}, "neither an image nor a text"},
		"both":           {map[string]any{"text": "a"}, map[string]any{"image": "watermark"}, "both an image and a text"},
		"no such letter": {nil, map[string]any{"text": "日本"}, "the font has no letter"},
		"nothing shows":  {nil, map[string]any{"text": "\u00a0 \u00a0"}, "blank"},
		"zero width":     {nil, map[string]any{"text": strings.Repeat("\u200b", 200)}, "the font has no letter"},
		"controls":       {nil, map[string]any{"text": strings.Repeat("\x00", 200)}, "the font has no letter '\\x00'"},
		"a line end":     {nil, map[string]any{"text": "a\rb"}, "the font has no letter"},
		"infinite":       {nil, map[string]any{"text": "a", "scale": math.Inf(1)}, "encode parameters"},
		"no number":      {nil, map[string]any{"text": "a", "opacity": math.NaN()}, "encode parameters"},
	} {
		_, err := doc(c.with, pipeline.WhenRequested).StepOf("watermark", c.sent, planner)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := planner.Plan("watermark", []byte(`{"text":"a","scale":1e999}`), pipeline.Media{}); err == nil {
		t.Error("a number beyond all passed")
	}
	check := planner.Traits()["watermark"].Upload.CheckFile
	broken := errors.New("the line was cut")
	if err := check(iotest.ErrReader(broken)); !errors.Is(err, broken) || pipeline.ProblemOf(err).Code == pipeline.CodeParameters {
		t.Errorf("a file that cannot be read: %v", err)
	}
	if err := check(strings.NewReader("GIF89a")); pipeline.ProblemOf(err) == nil || pipeline.ProblemOf(err).Code != pipeline.CodeParameters {
		t.Errorf("a GIF: %v", err)
	}
}

// TestTextIsBounded: no text takes more memory than its box, however wide it would be at the reference size.
func TestTextIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"wide": strings.Repeat("W", 200), "one letter": "I", "narrow": strings.Repeat("|", 200), "mixed": strings.Repeat("Щ ", 100),
	} {
		for _, box := range [][2]int{{1, 1}, {1920, 2}, {2, 1920}, {288, 1080}, {8192, 1080}} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			img, err := drawText(text, box[0], box[1])
			runtime.ReadMemStats(&after)
			if err != nil || img.Bounds().Dx() > box[0] || img.Bounds().Dy() > box[1] {
				t.Errorf("%s in %v: %v, %v", name, box, img.Bounds(), err)
			}
			// The picture, and masks and outlines of letters that are at most as high as the box.
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(8*box[0]*box[1]+40*box[1]*box[1]+8<<20); got > most {
				t.Errorf("%s in %v: %d bytes, at most %d expected", name, box, got, most)
			}
		}
	}
}

// TestPlace: every anchor keeps the mark inside the frame, at every size.
func TestPlace(t *testing.T) {
	one := 1.0
	half := 0.5
	for _, size := range []picture.Size{{Width: 2, Height: 2}, {Width: 1920, Height: 1080}, {Width: 64, Height: 1920}, {Width: 8192, Height: 16}} {
		for _, p := range []Params{{}, {Scale: &one}, {Padding: &half}, {Scale: &one, Padding: &half}} {
			for _, position := range append([]Position{""}, positions...) {
				p.Position = position
				maxW, maxH := p.box(size)
				w, h := userimage.Picture{Width: 300, Height: 200}.Fit(maxW, maxH)
				x, y := p.place(size, w, h)
				if w < 1 || h < 1 || x < 0 || y < 0 || x+w > size.Width || y+h > size.Height {
					t.Errorf("%v %+v: %dx%d at %d,%d", size, p, w, h, x, y)
				}
				text, err := drawText("ReelMill", maxW, maxH)
				if err != nil || text.Bounds().Dx() > maxW || text.Bounds().Dy() > maxH {
					t.Errorf("%v %+v: text %v %v", size, p, text.Bounds(), err)
				}
			}
		}
	}
	p := Params{}
	if x, y := p.place(picture.Size{Width: 1000, Height: 500}, 150, 50); x != 800 || y != 400 {
		t.Errorf("default place %d,%d", x, y)
	}
}

func TestFade(t *testing.T) {
	img := imaging.New(1, 1, color.NRGBA{R: 9, A: 200})
	fade(img, 0.5)
	if img.Pix[3] != 100 || img.Pix[0] != 9 {
		t.Errorf("pixel %v", img.Pix)
	}
}

// TestHidesTheSource: otherwise the clean source of a marked video would be published as its top rung.
func TestHidesTheSource(t *testing.T) {
	if got := registry().Traits()["watermark"]; !got.HidesSource || got.Upload == nil || got.Upload.Asset != "image" {
		t.Errorf("traits %+v", got)
	}
}

// TestWatermarkHasLimitedTime: a frame that never ends to decode ends the job.
func TestWatermarkHasLimitedTime(t *testing.T) {
	program, wantLimit := workertest.Timed(t)
	workertest.Run(t, workertest.Case{
		Registry: workertest.Registry("watermark", New(ffmpeg.Tools{FFmpeg: program})), Worker: "watermark",
		Params: `{"image":"mark"}`, Source: gray(t, "320x180"), Assets: map[string]string{"mark": red(t, 100, 50)},
		Media: withSound(workertest.Media(320, 180, 5, 1)),
	})
	wantLimit("libx264")
}
