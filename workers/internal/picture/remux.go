package picture

import (
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// remuxed are the containers whose pictures get an index by being remuxed. Fragmented MP4 does, too.
var remuxed = []string{"matroska", "mpegts", "flv"}

// NeedsRemux reports whether the groups of pictures of m have no index that can be read, and Remux makes one.
func NeedsRemux(m pipeline.Media, fragmented bool) bool {
	return slices.Contains(remuxed, m.Container) || m.Container == "mov" && fragmented
}

// Remux returns the command that copies the picture track of the file at path into an MP4 with an index,
// to, as its only track, which has id 1. Each packet is copied, and the times between them are kept; when
// the first is shown is not.
func Remux(path string, m pipeline.Media, to string) ffmpeg.Command {
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: path, Demuxer: m.Container, Late: m.Late}},
		Outputs: []ffmpeg.Output{{Path: to, Format: "mp4", Maps: []string{Stream(m)}, Options: []ffmpeg.Option{
			option("c", "copy"), option("copyinkf", ""),
		}}},
		LogLevel: "error",
	}
}
