package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// patches are the colours of a test image, from left to right: greys, the bars, and strong colours.
var patches = [][3]float64{
	{1, 1, 1}, {0, 0, 0}, {0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}, {0.9, 0.9, 0.9}, {0.75, 0.75, 0}, {0, 0.75, 0.75},
	{0, 0.75, 0}, {0.75, 0, 0.75}, {0.75, 0, 0}, {0, 0, 0.75}, {1, 1, 2.0 / 3}, {1, 0, 0}, {0, 0, 1}, {0.2, 0.4, 0.6},
	{0.9, 0.7, 0.6},
}

const (
	patch = 32 // pixels: edge of a patch
	greys = 5  // the first patches
)

// weights are the luma weights of red and blue.
var weights = map[string][2]float64{
	"bt709": {0.2126, 0.0722}, "smpte170m": {0.299, 0.114}, "smpte240m": {0.212, 0.087}, "bt2020nc": {0.2627, 0.0593},
}

// yuvOf is the definition of Y'CbCr: luma from 0 to 1, differences from -0.5 to 0.5.
func yuvOf(rgb [3]float64, kr, kb float64) [3]float64 {
	y := kr*rgb[0] + (1-kr-kb)*rgb[1] + kb*rgb[2]
	return [3]float64{y, (rgb[2] - y) / (2 * (1 - kb)), (rgb[0] - y) / (2 * (1 - kr))}
}

func rgbOf(yuv [3]float64, kr, kb float64) [3]float64 {
	r, b := yuv[0]+2*(1-kr)*yuv[2], yuv[0]+2*(1-kb)*yuv[1]
	return [3]float64{r, (yuv[0] - kr*r - kb*b) / (1 - kr - kb), b}
}

// code says how samples are stored.
type code struct {
	depth int
	full  bool
}

// scale returns the zero point and the range of luma (plane 0) or colours.
func (c code) scale(plane int) (zero, span float64) {
	one := math.Exp2(float64(c.depth - 8))
	switch {
	case c.full && plane == 0:
		return 0, math.Exp2(float64(c.depth)) - 1
	case c.full:
		return 128 * one, math.Exp2(float64(c.depth)) - 1
	case plane == 0:
		return 16 * one, 219 * one
	}
	return 128 * one, 224 * one
}

// store rounds a value to a sample, and returns the sample and the value that it represents.
func (c code) store(plane int, value float64) (sample int, stored float64) {
	zero, span := c.scale(plane)
	sample = min(int(math.Round(zero+span*value)), 1<<c.depth-1)
	return sample, (float64(sample) - zero) / span
}

// yuvInput returns the patches as raw planes, and their exact colours in BT.709, unrounded.
func yuvInput(matrix string, c code, across, down int) (data []byte, want [][3]float64) {
	planes := make([][]byte, 3)
	k := weights[matrix]
	for row := range patch {
		for _, rgb := range patches {
			yuv := yuvOf(rgb, k[0], k[1])
			for p := range planes {
				sample, stored := c.store(p, yuv[p])
				yuv[p] = stored
				n := patch
				if p > 0 {
					if across == 0 || row%down != 0 {
						continue
					}
					n = patch / across
				}
				for range n {
					planes[p] = append(planes[p], byte(sample))
					if c.depth > 8 {
						planes[p] = append(planes[p], byte(sample>>8))
					}
				}
			}
			if row == 0 {
				want = append(want, in709(rgbOf(yuv, k[0], k[1])))
			}
		}
	}
	return slices.Concat(planes...), want
}

// in709 returns samples of 8 bits in limited range, unrounded.
func in709(rgb [3]float64) (samples [3]float64) {
	for p, value := range yuvOf(rgb, weights["bt709"][0], weights["bt709"][1]) {
		zero, span := code{depth: 8}.scale(p)
		samples[p] = zero + span*value
	}
	return samples
}

// shown runs a raw or encoded image through the chain of all outputs, and returns the samples in the middle
// of each patch.
func shown(t *testing.T, in []string, before string, v pipeline.VideoTrack, factor int) (got [][3]int) {
	t.Helper()
	s := Size{len(patches) * patch / factor, patch / factor}
	chain := Nodes(v, s, Rate{})
	if before != "" {
		chain = before + "," + chain
	}
	out := decoded(t, append(in, "-frames:v", "1", "-vf", chain))
	w, h := s.Width, s.Height
	if len(out) != w*h*3/2 {
		t.Fatalf("%d bytes of %v", len(out), s)
	}
	for i := range patches {
		x, y := (2*i+1)*patch/factor/2, h/2
		chroma := y/2*(w/2) + x/2
		got = append(got, [3]int{int(out[y*w+x]), int(out[w*h+chroma]), int(out[w*h*5/4+chroma])})
	}
	return got
}

