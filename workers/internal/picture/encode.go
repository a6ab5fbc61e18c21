package picture

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Qualities are the encoder settings that a pipeline can ask for, from fast to small (design, media.md).
const (
	Basic   = "basic"   // x264 veryfast, CRF 23; the default
	Plus    = "plus"    // medium, CRF 21
	Premium = "premium" // slow, CRF 19
)

// preset returns x264's speed and quality; anything unknown is Basic.
func preset(quality string) (name, crf string) {
	switch quality {
	case Plus:
		return "medium", "21"
	case Premium:
		return "slow", "19"
	}
	return "veryfast", "23"
}

// KeyframeSeconds is the distance of keyframes.
const KeyframeSeconds = 2

// Reordered is by how many frames an encoder of H264 decodes pictures before they are shown, at most: x264's
// B-pyramid.
const Reordered = 2

// H264 returns the options of an x264 encoder: High profile, CRF with a cap of maxrate kbit/s over a buffer
// of two seconds of it, closed groups of pictures with an IDR frame each KeyframeSeconds and nowhere else,
// and a constant frame rate that also fills the time before the first frame. Where segments are to begin at
// other frames, borders holds their numbers, ascending: each segment is then divided into groups of about
// that length.
func H264(quality string, maxrate int, r Rate, borders ...int) []ffmpeg.Option {
	speed, crf := preset(quality)
	frames := r.Frames(KeyframeSeconds)
	group, keyframes := itoa(frames), "expr:eq(mod(n,"+itoa(frames)+"),0)"
	if len(borders) > 0 {
		group, keyframes = itoa(2*frames), forced(borders, frames, r)
	}
	return []ffmpeg.Option{
		option("c:v", "libx264"), option("preset", speed), option("crf", crf),
		option("maxrate", itoa(maxrate)+"k"), option("bufsize", itoa(2*maxrate)+"k"),
		option("profile:v", "high"), option("pix_fmt", "yuv420p"),
		option("r:v", r.String()), option("fps_mode:v", "cfr"),
		option("g", group), option("keyint_min", group), option("sc_threshold", "0"),
		option("force_key_frames", keyframes), option("forced-idr", "1"),
		option("flags:v", "+cgop"),
		option("color_primaries", "bt709"), option("color_trc", "bt709"), option("colorspace", "bt709"),
		option("color_range", "tv"),
	}
}

// forced lists the times of the keyframes in segments that begin at borders, about group frames from each
// other. Behind the last border, the length of whose segment is not known, the encoder's own count goes on.
func forced(borders []int, group int, r Rate) string {
	var times []string
	add := func(frame int) {
		times = append(times, strconv.FormatFloat(float64(frame)/r.Float(), 'f', 6, 64))
	}
	for i, from := range borders {
		if i == len(borders)-1 {
			add(from)
			break
		}
		length := borders[i+1] - from
		groups := max(1, (length+group/2)/group)
		for k := range groups {
			add(from + k*length/groups)
		}
	}
	return strings.Join(times, ",")
}

// Source returns the input that reads m's file. The container is the one that inspection found, and a VP8
// or VP9 track with alpha is given to libvpx, since ffmpeg's own decoders drop the alpha. Reading ends
// somewhat after everything that the facts speak of: hostile timestamps beyond would fill the disk with
// copies of a frame. Frames of another size or format are for the filters to take, and so is turning them:
// the graph is built once. Times are those of the video, in a command that has the outputs of Beside, too.
func Source(path string, m pipeline.Media) ffmpeg.Input {
	in := source(path, m)
	in.Options = append(offset(m), in.Options...)
	return in
}

// SourceNear is Source for single frames: reading begins at a time of the video, in whose place ffmpeg has 0.
func SourceNear(path string, m pipeline.Media, at time.Duration) ffmpeg.Input {
	in := source(path, m)
	in.Seek = Position(m, at)
	return in
}

// Position is where to seek for a time of the video: ffmpeg counts from the first of all tracks.
func Position(m pipeline.Media, at time.Duration) time.Duration {
	return max(0, at+time.Duration(m.Before*float64(time.Second)))
}

