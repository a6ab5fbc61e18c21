package picture

import (
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// remuxed are the containers whose video tracks get an index by remuxing. So do those of fragmented MP4.
var remuxed = []string{"matroska", "mpegts", "flv"}

// NeedsRemux reports whether the video track of m has no readable index, and Remux can make one.
func NeedsRemux(m pipeline.Media, fragmented bool) bool {
	return slices.Contains(remuxed, m.Container) || m.Container == "mov" && fragmented
}

// Remux returns the command that copies the video track of the file at path to the MP4 to, with an index, as
// its only track, with id 1. It copies all packets. The times between packets stay the same, but not the time
// of the first.
func Remux(path string, m pipeline.Media, to string) ffmpeg.Command {
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: path, Demuxer: m.Container, Late: m.Late}},
		Outputs: []ffmpeg.Output{{Path: to, Format: "mp4", Maps: []string{Stream(m)}, Options: []ffmpeg.Option{
			option("c", "copy"), option("copyinkf", ""),
		}}},
		LogLevel: "error",
	}
}
