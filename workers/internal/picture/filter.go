package picture

import (
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Values of pipeline.VideoTrack.HDR.
const (
	HDR10 = "hdr10" // SMPTE ST 2084
	HLG   = "hlg"   // ARIB STD-B67
)

// Nodes returns the chain from decoded frames of v, as Source gives them, to pictures of size s at rate r;
// the zero Rate keeps the frames' own times. The first step that can drop frames comes first,
// and what costs much runs on the small picture.
func Nodes(v pipeline.VideoTrack, s Size, r Rate) string {
	return ffmpeg.Chain(steady(v), deinterlace(v), fps(r), upright(v), Form(v, s))
}

// Grid returns the chain from decoded frames of m to the frames [from, to) of the grid at rate r, the first
// of which gets time 0; to 0 means the end of the video (Frames). Frame n of the grid is what is shown at n/r
// seconds from the origin of time, where the picture begins at Lead, and wherever decoding began: the same
// whether a video is decoded from its start or from a chunk's. The first frame of the picture is shown before
// it begins, the last one after it has ended. Where the picture breaks off before the facts have its last
// frame, beyond the tolerance of every output, frames are missing.
func Grid(m pipeline.Media, r Rate, from, to int) string {
	if to == 0 {
		to = Frames(m, r)
	}
	return ffmpeg.Chain(
		steady(m.Video), deinterlace(m.Video), moved(m), onGrid(m, r, to), hold(m, r, to), Cut(from, to),
		upright(m.Video),
	)
}

// moved shows the frames of m from Lead on.
func moved(m pipeline.Media) string {
	by := Shift(m)
	if by == 0 {
		return ""
	}
	return ffmpeg.Node("setpts", option("expr", fmt.Sprintf("PTS+round(%.6f/TB)", by)))
}

// hold repeats the last frame as often as it takes to reach frame number to, from about when the source has
// it on: what breaks off before is not hidden.
func hold(m pipeline.Media, r Rate, to int) string {
	picture := m
	picture.Duration = m.PictureEnd()
	earliest := picture.Duration - max(encode.Expect(picture).Tolerance.Seconds(), m.Video.Held)
	frames := to - max(0, int(earliest*r.Float()))
	if frames <= 0 {
		return ""
	}
	return ffmpeg.Node("tpad", option("stop", itoa(frames)), option("stop_mode", "clone"))
}

// Frames is how many frames of rate r the video m has: as many as come closest to its length, one at least.
func Frames(m pipeline.Media, r Rate) int { return r.Frames(m.Duration) }

// onGrid is fps, which begins with the first frame: the encoder's constant rate fills the time before it. It
// cannot where that frame, at the rate of every rung, is none of those before to: the filter begins at 0
// then. The last frame comes through, however little its packet says that it lasts.
func onGrid(m pipeline.Media, r Rate, to int) string {
	const slowest = 8 // by how much a rung's rate is divided, more than ever
	o := []ffmpeg.Option{option("eof_action", "pass")}
	if Lead(m)*r.Float() >= float64(to-slowest) {
		o = append(o, option("start_time", "0"))
	}
	return fps(r, o...)
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

// Still returns the chain from decoded frames of v, as Source gives them, to pictures of size s in RGB, in
// planes of full range. Each is what the outputs show (Nodes). ffmpeg's own conversion makes many greys 1 too
// dark, and colours up to 3.
func Still(v pipeline.VideoTrack, s Size) string {
	to := append(as709(pipeline.VideoTrack{Matrix: "bt709"}),
		option("rin", "limited"), option("m", "gbr"), option("r", "full"))
	return ffmpeg.Chain(Nodes(v, s, Rate{}), zimg(s, to...), ffmpeg.Node("format", flag("gbrp")))
}

// Resize returns the chain from a picture made by Form to a smaller one at rate r, a divisor of the
// first; the zero Rate keeps it.
func Resize(s Size, r Rate) string {
	return ffmpeg.Chain(fps(r), resample(s), ffmpeg.Node("setsar", flag("1")))
}

// deinterlace touches only frames that are marked as interlaced: many files mix both.
func deinterlace(v pipeline.VideoTrack) string {
	if !v.Interlaced {
		return ""
	}
	return ffmpeg.Node("bwdif", option("mode", "send_frame"), option("deint", "interlaced"))
}

func fps(r Rate, more ...ffmpeg.Option) string {
	if r.Num == 0 {
		return ""
	}
	return ffmpeg.Node("fps", append([]ffmpeg.Option{option("fps", r.String())}, more...)...)
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
