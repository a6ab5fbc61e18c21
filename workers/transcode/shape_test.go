package transcode

import (
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

// piece is a part of a stream whose format changes, at 10 frames/s.
type piece struct{ source, size, seconds, pixels, format string }

// changing returns a file of the pieces, with parameter sets in the stream.
func changing(t *testing.T, name string, pieces ...piece) string {
	t.Helper()
	var stream []byte
	for _, p := range pieces {
		source := []string{"-f", "lavfi", "-i", p.source + "s=" + p.size + ":r=10:d=" + p.seconds}
		part, err := os.ReadFile(workertest.Clip(t, "a.h264", args(source,
			[]string{"-vf", "setsar=" + p.pixels + ",format=" + p.format}, x264[:4], []string{"-g", "20"})...))
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, part...)
	}
	file := filepath.Join(t.TempDir(), "all.h264")
	if err := os.WriteFile(file, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	form := map[string][]string{".mp4": {"-tag:v", "avc3"}}[filepath.Ext(name)]
	return workertest.Clip(t, name, args([]string{"-r", "10", "-f", "h264", "-i", file, "-c", "copy"}, form)...)
}

// TestGridOfChangingForm: no frame is lost or moved when the size, the shape of pixels or the pixel format
// changes, even at or near the border of a chunk.
func TestGridOfChangingForm(t *testing.T) {
	source := changing(t, "a.mp4", piece{"testsrc2=", "128x72", "6", "1", "yuv420p"}, piece{"testsrc2=", "72x128", "5.9", "1", "yuv420p"},
		piece{"testsrc2=", "96x72", "2.2", "4/3", "yuv420p"}, piece{"testsrc2=", "128x72", "3.9", "1", "yuv444p"},
		piece{"testsrc2=", "128x72", "2", "4/3", "yuv420p"})
	m := workertest.Media(128, 72, 10, 20)
	m.Video.SampleRatio, m.Video.PixelFormat = 1, "yuv420p"
	checkGrid(t, source, m, Params{Ladder: []int{36, 72}})
	m.Video.Interlaced = true
	checkGrid(t, source, m, Params{Ladder: []int{72}})
}

// TestAnotherShapeIsNotStretched: in every rung a part of another shape keeps it, between bars, and no frame
// is missing.
func TestAnotherShapeIsNotStretched(t *testing.T) {
	source := changing(t, "a.ts", piece{"color=white:", "128x72", "2", "1", "yuv420p"}, piece{"color=white:", "72x128", "1.5", "1", "yuv420p"},
		piece{"color=white:", "128x72", "1.5", "3/4", "yuv420p"}, piece{"color=white:", "128x72", "1", "4/3", "yuvj420p"})
	m := workertest.Media(128, 72, 10, 6)
	m.Video.SampleRatio, m.Video.PixelFormat = 1, "yuv420p"
	m.Container = "mpegts" // an MP4 has the pixels' shape in its header
	root := runAll(t, `{"ladder":[36,72]}`, source, m)
	verifyTree(t, root, map[string][2]int{"72p": {128, 72}, "36p": {64, 36}})
	for _, c := range []struct {
		second        string
		width, height int // of the white area, in the rung of 72 lines
	}{{"1.9", 128, 72}, {"2.0", 40, 72}, {"3.4", 40, 72}, {"3.5", 96, 72}, {"4.9", 96, 72}, {"5.9", 128, 54}} {
		for rung, factor := range map[string]int{"72p": 1, "36p": 2} {
			img := frameAt(t, root, rung, c.second)
			got := image.Pt(bright(img, 1, 0), bright(img, 0, 1))
			if d := got.Sub(image.Pt(c.width/factor, c.height/factor)); d.X*d.X > 4 || d.Y*d.Y > 4 {
				t.Errorf("%s at %s s: %v are white, want %dx%d", rung, c.second, got, c.width/factor, c.height/factor)
			}
		}
	}
}

// bright counts the bright pixels on the line through the middle in a direction.
func bright(img image.Image, dx, dy int) (n int) {
	b := img.Bounds()
	for i := range max(b.Dx()*dx, b.Dy()*dy) {
		r, _, _, _ := img.At(b.Dx()/2*dy+i*dx, b.Dy()/2*dx+i*dy).RGBA()
		if r > 0x8000 {
			n++
		}
	}
	return n
}

// TestTurnedChangingShape: the parts of a turned video keep their shape, too.
func TestTurnedChangingShape(t *testing.T) {
	source := workertest.Rotate(t, changing(t, "a.mp4", piece{"color=white:", "64x32", "1", "1", "yuv420p"},
		piece{"color=white:", "32x32", "1", "1", "yuv420p"}), 90)
	m := workertest.Media(32, 64, 10, 2)
	m.Video = pipeline.VideoTrack{Codec: "h264", Width: 32, Height: 64, CodedWidth: 64, CodedHeight: 32, Rotation: 90,
		FrameRateNum: 10, FrameRateDen: 1, SampleRatio: 1, PixelFormat: "yuv420p"}
	root := runAll(t, "{}", source, m)
	for second, want := range map[string]image.Point{"0.5": {32, 64}, "1.5": {32, 32}} {
		if img := frameAt(t, root, "32p", second); (image.Point{bright(img, 1, 0), bright(img, 0, 1)}) != want {
			t.Errorf("%s s: %d by %d are white, want %v", second, bright(img, 1, 0), bright(img, 0, 1), want)
		}
	}
}

// TestTurnedKeepsEveryFrame: a turned video whose size changes has each frame exactly once, in order.
func TestTurnedKeepsEveryFrame(t *testing.T) {
	source := workertest.Rotate(t, changing(t, "a.mp4", piece{"testsrc2=", "128x72", "6", "1", "yuv420p"},
		piece{"testsrc2=", "72x128", "5.9", "1", "yuv420p"}, piece{"testsrc2=", "96x72", "2.1", "1", "yuv420p"}), 90)
	m := workertest.Media(72, 128, 10, 14)
	m.Video.CodedWidth, m.Video.CodedHeight, m.Video.Rotation = 128, 72, 90
	m.Video.SampleRatio, m.Video.PixelFormat = 1, "yuv420p"
	best := checkGrid(t, source, m, Params{Ladder: []int{36, 72}})
	for i := 1; i < len(best); i++ {
		if best[i] == best[i-1] {
			t.Errorf("frame %d repeats the one before", i)
		}
	}
}
