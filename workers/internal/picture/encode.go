package picture

import (
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Qualities are the encoder settings that a pipeline can request, from fast to small.
const (
	Basic   = "basic"   // x264 veryfast, CRF 23; the default
	Plus    = "plus"    // medium, CRF 21
	Premium = "premium" // slow, CRF 19
)

// preset returns x264's preset and CRF; an unknown quality is Basic.
func preset(quality string) (name, crf string) {
	switch quality {
	case Plus:
		return "medium", "21"
	case Premium:
		return "slow", "19"
	}
	return "veryfast", "23"
}

// KeyframeSeconds is the time between keyframes.
const KeyframeSeconds = 2

// Reordered is the largest number of frames from decoding a frame to showing it, in outputs of H264: that of
// x264's B-pyramid.
const Reordered = 2

// H264 returns the options of an x264 encoder: High profile, CRF with a cap of maxrate kbit/s over a buffer
// of two seconds, closed groups of pictures with an IDR frame each KeyframeSeconds and nowhere else, and a
// constant frame rate that also fills the time before the first frame. If segments begin at other frames,
// borders lists those frame numbers, ascending; each segment is then divided into groups of about
// KeyframeSeconds.
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

// forced lists the times of the keyframes in segments that begin at borders, about group frames apart. The
// length of the segment after the last border is unknown, so there the encoder places keyframes by itself.
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

func itoa(n int) string { return strconv.Itoa(n) }
