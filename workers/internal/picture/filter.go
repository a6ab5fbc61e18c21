package picture

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Values of pipeline.VideoTrack.HDR.
const (
	HDR10 = "hdr10" // SMPTE ST 2084
	HLG   = "hlg"   // ARIB STD-B67
)

// Nodes returns the chain that turns decoded frames of v, which ffmpeg has rotated, into pictures of size s
// at rate r; the zero Rate keeps the frames' own times. The first step that can drop frames comes first,
// and what costs much runs on the small picture.
func Nodes(v pipeline.VideoTrack, s Size, r Rate) string {
	return ffmpeg.Chain(deinterlace(v), fps(r), Form(v, s))
}

// Grid returns the chain from decoded frames of v to the frames [from, to) of the grid at rate r, the first
// of which gets time 0; to 0 means to the end. Frame n of the grid is what is shown at n/r seconds from the
// origin of time, wherever decoding began: the same whether a video is decoded from its start or from a
// chunk's.
func Grid(v pipeline.VideoTrack, r Rate, from, to int) string {
	return ffmpeg.Chain(deinterlace(v), fps(r), Cut(from, to))
}

// Cut returns the chain that keeps the frames [from, to) of a constant rate, the first of which gets time 0;
// to 0 means to the end.
func Cut(from, to int) string {
	if from == 0 && to == 0 {
		return ""
	}
	var bounds []ffmpeg.Option
	if from > 0 {
		bounds = append(bounds, option("start_pts", itoa(from)))
	}
	if to > 0 {
		bounds = append(bounds, option("end_pts", itoa(to)))
	}
	shift := ""
	if from > 0 {
		shift = ffmpeg.Node("setpts", flag("PTS-"+itoa(from)))
	}
	return ffmpeg.Chain(ffmpeg.Node("trim", bounds...), shift)
}

// Form returns the chain from upright, progressive frames of v to pictures of size s, in the one form of all
// outputs.
func Form(v pipeline.VideoTrack, s Size) string { return ffmpeg.Chain(colours(v, s), tags()) }

// Resize returns the chain from a picture made by Form to a smaller one at rate r, a divisor of the
// first; the zero Rate keeps it.
func Resize(s Size, r Rate) string {
	return ffmpeg.Chain(fps(r), resample(s), ffmpeg.Node("setsar", flag("1")))
}

// resample returns the filter that scales pictures of an even size: the bicubic curve of the scale
// filter, in a fraction of its time (BenchmarkResize), and with the colours sited where they were, which
// that one shifts.
func resample(s Size) string {
	return ffmpeg.Node("zscale", width(s), height(s), option("f", "bicubic"),
		option("param_a", "0"), option("param_b", "0.6"))
}

// deinterlace touches only frames that are marked as interlaced: many files mix both.
func deinterlace(v pipeline.VideoTrack) string {
	if !v.Interlaced {
		return ""
	}
	return ffmpeg.Node("bwdif", option("mode", "send_frame"), option("deint", "interlaced"))
}

func fps(r Rate) string {
	if r.Num == 0 {
		return ""
	}
	return ffmpeg.Node("fps", option("fps", r.String()))
}

// colours scales, and brings matrix, range, dynamic range and alpha to the one form of all outputs.
func colours(v pipeline.VideoTrack, s Size) string {
	if plain(v) {
		return plainly(v, s)
	}
	from := option("in_color_matrix", matrix(v))
	to := []ffmpeg.Option{option("out_color_matrix", "bt709"), option("out_range", "tv")}
	yuv := ffmpeg.Node("format", flag("yuv420p"))
	switch {
	case v.HDR != "":
		return toneMap(v, s)
	case v.Alpha:
		// Multiplied by alpha, a picture is what it looks like on black.
		return ffmpeg.Chain(
			ffmpeg.Node("scale", width(s), height(s), from), ffmpeg.Node("format", flag("gbrap")),
			ffmpeg.Node("premultiply", option("inplace", "1")),
			ffmpeg.Node("scale", to...), yuv,
		)
	}
	return ffmpeg.Chain(ffmpeg.Node("scale", append([]ffmpeg.Option{width(s), height(s), from}, to...)...), yuv)
}

// plain reports whether v has the colours of all outputs already.
func plain(v pipeline.VideoTrack) bool {
	return v.PixelFormat == "yuv420p" && v.Range != "pc" && matrix(v) == "bt709" && v.HDR == "" && !v.Alpha
}

// plainly scales pictures of which only the size is to change, and copies none that has it already. The
// scale filter lets pass what is as it says; before a resample it makes room for half a colour sample at
// an odd edge.
func plainly(v pipeline.VideoTrack, s Size) string {
	yuv := ffmpeg.Node("format", flag("yuv420p"))
	if v.Width == s.Width && v.Height == s.Height && v.SampleRatio == 1 {
		return ffmpeg.Chain(ffmpeg.Node("scale", width(s), height(s)), yuv)
	}
	even := ffmpeg.Node("scale", option("w", "ceil(iw/2)*2"), option("h", "ceil(ih/2)*2"))
	return ffmpeg.Chain(even, yuv, resample(s))
}

// toneMap is the usual way from PQ or HLG to SDR: linear light, BT.709 primaries, a curve that keeps
// highlights. Everything about the input is said, since zscale refuses to guess and files often leave it
// out.
func toneMap(v pipeline.VideoTrack, s Size) string {
	transfer := "smpte2084"
	if v.HDR == HLG {
		transfer = "arib-std-b67"
	}
	return ffmpeg.Chain(
		ffmpeg.Node("scale", width(s), height(s)), ffmpeg.Node("format", flag("yuv420p10le")),
		ffmpeg.Node("zscale", option("tin", transfer), option("min", "2020_ncl"), option("pin", "2020"),
			option("rin", "limited"), option("t", "linear"), option("npl", "100")),
		ffmpeg.Node("format", flag("gbrpf32le")), ffmpeg.Node("zscale", option("p", "709")),
		ffmpeg.Node("tonemap", option("tonemap", "hable"), option("desat", "0")),
		ffmpeg.Node("zscale", option("t", "709"), option("m", "709"), option("r", "limited")),
		ffmpeg.Node("format", flag("yuv420p")),
	)
}

// matrix names how the source's YUV was made, in the words of the scale filter. Untagged video is BT.709
// when HD and BT.601 below, as every player assumes.
func matrix(v pipeline.VideoTrack) string {
	switch v.Matrix {
	case "bt709":
		return "bt709"
	case "smpte170m", "bt470bg":
		return "smpte170m"
	case "fcc", "smpte240m":
		return v.Matrix
	case "bt2020nc", "bt2020c":
		return "bt2020"
	}
	if min(v.CodedWidth, v.CodedHeight) >= 720 {
		return "bt709"
	}
	return "smpte170m"
}

// tags writes on the frames what they are now, for the encoder and for whoever converts them on.
func tags() string {
	return ffmpeg.Chain(
		ffmpeg.Node("setsar", flag("1")),
		ffmpeg.Node("setparams", option("range", "tv"), option("color_primaries", "bt709"),
			option("color_trc", "bt709"), option("colorspace", "bt709"), option("field_mode", "prog")),
	)
}

func width(s Size) ffmpeg.Option  { return option("w", itoa(s.Width)) }
func height(s Size) ffmpeg.Option { return option("h", itoa(s.Height)) }
func flag(v string) ffmpeg.Option { return ffmpeg.Option{Value: v} }
func option(key, value string) ffmpeg.Option {
	return ffmpeg.Option{Key: key, Value: value}
}
