package picture

import "github.com/reelmill/reelmill/pipeline"

// Limits of the bits of an output.
const (
	margin = 1.3 // factor of an output's bits to the source's, for its share of the pixels
	least  = 150 // kbit/s that any output may have

	// An encoder begins with a buffer of two seconds that is nine tenths full (H264), so it may use the
	// highest rate for this many seconds more than the output lasts.
	head = 1.8
	used = 0.8 // share of these seconds that x264 uses, measured on clips of 1 to 8 s
)

// efficiency is the factor of a codec's bits that H.264 needs for the same quality, by comparisons of current
// encoders. Codecs that are less efficient than H.264 are missing: CRF already uses fewer bits there.
var efficiency = map[string]float64{"hevc": 2, "vp9": 2, "av1": 3, "vvc": 3}

// Cap returns the highest rate in kbit/s of an output of size s: ceiling, or less if the source has few bits.
// The whole output, made by that many encoders in sequence, has at most 1.3 times the source's bits, scaled
// by the pixels, or about 150 kbit/s if that is more. More bits would only encode coding noise. For the
// floor, the buffers of encoders count less: otherwise a clip of a second or two would get less than 150
// kbit/s.
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

// bits returns how many bits/s of H.264 the video track of m is worth; 0 if unknown.
func bits(m pipeline.Media) float64 {
	rate := float64(m.Video.Bitrate)
	// The rate of a fragmented file may cover only the first fragments: ignore it if it explains less than
	// half of the file.
	if rest := besidesAudio(m); rate < rest/2 {
		rate = rest
	}
	if factor := efficiency[m.Video.Codec]; factor > 0 {
		return factor * rate
	}
	return rate
}

// besidesAudio returns the bit rate in bits/s of everything in the file except audio of known rate; 0 if
// unknown.
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