// source has the times that ffmpeg gives it.
func source(path string, m pipeline.Media) ffmpeg.Input {
	in := ffmpeg.Input{Path: path, Demuxer: m.Container, Late: m.Late, Limit: limit(m)}
	in.Options = append(in.Options, option("noautorotate", ""),
		option("reinit_filter:"+itoa(m.Video.Stream), "0"))
	if m.Video.Codec == "av1" {
		// When dav1d decodes several frames at once, ffmpeg gets none of it any more after an error.
		in.Options = append(in.Options, option("flags:"+itoa(m.Video.Stream), "low_delay"))
	}
	if m.Video.Alpha {
		stream := "c:" + itoa(m.Video.Stream)
		switch m.Video.Codec {
		case "vp8":
			in.Options = append(in.Options, option(stream, "libvpx"))
		case "vp9":
			in.Options = append(in.Options, option(stream, "libvpx-vp9"))
		}
	}
	return in
}

// preroll is how long before a chunk decoding begins at the latest: a deinterlacer and pictures that refer
// to each other across a keyframe have settled by then.
const preroll = 2 * time.Second

// SourceFrom is Source for a chunk that begins at start seconds: decoding begins at a keyframe some time
// before it, and what is decoded too early is for Grid to drop. Of a chunk behind the end of the picture it
// begins before that. Times stay those of the whole (Timeline). Only for a source that is Seekable.
func SourceFrom(path string, m pipeline.Media, start float64) ffmpeg.Input {
	in := Source(path, m)
	// Frames between the keyframe and the seek time are kept: the one before a long pause fills it.
	in.Options = append(in.Options, option("noaccurate_seek", ""))
	in.Seek = Position(m, time.Duration(min(start, m.PictureEnd())*float64(time.Second))-preroll)
	return in
}

// SourceAt is SourceFrom for a chunk whose first frame is the keyframe that outputs show at key seconds:
// decoding begins with it, since nothing of a closed group is shown or needed before. Not for interlaced
// pictures.
func SourceAt(path string, m pipeline.Media, key float64) ffmpeg.Input {
	in := Source(path, m)
	in.Options = append(in.Options, option("noaccurate_seek", ""))
	const rounded = time.Millisecond // times are, on the way
	at := max(0, key-(Lead(m)-Delay(m)))
	in.Seek = Position(m, time.Duration(at*float64(time.Second))+rounded)
	return in
}

// Timeline are the global options that go with SourceFrom and SourceAt.
func Timeline() []ffmpeg.Option {
	return []ffmpeg.Option{option("copyts", ""), option("start_at_zero", "")}
}

// Delay is how many seconds after the origin of time the picture begins, in the source.
func Delay(m pipeline.Media) float64 { return m.Video.Start - m.Origin() }

// nudge is by how many seconds outputs may show the picture earlier or later than the source has it beside
// the sound: no viewer sees that. A frame of AAC at 44.1 kHz, which encoders put before the sound, is 23 ms.
const nudge = 0.024

// Lead is Delay as outputs have it: on the nearest frame of the smallest rungs, where that is at most nudge
// away, so that all frames of a constant rate lie on the grid, whatever a container or an encoder put before
// the sound. Elsewhere it is Delay.
func Lead(m pipeline.Media) float64 { return LeadAt(m, SourceRate(m.Video)) }

// LeadAt is Lead of a picture whose best outputs have rate r.
func LeadAt(m pipeline.Media, r Rate) float64 {
	delay, low := Delay(m), r.AtMost(LowRate).Float()
	if low <= 0 {
		return delay
	}
	if lead := math.Round(delay*low) / low; math.Abs(lead-delay) <= nudge {
		return lead
	}
	return delay
}

// Shift is by how many seconds frames that are decoded from Source must be moved to be shown from Lead on.
func Shift(m pipeline.Media) float64 { return Lead(m) - Delay(m) }

// Seekable reports whether a chunk of m may be decoded by itself: its container has an index that leads to a
// keyframe, its times are those of the whole wherever reading begins, and nothing of it is missing.
func Seekable(m pipeline.Media) bool {
	return (m.Container == "mov" || m.Container == "matroska") && !m.Damaged && m.Duration > 0
}

// limit is the length of m with a tenth and 10 s to spare; 0, for none, when the length is not known.
func limit(m pipeline.Media) time.Duration {
	longest := max(m.Duration, m.Length())
	if longest <= 0 {
		return 0
	}
	return time.Duration((1.1*longest + 10) * float64(time.Second))
}

// Stream is the picture track of m, as a label of a filter graph or a map: "0:3".
func Stream(m pipeline.Media) string { return "0:" + itoa(m.Video.Stream) }

func itoa(n int) string { return strconv.Itoa(n) }
