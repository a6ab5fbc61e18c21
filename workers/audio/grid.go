package audio

import (
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

const frameSamples = sampletable.FrameSamples

// border returns the number of the first frame of segment k: the last frame that begins at or before the
// segment's nominal time. At 48 kHz, 4 segments are 1,125 frames, exactly 24 s.
func border(k, rate int) int { return k * manifest.SegmentSeconds * rate / frameSamples }

// frameSeconds returns the length of n frames in seconds.
func frameSeconds(n, rate int) float64 { return float64(n) * frameSamples / float64(rate) }

// framesFor returns how many frames are needed to reach second s.
func framesFor(s float64, rate int) int {
	n := int(s * float64(rate) / frameSamples)
	for frameSeconds(n, rate) < s-1e-6 {
		n++
	}
	return n
}
