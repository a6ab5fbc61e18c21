package picture

import (
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Source returns the input that reads m's file. It uses the container that inspection found, and libvpx for
// VP8 and VP9 with alpha, since ffmpeg's own decoders drop the alpha. Reading stops somewhat after the length
// in the facts; otherwise hostile timestamps would fill the disk with copies of a frame. ffmpeg neither turns
// frames nor builds the graph again for frames of another size or format, since the filters handle both. In a
// command with the outputs of Beside, times are those of the video.
func Source(path string, m pipeline.Media) ffmpeg.Input {
	in := source(path, m)
	in.Options = append(offset(m), in.Options...)
	return in
}

// SourceNear is Source for single frames: reading begins at a time of the video, which becomes ffmpeg's
// time 0.
func SourceNear(path string, m pipeline.Media, at time.Duration) ffmpeg.Input {
	in := source(path, m)
	in.Seek = Position(m, at)
	return in
}

// Position returns where to seek for a time of the video: ffmpeg counts from the first of all tracks.
func Position(m pipeline.Media, at time.Duration) time.Duration {
	return max(0, at+time.Duration(m.Before*float64(time.Second)))
}

// source is Source with ffmpeg's own times.
func source(path string, m pipeline.Media) ffmpeg.Input {
	in := ffmpeg.Input{
		Path: path, Demuxer: m.Container, Late: m.Late, Limit: limit(m), Pixels: m.Video.Width * m.Video.Height,
	}
	in.Options = append(in.Options, option("noautorotate", ""),
		option("reinit_filter:"+itoa(m.Video.Stream), "0"))
	if m.Video.Codec == "av1" {
		// When dav1d decodes several frames at once, ffmpeg gets no more frames after an error.
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

// preroll is the shortest time by which decoding begins before a chunk. It lets a deinterlacer settle, and
// frames that refer to each other across a keyframe.
const preroll = 2 * time.Second

// SourceFrom is Source for a chunk that begins at start seconds. Decoding begins at a keyframe some time
// before the chunk, or before the end of the video track if the chunk is after that. Grid drops the frames
// before the chunk. Times are those of the whole video (Timeline). The source must be Seekable.
func SourceFrom(path string, m pipeline.Media, start float64) ffmpeg.Input {
	in := Source(path, m)
	// Keep frames between the keyframe and the seek time: the one before a long pause fills the pause.
	in.Options = append(in.Options, option("noaccurate_seek", ""))
	in.Seek = Position(m, time.Duration(min(start, m.PictureEnd())*float64(time.Second))-preroll)
	return in
}

// SourceAt is SourceFrom for a chunk whose first frame is the keyframe that outputs show at key seconds.
// Decoding begins with this keyframe, since a closed group does not need earlier frames. Not for interlaced
// video.
func SourceAt(path string, m pipeline.Media, key float64) ffmpeg.Input {
	in := Source(path, m)
	in.Options = append(in.Options, option("noaccurate_seek", ""))
	const rounded = time.Millisecond // times are rounded on the way
	at := max(0, key-(Lead(m)-Delay(m)))
	in.Seek = Position(m, time.Duration(at*float64(time.Second))+rounded)
	return in
}

// Timeline returns the global options for SourceFrom and SourceAt.
func Timeline() []ffmpeg.Option {
	return []ffmpeg.Option{option("copyts", ""), option("start_at_zero", "")}
}

// Seekable reports whether a chunk of m can be decoded by itself: the container has an index of keyframes,
// its times do not depend on where reading begins, and no part of it is missing.
func Seekable(m pipeline.Media) bool {
	return (m.Container == "mov" || m.Container == "matroska") && !m.Damaged && m.Duration > 0
}

// limit returns the length of m plus a tenth and 10 s; 0, meaning none, if the length is unknown.
func limit(m pipeline.Media) time.Duration {
	longest := max(m.Duration, m.Length())
	if longest <= 0 {
		return 0
	}
	return time.Duration((1.1*longest + 10) * float64(time.Second))
}

// Stream returns the label of m's video track in filter graphs and maps, such as "0:3".
func Stream(m pipeline.Media) string { return "0:" + itoa(m.Video.Stream) }
