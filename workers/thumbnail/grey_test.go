package thumbnail

import (
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// The test image has each grey in its upper half, from left to right, and patches of colour in its lower
// half. It is as high as a cell, so that nothing is scaled.
const (
	rampWidth  = 256
	patchWidth = 16
)

// form is a colour format: luma weights of red and blue, and zero points and ranges of luma and colours.
type form struct {
	name, format, matrix, values  string
	red, blue, zero, luma, chroma float64
}

var forms = []form{
	{"BT.709", "yuv420p", "bt709", "tv", 0.2126, 0.0722, 16, 219, 224},
	{"BT.601", "yuv420p", "smpte170m", "tv", 0.299, 0.114, 16, 219, 224},
	{"full range", "yuvj420p", "bt709", "pc", 0.2126, 0.0722, 0, 255, 255},
}

// colour returns the RGB of a patch, from 0 to 1.
func colour(patch int) (r, g, b float64) {
	step := func(n int) float64 { return []float64{0.1, 0.35, 0.6, 0.85}[n%4] }
	return step(patch), step(patch/4 + 1), step(patch + patch/4 + 2)
}

// store returns the samples of luma and colours for a patch.
func (f form) store(patch int) (y, u, v byte) {
	r, g, b := colour(patch)
	luma := f.red*r + (1-f.red-f.blue)*g + f.blue*b
	sample := func(zero, span, value float64) byte { return byte(math.Round(zero + span*value)) }
	return sample(f.zero, f.luma, luma), sample(128, f.chroma, (b-luma)/(2*(1-f.blue))),
		sample(128, f.chroma, (r-luma)/(2*(1-f.red)))
}

// load returns the RGB that samples represent, from 0 to 255.
func (f form) load(y, u, v byte) [3]float64 {
	luma := (float64(y) - f.zero) / f.luma
	r := luma + 2*(1-f.red)*(float64(v)-128)/f.chroma
	b := luma + 2*(1-f.blue)*(float64(u)-128)/f.chroma
	return [3]float64{255 * r, 255 * (luma - f.red*r - f.blue*b) / (1 - f.red - f.blue), 255 * b}
}

// clip encodes the test image without loss.
func (f form) clip(t *testing.T) string {
	t.Helper()
	planes := [3][]byte{}
	for y := range cellHeight {
		for x := range rampWidth {
			samples := [3]byte{byte(x), 128, 128}
			if y >= cellHeight/2 {
				samples[0], samples[1], samples[2] = f.store(x / patchWidth)
			}
			for p, sample := range samples {
				if p == 0 || x%2 == 0 && y%2 == 0 {
					planes[p] = append(planes[p], sample)
				}
			}
		}
	}
	raw := filepath.Join(t.TempDir(), "a.yuv")
	if err := os.WriteFile(raw, slices.Concat(planes[:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	return workertest.Clip(t, "a.mp4", "-f", "rawvideo", "-pix_fmt", f.format, "-s", fmt.Sprintf("%dx%d", rampWidth, cellHeight),
		"-r", "10", "-i", raw, "-vf", "loop=9:1", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0",
		"-colorspace", f.matrix, "-color_range", f.values)
}

// grey returns the RGB value of luma x in the format of all outputs.
func (f form) grey(x int) float64 {
	y := math.Round(16 + 219*(float64(x)-f.zero)/f.luma)
	return min(255, max(0, math.Round((y-16)*255/219)))
}

// TestGreyIsExact: each grey of the video has its exact value in poster and cells. Colours are within 1 of
// theirs, or within 2 if the source has another format, since rounding to that of all outputs comes first.
func TestGreyIsExact(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			m, source := workertest.Media(rampWidth, cellHeight, 10, 1), f.clip(t)
			m.Video.PixelFormat, m.Video.Matrix, m.Video.Range, m.Video.SampleRatio = f.format, f.matrix, f.values, 1
			attempt := workers.NewAttempt(workers.Attempt{Dir: t.TempDir()}, nil, nil)
			r := run{worker: New(ffmpeg.Tools{}), job: attempt, media: m, input: source}
			key, _, err := r.keyframes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			exact, err := r.exact(t.Context(), 0, 0.25)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.cells(t.Context(), newBoard(m)); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{key.file, exact.file, r.file(cell(1))} {
				f.check(t, file)
			}
			f.checkPoster(t, poster(t, source, m))
		})
	}
}

// check compares a frame with its exact values.
func (f form) check(t *testing.T, file string) {
	t.Helper()
	img, err := imaging.Open(file)
	if err != nil || img.Bounds().Dx() != rampWidth || img.Bounds().Dy() != cellHeight {
		t.Fatalf("frame %v, %v", img, err)
	}
	for x := range rampWidth {
		if got, want := rgb(img, x, cellHeight/4), f.grey(x); got != [3]float64{want, want, want} {
			t.Errorf("%s: luma %d is %v, want %v", filepath.Base(file), x, got, want)
		}
	}
	near := 1.0
	if f.name != "BT.709" {
		near = 2
	}
	for patch := range rampWidth / patchWidth {
		got, want := rgb(img, patch*patchWidth+patchWidth/2, cellHeight*3/4), f.load(f.store(patch))
		for i := range got {
			if math.Abs(got[i]-want[i]) > near {
				t.Errorf("%s: patch %d is %v, want %.2f", filepath.Base(file), patch, got, want)
				break
			}
		}
	}
}

// checkPoster compares the greys of a poster with their exact values, on average over many pixels, since a
// JPEG changes single pixels.
func (f form) checkPoster(t *testing.T, file string) {
	t.Helper()
	img, err := imaging.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	off := 0.0
	for x := range rampWidth {
		for y := range cellHeight / 4 {
			for _, value := range rgb(img, x, y) {
				off += (value - f.grey(x)) / (rampWidth * cellHeight / 4 * 3)
			}
		}
	}
	if math.Abs(off) > 0.1 {
		t.Errorf("greys of the poster are off by %.3f", off)
	}
}

func rgb(img image.Image, x, y int) [3]float64 {
	r, g, b, _ := img.At(x, y).RGBA()
	return [3]float64{float64(r >> 8), float64(g >> 8), float64(b >> 8)}
}
