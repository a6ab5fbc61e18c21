package main

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg" // for what the server answers
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// stillPipelines make what TestThumbnails looks at: encoded renditions with B-frames, and a copied one.
const stillPipelines = `
pipelines:
  - name: encoded
    steps:
      - {worker: thumbnail}
      - {worker: transcode, with: {ladder: [360, 180], copy: never}}
  - name: copied
    steps:
      - {worker: transcode, with: {ladder: [360]}}
`

// TestThumbnails asks a real server for frames of films that it has processed, and looks at their pixels.
func TestThumbnails(t *testing.T) {
	config, data := filepath.Join(t.TempDir(), "config.yaml"), t.TempDir()
	check(t, os.WriteFile(config, []byte(stillPipelines), 0o600))
	p := startServe(t, binary, data, "--config", config)
	ready := func(file, name string) string {
		t.Helper()
		view, err := p.client().Upload(t.Context(), client.Upload{Path: file, Pipeline: name})
		check(t, err)
		if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoReady {
			t.Fatalf("%s: %+v\n%s", end.Status, end.Problem, p.stderr)
		}
		return view.ID
	}
	counted := greyClip(t)
	encoded, copied := ready(counted, "encoded"), ready(counted, "copied")
	t.Run("frames", func(t *testing.T) {
		wantFrames(t, p, encoded, map[string]int{
			"0": 0, "0.031": 0, "0.034": 1, "5.999": 179, "6": 180, "19.99": 599,
		})
		wantFrames(t, p, copied, map[string]int{"8.3334": 250, "8.33": 249, "11.9": 357, "20": 599})
	})
	t.Run("shapes", func(t *testing.T) { wantShapes(t, p, encoded) })
	t.Run("command", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cat.jpg")
		args := []string{"videos", "thumbnail", encoded, "--time", "5.999", "--width", "64", "--server", p.url, "--out"}
		if said := command(t, append(args, file)...); !strings.Contains(said, file) {
			t.Errorf("it printed %s", said)
		}
		raw, err := os.ReadFile(file)
		check(t, err)
		if want := p.stillBytes(t, encoded, "jpg", "time=5.999&width=64"); !bytes.Equal(raw, want) {
			t.Errorf("the file has %d bytes, the server answers %d", len(raw), len(want))
		}
		var out, errs bytes.Buffer
		if err := run(t.Context(), append(args, "cat.gif"), &out, &errs); exitCode(err) != exitUsage {
			t.Errorf("as a GIF: %v", err)
		}
	})
	t.Run("upright", func(t *testing.T) { wantUpright(t, p, ready(leaningClip(t), "encoded")) })
	t.Run("deleted", func(t *testing.T) {
		check(t, p.client().Delete(t.Context(), encoded))
		folder := filepath.Join(data, "objects", "videos", encoded)
		pipelinetest.Until(t, "the objects are deleted", func() bool {
			_, err := os.Stat(folder)
			return os.IsNotExist(err)
		})
		if status, raw := p.answer(t, "/play/"+encoded+"/thumbnail.jpg?time=1"); status != 404 {
			t.Errorf("of a deleted video: %d %.200s", status, raw)
		}
		if left, err := os.ReadDir(filepath.Join(data, "stills")); err != nil || len(left) != 0 {
			t.Errorf("scratch: %v, %v", left, err)
		}
	})
}

// stillFrames is how many frames greyClip has, 30 a second.
const stillFrames = 600

// greyAt returns the luma of a frame of greyClip: neighbours differ by 37 or more.
func greyAt(frame int) int { return 16 + frame*37%200 }

