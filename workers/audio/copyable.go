package audio

import (
	"fmt"
	"math"

	"github.com/reelmill/reelmill/pipeline"
)

// Limits of copied tracks.
const (
	maxCopied = 320000 // bits/s
	maxApart  = 0.5    // seconds between the ends of the track and the video
)

// copyable returns the reason why a track cannot be copied, or "" if it can. It only looks at the facts;
// copy.go checks the track itself. Reasons that also hold in another container come first.
func copyable(m pipeline.Media, a pipeline.AudioTrack) (reason string) {
	start := a.Start - m.Origin()
	switch {
	case m.Damaged:
		return "parts of the file cannot be read"
	case a.Codec != "aac":
		return "it is not AAC but " + a.Codec
	case a.Profile != "LC":
		return "its AAC profile is not LC"
	case a.Channels != 1 && a.Channels != 2:
		return fmt.Sprintf("it has %d channels", a.Channels)
	case a.SampleRate != 44100 && a.SampleRate != 48000:
		return fmt.Sprintf("it has %d samples/s", a.SampleRate)
	case m.Container != "mov":
		return "the container is not MP4"
	case m.Video.Groups != nil && m.Video.Groups.Remuxed:
		return "the MP4 is in fragments"
	case a.Edits == pipeline.EditsComplex:
		return "an edit list hides or repeats parts of it, or the MP4 is in fragments"
	case a.Bitrate > maxCopied:
		return fmt.Sprintf("it has %d kbit/s, but at most %d are copied", a.Bitrate/1000, maxCopied/1000)
	case a.Duration <= 0:
		return "its length is not known"
	case start > frameSeconds(1, a.SampleRate)+1e-3:
		return fmt.Sprintf("it begins at %.3f s", start)
	case math.Abs(start+a.Duration-m.Duration) > maxApart:
		return fmt.Sprintf("it ends at %.3f s, but the video at %.3f s", start+a.Duration, m.Duration)
	case a.Frames == 0:
		return "the MP4 is in fragments, or its index does not show contiguous frames"
	}
	return ""
}
