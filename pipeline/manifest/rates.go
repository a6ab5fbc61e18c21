package manifest

import "math"

// Rates returns the peak and the average bit rate of consecutive segments, in bits/s, rounded up. The peak
// is the largest rate of any run of segments that lasts 0.5 to 1.5 times the target duration, or the
// average if there is no such run. Source: RFC 8216, 4.1, and Apple's HLS Authoring Specification, 9.
func Rates(segments []Segment) (peak, average int64) {
	target, seconds, size := 0.0, 0.0, int64(0)
	for _, s := range segments {
		target, seconds, size = max(target, math.Round(s.Duration)), seconds+s.Duration, size+s.Size
	}
	average = rate(size, seconds)
	for i := range segments {
		seconds, size = 0, 0
		for _, s := range segments[i:] {
			seconds, size = seconds+s.Duration, size+s.Size
			if seconds > 1.5*target {
				break
			}
			if seconds >= 0.5*target {
				peak = max(peak, rate(size, seconds))
			}
		}
	}
	return max(peak, average), average
}

// iFrameRates returns the peak and the average bit rate of the I-frame playlist of t, in bits/s: those of
// its keyframes, each of which lasts until the next.
func iFrameRates(t Track) (peak, average int64) {
	var frames []Segment
	for _, s := range t.Segments {
		for _, k := range s.Keys {
			frames = append(frames, Segment{Duration: k.Duration, Size: k.Size})
		}
	}
	return Rates(frames)
}

func rate(size int64, seconds float64) int64 {
	if seconds <= 0 {
		return 0
	}
	return int64(math.Ceil(float64(size) * 8 / seconds))
}
