package picture

import (
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

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
