package picture

import "github.com/reelmill/reelmill/pipeline"

// Limits of the bits of an output.
const (
	margin = 1.3 // of an output to its source, for its share of the pixels
	least  = 150 // kbit/s: an output may have that much in all, whatever its source has

	// An encoder begins with a buffer of two seconds that is nine tenths full (H264): so many seconds more than
	// those that it lasts may have the highest rate.
	head = 1.8
	used = 0.8 // of these seconds, what x264 was measured to use, of clips of 1 to 8 s
)

// efficiency is how many times the bits of a codec H.264 takes for the same picture, where those are more:
// about what comparisons of the encoders in use find. Of older codecs it takes fewer, which the encoder sees
// by itself.
var efficiency = map[string]float64{"hevc": 2, "vp9": 2, "av1": 3, "vvc": 3}

// Cap returns the highest rate in kbit/s of an output of size s: ceiling, or less where the source has few
// bits. All of the output, made by that many encoders one after the other, has at most 1.3 times the source's
// bits for its share of the pixels, or about 150 kbit/s where that is more. What more could it show? No more
// than that is spent on noise that coding made. The floor allows for what encoders use of their buffers,
// not for all of it: a clip of a second or two would have fewer than 150 kbit/s, and look worse.
func Cap(m pipeline.Media, s Size, ceiling int, encoders float64) int {
	source, pixels := bits(m), float64(m.Video.Width*m.Video.Height)
	if source <= 0 || pixels <= 0 || m.Duration <= 0 {
		return ceiling
	}
	share := min(1, float64(s.Width*s.Height)/pixels)
	rate := margin * source / 1000 * share * m.Duration / (m.Duration + head*encoders)
	floor := least * m.Duration / (m.Duration + used*encoders)
	return min(ceiling, int(max(rate, floor)))
}

// bits is how many bits/s of H.264 the picture of m is worth; 0 when that is not known.
func bits(m pipeline.Media) float64 {
	rate := float64(m.Video.Bitrate)
	// Of fragments the first ones alone may count: what explains less than half of the file is not believed.
	if rest := besidesAudio(m); rate < rest/2 {
		rate = rest
	}
	if factor := efficiency[m.Video.Codec]; factor > 0 {
		return factor * rate
	}
	return rate
}

// besidesAudio is the rate in bits/s of all in the file that is no audio, as far as that says its rate; 0
// when it is not known.
func besidesAudio(m pipeline.Media) float64 {
	if m.Duration <= 0 {
		return 0
	}
	left := float64(8 * m.Size)
	for _, a := range m.Audio {
		length := a.Duration
		if length <= 0 {
			length = m.Duration
		}
		left -= float64(a.Bitrate) * length
	}
	return max(0, left/m.Duration)
}
