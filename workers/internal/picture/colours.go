package picture

import (
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// colours returns the filter that scales and converts matrix, range, dynamic range and alpha to the form of
// all outputs.
func colours(v pipeline.VideoTrack, s Size) string {
	switch {
	case v.HDR != "":
		return toneMap(v, s)
	case v.Alpha || v.PixelFormat == palette: // any colour of a palette may be transparent
		return flatten(v, s)
	case isGrey(v):
		return ffmpeg.Chain(grey(v), convert(v, s))
	case plain(v):
		return plainly(v, s)
	}
	return convert(v, s)
}

// plain reports whether v already has the colours of all outputs.
func plain(v pipeline.VideoTrack) bool {
	return v.PixelFormat == "yuv420p" && v.Range != fullRange && Matrix(v) == "bt709"
}

// plainly returns a filter that scales, or leaves the frames alone if they have the size.
func plainly(v pipeline.VideoTrack, s Size) string {
	yuv := ffmpeg.Node("format", flag("yuv420p"))
	if w, h := canvas(v); s == (Size{w, h}) && v.SampleRatio == 1 {
		return yuv
	}
	return ffmpeg.Chain(yuv, resample(s))
}

// convert scales and computes exact colours, without rounding in between: grey stays grey. Primaries and
// transfer are tagged as those of the outputs, so that zimg leaves them unchanged. The input range is that
// of each frame.
func convert(v pipeline.VideoTrack, s Size) string {
	to := append(as709(v), option("m", "709"), option("r", "limited"))
	yuv := ffmpeg.Node("format", flag("yuv420p"))
	if Matrix(v) == "bt709" || !shared(v.PixelFormat) {
		return ffmpeg.Chain(zimg(s, to...), yuv)
	}
	// Converting to another matrix mixes colours and luma of a pixel. Each pixel takes the nearest of the
	// shared colour samples: interpolation would blur them.
	same := append(as709(v), option("m", zimgMatrix(v)))
	return ffmpeg.Chain(zimg(s, same...), ffmpeg.Node("format", flag("yuv420p16le")),
		ffmpeg.Node("zscale", append(to, option("f", "point"))...), yuv)
}

// flatten puts v on black, as if multiplied by its alpha.
func flatten(v pipeline.VideoTrack, s Size) string {
	black := ffmpeg.Chain(
		zimg(s, append(as709(v), option("m", "gbr"))...), ffmpeg.Node("format", flag("gbrap")),
		ffmpeg.Node("premultiply", option("inplace", "1")), ffmpeg.Node("format", flag("gbrp")),
	)
	return ffmpeg.Chain(black, convert(pipeline.VideoTrack{PixelFormat: "gbrp"}, s))
}

// as709 tags the matrix of v's YUV, and tags primaries and transfer so that they stay unchanged.
func as709(v pipeline.VideoTrack) []ffmpeg.Option {
	return []ffmpeg.Option{
		option("min", zimgMatrix(v)), option("pin", "709"), option("tin", "709"), option("p", "709"),
		option("t", "709"),
	}
}

// fullRange is the value of pipeline.VideoTrack.Range of a track that uses all values, from 0.
const fullRange = "pc"

// palette is the pixel format of palette indexes.
const palette = "pal8"

// coarse reports whether a format is packed with fewer than 8 bits per colour. Direct conversion to planar
// would not map its brightest value to the brightest.
func coarse(format string) bool {
	switch strings.TrimSuffix(strings.TrimSuffix(format, "le"), "be") {
	case palette, "rgb8", "bgr8", "rgb4_byte", "bgr4_byte", "rgb4", "bgr4", "rgb444",
		"bgr444", "rgb555", "bgr555", "rgb565", "bgr565":
		return true
	}
	return false
}

func isGrey(v pipeline.VideoTrack) bool { return strings.HasPrefix(v.PixelFormat, "gray") }

// grey adds neutral colours to frames of luma alone, since zimg needs them. By itself, the scale filter
// treats all grey as full range. If the file does not say its range, full range is right for formats of
// stills and lossless video, but not for the usual codecs of video.
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

// toneMap is the usual conversion of PQ or HLG to SDR: linear light, BT.709 primaries, a curve that keeps
// highlights. It specifies everything about the input, since zscale refuses to guess and files often omit
// it.
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

// Matrix names the matrix of the source's YUV, in ffmpeg's words; RGB does not use it. Untagged video
// counts as BT.709 if HD and as BT.601 (smpte170m) below, as in every player.
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

// zimgMatrix is Matrix in the words of zscale, which misspells one name in ffmpeg 5.
func zimgMatrix(v pipeline.VideoTrack) string {
	if m := Matrix(v); m != "smpte240m" {
		return m
	}
	return "7"
}

// resample returns the filter that scales pictures: the bicubic curve of the scale filter in a fraction of
// its time (BenchmarkResize). It keeps the position of colour samples, which the scale filter shifts.
func resample(s Size) string { return zimg(s) }

func zimg(s Size, more ...ffmpeg.Option) string {
	return ffmpeg.Node("zscale", append([]ffmpeg.Option{
		width(s), height(s), option("f", "bicubic"), option("param_a", "0"), option("param_b", "0.6"),
	}, more...)...)
}