// greyClip makes a film whose frames are of one grey each, by which they are known.
func greyClip(t *testing.T) string {
	t.Helper()
	return workertest.Clip(t, "grey.mp4", "-f", "lavfi", "-i", fmt.Sprintf(
		"color=black:s=640x360:r=30:d=%d,format=yuv444p,geq=lum='16+mod(N*37,200)':cb=128:cr=128,format=yuv420p",
		stillFrames/30), "-c:v", "libx264", "-preset", "veryfast", "-qp", "4", "-g", "60", "-sc_threshold", "0",
		"-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
}

// wantFrames checks that a time leads to the frame that is shown then: at the ends, beside the borders of
// segments and groups, and near the limits of a frame.
func wantFrames(t *testing.T, p *process, id string, frames map[string]int) {
	t.Helper()
	for time, frame := range frames {
		img := p.still(t, id, "jpg", "time="+time+"&width=64")
		r, _, _, _ := img.At(20, 20).RGBA()
		want := float64(greyAt(frame)-16) * 255 / 219
		if got := float64(r >> 8); math.Abs(got-want) > 8 {
			t.Errorf("%s at %s s: grey %.0f, want %.0f of frame %d", id, time, got, want, frame)
		}
	}
}

// wantShapes checks sizes and bars as ffprobe and the pixels show them.
func wantShapes(t *testing.T, p *process, id string) {
	t.Helper()
	for query, want := range map[string]string{ // with the format before it
		"jpg?time=1":                                "mjpegx640x360",
		"webp?time=1&width=2000&height=2000":        "webpx640x360",
		"webp?time=1&width=100&height=100":          "webpx100x56",
		"jpg?time=1&width=101&height=51&fit=pad":    "mjpegx101x51",
		"webp?time=1&width=90&height=160&fit=crop":  "webpx90x160",
		"jpg?time=1&width=77&height=33&fit=stretch": "mjpegx77x33",
		"jpg?time=1&width=3840&fit=crop":            "mjpegx3840x2160",
		"webp?width=160":                            "webpx160x90",
	} {
		format, query, _ := strings.Cut(query, "?")
		file := filepath.Join(t.TempDir(), "still."+format)
		check(t, os.WriteFile(file, p.stillBytes(t, id, format, query), 0o600))
		out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of",
			"csv=p=0:s=x", file).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s %s: %s, %v; want %s", format, query, got, err, want)
		}
	}
	img := p.still(t, id, "jpg", "time=1&width=200&height=200&fit=pad") // the frame is 113 high
	for y, black := range map[int]bool{2: true, 40: true, 48: false, 150: false, 160: true, 198: true} {
		if r, _, _, _ := img.At(100, y).RGBA(); (r>>8 < 12) != black {
			t.Errorf("line %d of 200 is %d; black: %t", y, r>>8, black)
		}
	}
}

// leaningClip makes a film of HDR frames that lie on their side and have wide pixels: the left half red, the
// right one blue.
func leaningClip(t *testing.T) string {
	t.Helper()
	plain := workertest.Clip(t, "leaning.mp4", "-f", "lavfi", "-i", "color=red:s=160x180:r=25:d=2", "-f", "lavfi", "-i",
		"color=blue:s=160x180:r=25:d=2", "-filter_complex", "[0][1]hstack,format=gbrp,"+
			"zscale=min=gbr:m=2020_ncl:pin=709:tin=709:p=2020:t=smpte2084:r=limited:npl=200,format=yuv420p10le,setsar=2",
		"-c:v", "libx264", "-preset", "ultrafast", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace",
		"bt2020nc", "-color_range", "tv")
	return workertest.Rotate(t, plain, 90)
}

// wantUpright checks that a frame stands, has square pixels and the colours of the poster.
func wantUpright(t *testing.T, p *process, id string) {
	t.Helper()
	poster, err := http.Get(p.url + "/play/" + id + "/thumbnail.jpg")
	check(t, err)
	defer poster.Body.Close()
	want, _, err := image.Decode(poster.Body)
	check(t, err)
	img := p.still(t, id, "jpg", "time=1")
	b := img.Bounds()
	if b != want.Bounds() || b.Dx() != 180 || b.Dy() != 640 { // 320 wide pixels of twice the width
		t.Fatalf("%v, the poster is %v", b, want.Bounds())
	}
	for _, y := range []int{100, 540} {
		r, _, blue, _ := img.At(90, y).RGBA()
		if y == 100 && r < 2*blue || y == 540 && blue < 2*r {
			t.Errorf("line %d: red %d, blue %d", y, r>>8, blue>>8)
		}
		pr, pg, pb, _ := want.At(90, y).RGBA()
		_, g, _, _ := img.At(90, y).RGBA()
		for _, pair := range [][2]uint32{{r, pr}, {g, pg}, {blue, pb}} {
			if d := int(pair[0]>>8) - int(pair[1]>>8); d > 8 || d < -8 {
				t.Errorf("line %d: %v, the poster has %v", y, img.At(90, y), want.At(90, y))
			}
		}
	}
}

// still asks for a thumbnail, and decodes it.
func (p *process) still(t *testing.T, id, format, query string) image.Image {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(p.stillBytes(t, id, format, query)))
	check(t, err)
	return img
}

func (p *process) stillBytes(t *testing.T, id, format, query string) []byte {
	t.Helper()
	status, raw := p.answer(t, "/play/"+id+"/thumbnail."+format+"?"+query)
	if status != 200 {
		t.Fatalf("%s: %d %.400s\n%s", query, status, raw, p.stderr)
	}
	return raw
}

// answer returns the status and body of a GET.
func (p *process) answer(t *testing.T, path string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(p.url + path)
	check(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, raw
}
