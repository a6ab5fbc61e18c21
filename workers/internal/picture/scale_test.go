package picture

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// moving is a source with sharp edges and noise, on which errors of scaling are visible.
const moving = "testsrc2=s=%:r=25:d=1,noise=alls=8:allf=t:all_seed=1,format=yuv420p"

func run(t testing.TB, args ...string) string {
	t.Helper()
	args = append([]string{"-nostdin", "-hide_banner", "-loglevel", "info", "-threads", "1"}, args...)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return string(out)
}

// psnr compares the outputs of two chains for frames of a size, in dB.
func psnr(t *testing.T, size, one, other string) float64 {
	t.Helper()
	graph := strings.Replace(moving, "%", size, 1) + ",split[a][b];[a]" + one + "[x];[b]" + other + "[y];[x][y]psnr"
	found := regexp.MustCompile(`average:(\S+)`).FindStringSubmatch(
		run(t, "-filter_complex", graph, "-f", "null", "-"))
	if found == nil {
		t.Fatal("psnr said nothing")
	}
	if found[1] == "inf" {
		return 100
	}
	db, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestResampleIsTheScaleFilter: the output is like that of ffmpeg's scale filter when that computes exactly
// and knows that colours are sited at the left, as in H.264. It also holds for odd sizes and pixels that are
// not square.
func TestResampleIsTheScaleFilter(t *testing.T) {
	const exact = ":flags=bicubic+accurate_rnd+full_chroma_int:in_h_chr_pos=0:out_h_chr_pos=0,setsar=1"
	if db := psnr(t, "1280x720", Resize(Size{640, 360}, Rate{}), "scale=640:360"+exact); db < 55 {
		t.Errorf("a rung: %.1f dB", db)
	}
	for size, v := range map[string]pipeline.VideoTrack{
		"1280x720": {Width: 1280, Height: 720},
		"1366x768": {Width: 1366, Height: 768},
		"1279x719": {Width: 1279, Height: 719},
		"960x720":  {Width: 1280, Height: 720, CodedWidth: 960, CodedHeight: 720, SampleRatio: 4.0 / 3},
	} {
		v.PixelFormat, v.Matrix, v.SampleRatio = "yuv420p", "bt709", max(1, v.SampleRatio)
		want := 55.0
		if v.Width%2 == 1 {
			want = 30 // the added column shifts the frame by half a pixel
		}
		pixels := fmt.Sprintf("setsar=%g,", v.SampleRatio)
		if db := psnr(t, size, pixels+Nodes(v, Size{640, 360}, Rate{}), "scale=640:360"+exact); db < want {
			t.Errorf("from %s: %.1f dB", size, db)
		}
	}
}

// TestFormLeavesAlone: frames that already have the format of all outputs are unchanged.
func TestFormLeavesAlone(t *testing.T) {
	v := pipeline.VideoTrack{Width: 1280, Height: 720, SampleRatio: 1, PixelFormat: "yuv420p", Matrix: "bt709"}
	if db := psnr(t, "1280x720", Nodes(v, Size{1280, 720}, Rate{}), "setsar=1"); db < 100 {
		t.Errorf("%.1f dB", db)
	}
}

// BenchmarkResize scales a second of 1080p to the sizes of three rungs, with our filter and with ffmpeg's
// own.
func BenchmarkResize(b *testing.B) {
	graph := func(filter func(Size) string) string {
		chain := strings.Replace(moving, "%", "1920x1080", 1) + ",loop=-1:25,trim=end_frame=250,split=3[a][b][c]"
		for i, s := range []Size{{1280, 720}, {960, 540}, {640, 360}} {
			chain += ";[" + string(rune('a'+i)) + "]" + filter(s) + ",nullsink"
		}
		return chain + ";color=s=16x16:d=0.04"
	}
	own := func(s Size) string { return "scale=" + strings.Replace(s.String(), "x", ":", 1) }
	for name, filter := range map[string]func(Size) string{"resample": resample, "scale": own} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run(b, "-filter_complex_threads", "1", "-filter_complex", graph(filter), "-f", "null", "-")
			}
		})
	}
}

// TestColoursStaySharp: colours that change from pixel to pixel are not blurred. Converted from another
// matrix, each sample has its exact value; converted from RGB, samples are those of the scale filter when
// that computes exactly.
func TestColoursStaySharp(t *testing.T) {
	const w, h = 320, 180
	file := filepath.Join(t.TempDir(), "a.yuv")
	run(t, "-y", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=1:d=1,format=yuv420p", "-f", "rawvideo", file)
	in, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, args := rawTrack(t, "yuv420p", 8, in)
	v.Width, v.Height, v.CodedWidth, v.CodedHeight, v.Matrix = w, h, w, h, "smpte170m"
	args[slices.Index(args, "-s")+1] = "320x180"
	out := decoded(t, append(args, "-vf", Nodes(v, Size{w, h}, Rate{})))
	errors := [2]float64{}
	for i := range w * h / 4 {
		colours := [3]float64{0, (float64(in[w*h+i]) - 128) / 224, (float64(in[w*h*5/4+i]) - 128) / 224}
		want := in709(rgbOf(colours, weights["smpte170m"][0], weights["smpte170m"][1]))
		for p := range errors {
			d := float64(out[w*h+p*w*h/4+i]) - want[1+p]
			errors[p] += d * d
		}
	}
	for p, sum := range errors {
		if db := 10 * math.Log10(255*255*float64(w*h/4)/sum); db < 60 {
			t.Errorf("colour %d of BT.601: %.1f dB", p, db)
		}
	}
	const exact = ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp:out_h_chr_pos=0,format=yuv420p,setsar=1"
	rgb := pipeline.VideoTrack{Width: 640, Height: 360, CodedWidth: 640, CodedHeight: 360, SampleRatio: 1, PixelFormat: "gbrp"}
	if db := psnr(t, "640x360", "format=gbrp,"+Nodes(rgb, Size{640, 360}, Rate{}),
		"format=gbrp,scale=out_color_matrix=bt709:out_range=tv"+exact); db < 45 {
		t.Errorf("RGB: %.1f dB", db)
	}
}
