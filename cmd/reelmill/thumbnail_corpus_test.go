//go:build corpus

package main

import (
	"fmt"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// TestThumbnailsOfCorpus compares thumbnails of the videos of -corpus with what ffmpeg decodes from the whole
// rendition at the same times: phone clips on their side, HDR and wide pixels among them.
func TestThumbnailsOfCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(*corpus, "*.*"))
	check(t, err)
	p := startServe(t, binary, t.TempDir())
	compared := 0
	for _, file := range files {
		view, err := p.client().Upload(t.Context(), client.Upload{Path: file})
		if err != nil {
			continue // not a video
		}
		end := awaitEnd(t, p.client(), view.ID)
		if end.Status != pipeline.StateVideoReady {
			continue
		}
		film, rate := p.whole(t, end)
		for _, share := range []float64{0, 0.5, 0.9} {
			at := math.Floor(share*end.Media.Duration*100) / 100
			got := p.still(t, view.ID, "jpg", "width=160&time="+strconv.FormatFloat(at, 'f', 2, 64))
			from := max(0, (math.Floor(at*rate+0.01)-0.5)/rate) // half a frame before the one that is shown
			frame := filepath.Join(t.TempDir(), "frame.jpg")
			out, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-ss", strconv.FormatFloat(from, 'f', 4, 64), "-i", film,
				"-frames:v", "1", "-vf", "scale=160:-1:flags=bicubic", frame).CombinedOutput()
			if _, gone := os.Stat(frame); err != nil || gone != nil {
				t.Logf("%s: ffmpeg has no frame at %v: %v %s", filepath.Base(file), at, err, out)
				continue
			}
			f, err := os.Open(frame)
			check(t, err)
			want, _, err := image.Decode(f)
			check(t, err)
			check(t, f.Close())
			compared++
			if d := distance(got, want); d > 12 {
				t.Errorf("%s at %v s: %v differs by %.1f from the playlist's %v", filepath.Base(file), at, got.Bounds(), d,
					want.Bounds())
			}
		}
	}
	t.Logf("%d images compared", compared)
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// whole saves the first rendition of a video as one file, and returns its path and frames/s.
func (p *process) whole(t *testing.T, v pipeline.VideoView) (path string, rate float64) {
	t.Helper()
	outputs, err := p.client().Outputs(t.Context(), v.ID)
	check(t, err)
	path = filepath.Join(t.TempDir(), "film.mp4")
	f, err := os.Create(path)
	check(t, err)
	for _, o := range outputs {
		if o.Kind != pipeline.KindRendition {
			continue
		}
		rate = o.FrameRate
		names := []string{filepath.Dir(o.Path) + "/init.mp4"}
		for n := range o.Segments.Count {
			names = append(names, fmt.Sprintf(o.Path, o.Segments.First+n))
		}
		for _, name := range names {
			status, raw := p.answer(t, "/play/"+v.ID+"/"+name)
			if status != 200 {
				t.Fatalf("%s: %d", name, status)
			}
			_, err := f.Write(raw)
			check(t, err)
		}
		break
	}
	check(t, f.Close())
	return path, rate
}

// distance returns the mean difference of the channels of two images, of 255; a large one if their sizes differ
// by more than a line.
func distance(a, b image.Image) float64 {
	w, h := min(a.Bounds().Dx(), b.Bounds().Dx()), min(a.Bounds().Dy(), b.Bounds().Dy())
	if max(a.Bounds().Dx(), b.Bounds().Dx()) > w+1 || max(a.Bounds().Dy(), b.Bounds().Dy()) > h+1 {
		return 255
	}
	sum := 0.0
	for y := range h {
		for x := range w {
			r1, g1, b1, _ := a.At(x, y).RGBA()
			r2, g2, b2, _ := b.At(x, y).RGBA()
			for _, pair := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}} {
				sum += math.Abs(float64(pair[0]>>8) - float64(pair[1]>>8))
			}
		}
	}
	return sum / float64(3*w*h)
}
