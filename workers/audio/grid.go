package audio

import (
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

const frameSamples = sampletable.FrameSamples

// border returns the frame with which segment k begins: the last that starts at or before its nominal time.
// At 48 kHz 4 segments are 1,125 frames, 24 s exactly.
func border(k, rate int) int { return k * manifest.SegmentSeconds * rate / frameSamples }

// frameSeconds is the length of n frames.
func frameSeconds(n, rate int) float64 { return float64(n) * frameSamples / float64(rate) }

// framesFor is how many frames reach to second s.
func framesFor(s float64, rate int) int {
	n := int(s * float64(rate) / frameSamples)
	for frameSeconds(n, rate) < s-1e-6 {
		n++
	}
	return n
}
