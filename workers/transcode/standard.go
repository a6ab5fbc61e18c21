package transcode

import (
	"fmt"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Bounds of standard input.
const (
	longestGroup = 12   // seconds between keyframes: a little more than 250 frames (x264's default) at 23.976/s
	rateMargin   = 1.5  // times the highest rate of its rung
	latestStart  = 1    // seconds from time 0 to the first frame, which is shown during that time
	highestLevel = 52   // of H.264: the highest that browsers decode
	unevenFrames = 0.5  // frames: the least distance of two frames
	longestFrame = 1    // seconds, or one and a half frames if that is longer
	squarePixels = 1e-3 // how far from 1 the sample ratio may be, since sizes are rounded
)

// standard returns the reason why the video track of m cannot be the top rung as it is, or "" if it can: any
// player must play it, seek in it quickly and show the same as of an encoded rung.
func standard(p Params, m pipeline.Media, top rung) string {
	v := m.Video
	switch {
	case p.Copy == copyNever:
		return "the pipeline has every rung encoded"
	case m.NoCopy:
		return "a step of the pipeline hides part of the picture, so the source is not published as it is"
	case m.Container != "mov" && !picture.NeedsRemux(m, false):
		return "it is in " + m.Container + ", not in MP4, Matroska, MPEG-TS or FLV"
	case m.Damaged:
		return "parts of it cannot be read"
	case v.Codec != "h264":
		return "it is " + v.Codec + ", not H.264"
	}
	if why := standardForm(v); why != "" {
		return why
	}
	switch {
	case picture.Delay(m) > latestStart:
		return fmt.Sprintf("the video begins %.2f s after the audio", picture.Delay(m))
	case !near(top.Size, v):
		return fmt.Sprintf("it is %dx%d, but the top rung is %s", v.Width, v.Height, top.Size)
	case math.Abs(top.Rate.Float()-v.FrameRate()) > 0.01:
		return fmt.Sprintf("it has %.2f frames/s, but the top rung has %.2f", v.FrameRate(), top.Rate.Float())
	case v.Bitrate <= 0, float64(v.Bitrate) > rateMargin*1000*float64(top.Maxrate):
		return fmt.Sprintf("its bit rate is %d kbit/s, but %s has at most %d",
			v.Bitrate/1000, top.Name, top.Maxrate)
	}
	return standardGroups(v, m)
}

// near reports whether a rung has the coded size of v. If the pixels of v are not square, the widths may
// differ by 2.
func near(rung picture.Size, v pipeline.VideoTrack) bool {
	off := 0
	if v.SampleRatio != 1 {
		off = 2
	}
	return rung.Height == v.CodedHeight && rung.Width >= v.CodedWidth-off && rung.Width <= v.CodedWidth+off
}

// standardForm is the part of standard about the format of the frames.
func standardForm(v pipeline.VideoTrack) string {
	switch {
	case v.PixelFormat != "yuv420p" || v.BitDepth != 8:
		return "its pixels are " + v.PixelFormat + ", not 8-bit 4:2:0"
	case !slices.Contains([]string{"Constrained Baseline", "Baseline", "Main", "High"}, v.Profile):
		return "its profile is " + v.Profile
	case v.Level <= 0 || v.Level > highestLevel:
		return fmt.Sprintf("its level is %d", v.Level)
	case math.Abs(v.SampleRatio-1) > squarePixels:
		return "its pixels are not square"
	case v.Rotation != 0 || v.Mirrored:
		return "it is turned or mirrored"
	case v.Interlaced:
		return "it is interlaced"
	case v.HDR != "":
		return "it is HDR"
	case v.Range == "pc":
		return "its range is full"
	case !slices.Contains([]string{"bt709", "smpte170m"}, picture.Matrix(v)):
		return "its colours are " + v.Matrix + ", neither BT.709 nor BT.601"
	case v.Alpha:
		return "it is transparent"
	}
	return ""
}

// standardGroups is the part of standard about the groups of pictures and the edit list.
func standardGroups(v pipeline.VideoTrack, m pipeline.Media) string {
	switch g := v.Groups; {
	case g == nil:
		return "its keyframes are not known"
	case !g.Closed:
		return "its groups of pictures are open"
	case g.Changes:
		return "its parameter sets change"
	case g.FrameLeast*v.FrameRate() < unevenFrames && g.FrameLeast > 0:
		return fmt.Sprintf("its frame rate varies: some frames are %.0f ms apart", 1000*g.FrameLeast)
	case g.FrameMost > max(longestFrame, 1.5/v.FrameRate()):
		return fmt.Sprintf("its frame rate varies: some frames are %.1f s apart", g.FrameMost)
	case g.Longest > longestGroup:
		return fmt.Sprintf("its keyframes are up to %.1f s apart", g.Longest)
	case len(g.Borders) == 0:
		return "no segment can begin at its keyframes"
	case longestSegment(g.Borders, m.PictureEnd()) > longestGroup:
		if g.Longest+manifest.SegmentSeconds <= longestGroup { // there are enough keyframes
			return "its keyframes lie between the frames of the other rungs"
		}
		longest := longestSegment(g.Borders, m.PictureEnd())
		return fmt.Sprintf("segments that begin at its keyframes are up to %.1f s long", longest)
	case longestSegment(g.Borders, m.Duration) > longestGroup:
		return fmt.Sprintf("the video ends %.1f s before the audio: its last segment would last %.1f s",
			m.Duration-m.PictureEnd(), m.Duration-g.Borders[len(g.Borders)-1])
	case v.Edits == pipeline.EditsComplex:
		return "its edit list does more than shift it"
	}
	return ""
}

// longestSegment returns the length, in seconds, of the longest segment of a track whose segments begin at
// borders.
func longestSegment(borders []float64, length float64) float64 {
	longest := length - borders[len(borders)-1]
	for i := range borders[1:] {
		longest = max(longest, borders[i+1]-borders[i])
	}
	return longest
}
