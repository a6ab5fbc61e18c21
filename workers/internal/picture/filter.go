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

// Nodes returns the chain from decoded frames of v, as Source gives them, to frames of size s at rate r; the
// zero Rate keeps the frames' own times. Filters that can drop frames come early, and expensive ones run on
// the small frames.
func Nodes(v pipeline.VideoTrack, s Size, r Rate) string {
	return ffmpeg.Chain(steady(v), deinterlace(v), fps(r), upright(v), Form(v, s))
}

// Grid returns the chain from decoded frames of m to the frames [from, to) of the grid at rate r. The first
// of them gets time 0; to 0 means the end of the video (Frames). Frame n of the grid is the frame that is
// shown n/r seconds after time 0 of the video, whose track begins at Lead. It is the same frame whether
// decoding began at the start of the video or for a chunk. The first decoded frame also fills the time before
// it, and the last one the time after it. If the source's frames end earlier than the facts say, by more than
// the tolerance of every output, frames are missing.
func Grid(m pipeline.Media, r Rate, from, to int) string {
	if to == 0 {
		to = Frames(m, r)
	}
	return ffmpeg.Chain(
		steady(m.Video), deinterlace(m.Video), moved(m), onGrid(m, r, to), hold(m, r, to), Cut(from, to),
		upright(m.Video),
	)
}

// moved shifts the frames of m to begin at Lead.
func moved(m pipeline.Media) string {
	by := Shift(m)
	if by == 0 {
		return ""
	}
	return ffmpeg.Node("setpts", option("expr", fmt.Sprintf("PTS+round(%.6f/TB)", by)))
}

// hold repeats the last frame up to frame number to. It adds no more frames than from about the source's last
// frame on, so that frames are missing if decoding stops earlier.
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

// Frames returns how many frames of rate r come closest to the length of m; at least one.
func Frames(m pipeline.Media, r Rate) int { return r.Frames(m.Duration) }

// onGrid returns the fps filter. It begins with the first frame, and the encoder's constant rate fills the
// time before that. If the first frame is so late that some rung has no frame of its grid before frame to,
// that fails; then the filter begins at 0. The filter keeps the last frame, however short its packet says it
// is.
func onGrid(m pipeline.Media, r Rate, to int) string {
	const slowest = 8 // more than any rung's rate is divided by
	o := []ffmpeg.Option{option("eof_action", "pass")}
	if Lead(m)*r.Float() >= float64(to-slowest) {
		o = append(o, option("start_time", "0"))
	}
	return fps(r, o...)
}

// Cut returns the chain that keeps the frames [from, to) of a constant rate and gives the first of them
// time 0; to 0 means to the end.
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

// Form returns the chain from upright, progressive frames of v to frames of size s in the format of all
// outputs.
func Form(v pipeline.VideoTrack, s Size) string { return ffmpeg.Chain(colours(v, s), tags()) }

// Still returns the chain from decoded frames of v, as Source gives them, to RGB images of size s, planar and
// full range. They look as in the outputs (Nodes). ffmpeg's own conversion makes many greys 1 too dark, and
// other colours up to 3.
func Still(v pipeline.VideoTrack, s Size) string {
	to := append(as709(pipeline.VideoTrack{Matrix: "bt709"}),
		option("rin", "limited"), option("m", "gbr"), option("r", "full"))
	return ffmpeg.Chain(Nodes(v, s, Rate{}), zimg(s, to...), ffmpeg.Node("format", flag("gbrp")))
}

// Resize returns the chain from frames made by Form to smaller ones at rate r, which must divide their rate;
// the zero Rate keeps it.
func Resize(s Size, r Rate) string {
	return ffmpeg.Chain(fps(r), resample(s), ffmpeg.Node("setsar", flag("1")))
}

// deinterlace changes only frames that are marked as interlaced, since many files mix both.
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

// tags marks the frames with their current colour properties, for the encoder and for later conversions.
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