// decoded returns ffmpeg's output as raw video.
func decoded(t *testing.T, args []string) []byte {
	t.Helper()
	args = slices.Concat([]string{"-nostdin", "-v", "error"}, args, []string{"-f", "rawvideo", "-"})
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return out
}

func compare(t *testing.T, got [][3]int, want [][3]float64) {
	t.Helper()
	for i, samples := range got {
		for p, sample := range samples {
			if math.Abs(float64(sample)-want[i][p]) > 1 || math.Abs(want[i][p]-128) < 1e-6 && p > 0 && sample != 128 {
				t.Errorf("%v became %v, want %.2f", patches[i], samples, want[i])
				break
			}
		}
	}
}

// TestColoursAreExact: for every matrix, range, depth and sampling of the source, and at every size, each
// colour is within 1 of its exact conversion to BT.709, and grey stays without any colour.
func TestColoursAreExact(t *testing.T) {
	for _, c := range []struct {
		format, matrix string
		code
		across, down int
	}{
		{"yuv420p", "bt709", code{8, false}, 2, 2}, {"yuv420p", "smpte170m", code{8, false}, 2, 2},
		{"yuv420p", "smpte240m", code{8, false}, 2, 2}, {"yuv420p", "bt2020nc", code{8, false}, 2, 2},
		{"yuv420p", "bt709", code{8, true}, 2, 2}, {"yuvj420p", "bt709", code{8, true}, 2, 2},
		{"yuvj420p", "smpte170m", code{8, true}, 2, 2}, {"yuvj422p", "smpte170m", code{8, true}, 2, 1},
		{"yuv422p", "bt709", code{8, false}, 2, 1}, {"yuv422p", "smpte170m", code{8, false}, 2, 1},
		{"yuv411p", "smpte170m", code{8, false}, 4, 1}, {"yuv444p", "bt709", code{8, false}, 1, 1},
		{"yuv444p", "smpte170m", code{8, false}, 1, 1}, {"yuv420p10le", "bt709", code{10, false}, 2, 2},
		{"yuv422p10le", "bt709", code{10, false}, 2, 1}, {"yuv422p10le", "smpte170m", code{10, true}, 2, 1},
		{"yuv444p12le", "smpte170m", code{12, false}, 1, 1}, {"yuv420p10le", "bt2020nc", code{10, false}, 2, 2},
	} {
		for _, factor := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %s %v by %d", c.format, c.matrix, c.full, factor), func(t *testing.T) {
				data, want := yuvInput(c.matrix, c.code, c.across, c.down)
				v, in := rawTrack(t, c.format, c.depth, data)
				v.Matrix, v.Range = c.matrix, map[bool]string{true: "pc", false: "tv"}[c.full]
				compare(t, shown(t, in, "setparams=range="+v.Range, v, factor), want)
			})
		}
	}
}

// rawTrack writes data to a file, and returns its facts and ffmpeg's arguments to read it as images of the
// patches.
func rawTrack(t *testing.T, format string, depth int, data []byte) (pipeline.VideoTrack, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.raw")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	v := pipeline.VideoTrack{
		Width: len(patches) * patch, Height: patch, CodedWidth: len(patches) * patch, CodedHeight: patch,
		SampleRatio: 1, PixelFormat: format, BitDepth: depth,
	}
	return v, []string{"-f", "rawvideo", "-pix_fmt", format, "-s", fmt.Sprintf("%dx%d", v.Width, v.Height), "-i", file}
}

// TestColoursOfRGBAreExact: the same for RGB in planes, packed, with a palette, with more bits, and half
// transparent, which is shown on black.
func TestColoursOfRGBAreExact(t *testing.T) {
	bgra := func(alpha uint8) (data []byte, want [][3]float64) {
		for range patch {
			for _, rgb := range patches {
				r, g, b := uint8(math.Round(rgb[0]*255)), uint8(math.Round(rgb[1]*255)), uint8(math.Round(rgb[2]*255))
				data = append(data, bytes.Repeat([]byte{b, g, r, alpha}, patch)...)
				part := float64(alpha) / 255 / 255
				want = append(want, in709([3]float64{float64(r) * part, float64(g) * part, float64(b) * part}))
			}
		}
		return data, want[:len(patches)]
	}
	for _, c := range []struct {
		format, before string
		alpha          uint8
	}{
		{"bgra", "format=gbrp", 255}, {"bgra", "format=rgb24", 255}, {"bgra", "format=bgr0", 255},
		{"bgra", "format=gbrp10le", 255}, {"bgra", "", 255}, {"bgra", "", 128}, {"bgra", "format=gbrap", 64},
	} {
		t.Run(fmt.Sprintf("%s %s %d", c.format, c.before, c.alpha), func(t *testing.T) {
			data, want := bgra(c.alpha)
			v, in := rawTrack(t, c.format, 8, data)
			v.Alpha = c.alpha < 255 || c.before == ""
			compare(t, shown(t, in, c.before, v, 1), want)
			compare(t, shown(t, in, c.before, v, 2), want)
		})
	}
	t.Run("palette", func(t *testing.T) {
		v, in, want := paletted(t)
		compare(t, shown(t, in, "", v, 1), want)
	})
}

