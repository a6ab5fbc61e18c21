package picture

import (
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// colours scales, and brings matrix, range, dynamic range and alpha to the one form of all outputs.
func colours(v pipeline.VideoTrack, s Size) string {
	switch {
	case v.HDR != "":
		return toneMap(v, s)
	case v.Alpha || v.PixelFormat == palette: // any of its colours may be transparent
		return flatten(v, s)
	case isGrey(v):
		return ffmpeg.Chain(grey(v), convert(v, s))
	case plain(v):
		return plainly(v, s)
	}
	return convert(v, s)
}

// plain reports whether v has the colours of all outputs already.
func plain(v pipeline.VideoTrack) bool {
	return v.PixelFormat == "yuv420p" && v.Range != fullRange && Matrix(v) == "bt709"
}

// plainly scales pictures of which only the size is to change, and copies none that has it already.
func plainly(v pipeline.VideoTrack, s Size) string {
	yuv := ffmpeg.Node("format", flag("yuv420p"))
	if w, h := canvas(v); s == (Size{w, h}) && v.SampleRatio == 1 {
		return yuv
	}
	return ffmpeg.Chain(yuv, resample(s))
}

// convert scales and computes the exact colours, without rounding in between: what is grey stays grey.
// Primaries and transfer are said to be those of the outputs, so that zimg leaves them alone. The range is
// what each frame says.
func convert(v pipeline.VideoTrack, s Size) string {
	to := append(as709(v), option("m", "709"), option("r", "limited"))
	yuv := ffmpeg.Node("format", flag("yuv420p"))
	if Matrix(v) == "bt709" || !shared(v.PixelFormat) {
		return ffmpeg.Chain(zimg(s, to...), yuv)
	}
	// Another matrix mixes colours and luma of a pixel. Colours that pixels share are not spread over them
	// and gathered again for that, which would blur them: they take the nearest.
	same := append(as709(v), option("m", zimgMatrix(v)))
	return ffmpeg.Chain(zimg(s, same...), ffmpeg.Node("format", flag("yuv420p16le")),
		ffmpeg.Node("zscale", append(to, option("f", "point"))...), yuv)
}

// flatten shows v on black, which is what it looks like when it is multiplied by alpha.
func flatten(v pipeline.VideoTrack, s Size) string {
	black := ffmpeg.Chain(
		zimg(s, append(as709(v), option("m", "gbr"))...), ffmpeg.Node("format", flag("gbrap")),
		ffmpeg.Node("premultiply", option("inplace", "1")), ffmpeg.Node("format", flag("gbrp")),
	)
	return ffmpeg.Chain(black, convert(pipeline.VideoTrack{PixelFormat: "gbrp"}, s))
}

// as709 says how v's YUV was made, and that primaries and transfer are to stay.
func as709(v pipeline.VideoTrack) []ffmpeg.Option {
	return []ffmpeg.Option{
		option("min", zimgMatrix(v)), option("pin", "709"), option("tin", "709"), option("p", "709"),
		option("t", "709"),
	}
}

// fullRange is the value of pipeline.VideoTrack.Range of a track that uses all values, from 0 on.
const fullRange = "pc"

// palette is the pixel format of numbers of colours.
const palette = "pal8"

// coarse reports a packed format of fewer than 8 bits for each colour: made planar at once, the brightest
// value would not become the brightest.
func coarse(format string) bool {
	switch strings.TrimSuffix(strings.TrimSuffix(format, "le"), "be") {
	case palette, "rgb8", "bgr8", "rgb4_byte", "bgr4_byte", "rgb4", "bgr4", "rgb444",
		"bgr444", "rgb555", "bgr555", "rgb565", "bgr565":
		return true
	}
	return false
}

func isGrey(v pipeline.VideoTrack) bool { return strings.HasPrefix(v.PixelFormat, "gray") }

// grey gives pictures of luma alone the colours that they lack, which zimg wants. Left to itself the scale
// filter takes all grey for full range. Where the file says nothing, it is so in formats of still and
// lossless pictures, and not in those of video.
func grey(v pipeline.VideoTrack) string {
	values := v.Range
	if values != fullRange && values != "tv" {
		values = fullRange
		switch v.Codec {
		case "h264", "hevc", "av1", "vp9", "vvc":
			values = "tv"
		}
	}
	format := "yuv444p"
	if v.BitDepth > 8 {
		format += itoa(v.BitDepth) + "le"
	}
	return ffmpeg.Chain(
		ffmpeg.Node("scale", option("in_range", values), option("out_range", values)),
		ffmpeg.Node("format", flag(format)),
	)
}

// toneMap is the usual way from PQ or HLG to SDR: linear light, BT.709 primaries, a curve that keeps
// highlights. Everything about the input is said, since zscale refuses to guess and files often leave it
// out.
func toneMap(v pipeline.VideoTrack, s Size) string {
	transfer, values := "smpte2084", "limited"
	if v.HDR == HLG {
		transfer = "arib-std-b67"
	}
	if v.Range == fullRange {
		values = "full"
	}
	return ffmpeg.Chain(
		resample(s), ffmpeg.Node("zscale", option("tin", transfer), option("min", "2020_ncl"),
			option("pin", "2020"), option("rin", values), option("t", "linear"), option("p", "2020"),
			option("npl", "100")),
		ffmpeg.Node("format", flag("gbrpf32le")), ffmpeg.Node("zscale", option("p", "709")),
		ffmpeg.Node("tonemap", option("tonemap", "hable"), option("desat", "0")),
		ffmpeg.Node("zscale", option("t", "709"), option("m", "709"), option("r", "limited")),
		ffmpeg.Node("format", flag("yuv420p")),
	)
}

// Matrix names how the source's YUV was made, in ffmpeg's words, as all outputs take it; of RGB it is not
// asked. Untagged video is BT.709 when HD and BT.601 (smpte170m) below, as every player assumes.
func Matrix(v pipeline.VideoTrack) string {
	switch v.Matrix {
	case "bt709", "fcc", "smpte240m", "ycgco":
		return v.Matrix
	case "smpte170m", "bt470bg":
		return "smpte170m"
	case "bt2020nc", "bt2020c":
		return "bt2020nc"
	}
	if min(v.CodedWidth, v.CodedHeight) >= 720 {
		return "bt709"
	}
	return "smpte170m"
}

// zimgMatrix is Matrix in the words of zscale, which misspells one in ffmpeg 5.
func zimgMatrix(v pipeline.VideoTrack) string {
	if m := Matrix(v); m != "smpte240m" {
		return m
	}
	return "7"
}

// resample returns the filter that scales pictures: the bicubic curve of the scale filter, in a fraction of
// its time (BenchmarkResize), and with the colours sited where they were, which that one shifts.
func resample(s Size) string { return zimg(s) }

func zimg(s Size, more ...ffmpeg.Option) string {
	return ffmpeg.Node("zscale", append([]ffmpeg.Option{
		width(s), height(s), option("f", "bicubic"), option("param_a", "0"), option("param_b", "0.6"),
	}, more...)...)
}