// TestColoursOfPackedRGBAreExact: the same for packed samples of 5, 6 or 16 bits.
func TestColoursOfPackedRGBAreExact(t *testing.T) {
	for _, format := range []string{"rgb555le", "rgb565le", "bgr555le", "rgb48le"} {
		var data []byte
		var want [][3]float64
		for range patch {
			for _, rgb := range patches {
				word := make([]int, 3)
				var stored [3]float64
				for i, bits := range map[string][3]int{"rgb565le": {5, 6, 5}, "rgb48le": {16, 16, 16}}[format] {
					bits = max(5, bits)
					top := math.Exp2(float64(bits)) - 1
					word[i] = int(math.Round(rgb[i] * top))
					stored[i] = float64(word[i]) / top
				}
				var pixel []byte
				switch format {
				case "rgb48le":
					for _, n := range word {
						pixel = append(pixel, byte(n), byte(n>>8))
					}
				case "bgr555le":
					n := word[2]<<10 | word[1]<<5 | word[0]
					pixel = []byte{byte(n), byte(n >> 8)}
				case "rgb565le":
					n := word[0]<<11 | word[1]<<5 | word[2]
					pixel = []byte{byte(n), byte(n >> 8)}
				default:
					n := word[0]<<10 | word[1]<<5 | word[2]
					pixel = []byte{byte(n), byte(n >> 8)}
				}
				data = append(data, bytes.Repeat(pixel, patch)...)
				want = append(want, in709(stored))
			}
		}
		t.Run(format, func(t *testing.T) {
			v, in := rawTrack(t, format, 8, data)
			compare(t, shown(t, in, "", v, 1), want[:len(patches)])
		})
	}
}

// paletted writes the patches as a PNG with a palette.
func paletted(t *testing.T) (v pipeline.VideoTrack, in []string, want [][3]float64) {
	t.Helper()
	img := image.NewPaletted(image.Rect(0, 0, len(patches)*patch, patch), nil)
	for _, rgb := range patches {
		c := color.RGBA{uint8(math.Round(rgb[0] * 255)), uint8(math.Round(rgb[1] * 255)), uint8(math.Round(rgb[2] * 255)), 255}
		img.Palette = append(img.Palette, c)
		want = append(want, in709([3]float64{float64(c.R) / 255, float64(c.G) / 255, float64(c.B) / 255}))
	}
	for i := range img.Pix {
		img.Pix[i] = uint8(i % img.Stride / patch)
	}
	var data bytes.Buffer
	if err := png.Encode(&data, img); err != nil {
		t.Fatal(err)
	}
	v, in = rawTrack(t, "pal8", 8, data.Bytes())
	return v, []string{"-f", "png_pipe", "-i", in[len(in)-1]}, want
}

// TestGreyStaysGrey: grey in frames of luma alone, and in tone-mapped frames, gets no colour.
func TestGreyStaysGrey(t *testing.T) {
	for _, c := range []struct {
		format, codec, values string
		code
	}{
		{"gray", "hevc", "", code{8, false}}, {"gray", "av1", "tv", code{8, false}}, {"gray", "mjpeg", "pc", code{8, true}},
		{"gray", "ffv1", "", code{8, true}}, {"gray10le", "hevc", "tv", code{10, false}}, {"gray12le", "ffv1", "", code{12, true}},
		{"gray16le", "ffv1", "pc", code{16, true}},
	} {
		t.Run(c.format+" "+c.codec+" "+c.values, func(t *testing.T) {
			data, want := yuvInput("bt709", c.code, 0, 1)
			v, in := rawTrack(t, c.format, c.depth, data)
			v.Codec, v.Range = c.codec, c.values
			before := ""
			if c.values != "" {
				before = "setparams=range=" + c.values
			}
			for i := range want {
				want[i][1], want[i][2] = 128, 128
			}
			compare(t, shown(t, in, before, v, 1), want)
		})
	}
	for _, hdr := range []string{HDR10, HLG} {
		data, _ := yuvInput("bt2020nc", code{10, false}, 2, 2)
		v, in := rawTrack(t, "yuv420p10le", 10, data)
		v.HDR, v.Matrix = hdr, "bt2020nc"
		for i, got := range shown(t, in, "", v, 1)[:greys] {
			if got[1] != 128 || got[2] != 128 {
				t.Errorf("%s: the grey %v became %v", hdr, patches[i], got)
			}
		}
	}
}
