package sampletable

import (
	"math"

	"github.com/reelmill/reelmill/pipeline/manifest"
)

const (
	// slack allows a segment of three groups of 2.002 s.
	slack = 0.25 // seconds
	// offGrid is how far from a frame of the grid a border may lie, in frames of the source.
	offGrid = 0.45
	// leastEnd is the shortest last segment.
	leastEnd = 1 // seconds
	// mostBorders limits the facts to 16 hours of segments.
	mostBorders = 10000
)

// borders chooses the keyframes at which segments begin. A segment has as many groups as fit into
// SegmentSeconds, and at least one. A keyframe between two frames of the grid does not qualify, since
// encoded renditions could not begin a segment there.
type borders struct {
	grid   float64   // frames/s; 0: choose no borders
	near   float64   // seconds: how far from a frame of the grid a border may lie
	chosen []float64 // seconds from the start of the video; the first is 0
	last   float64   // keyframe that may become one, if it is after the last chosen
}

func newBorders(g Grid) borders {
	if g.Low <= 0 {
		return borders{}
	}
	return borders{grid: g.Low, near: offGrid / max(g.Low, g.Rate)}
}

// add adds the next keyframe, at seconds from the start.
func (b *borders) add(at float64) {
	if b.grid <= 0 || math.Abs(at-math.Round(at*b.grid)/b.grid) > b.near {
		return
	}
	b.chooseBefore(at)
	if b.last = at; len(b.chosen) == 0 || b.full(at) {
		b.chosen = append(b.chosen, at)
	}
	if len(b.chosen) > mostBorders {
		*b = borders{}
	}
}

// chooseBefore chooses the last keyframe if no other group fits before at.
func (b *borders) chooseBefore(at float64) {
	if n := len(b.chosen); n > 0 && b.last > b.chosen[n-1] && b.full(at) {
		b.chosen = append(b.chosen, b.last)
	}
}

// full reports whether a segment from the last border to at would be too long.
func (b *borders) full(at float64) bool {
	return at > b.chosen[len(b.chosen)-1]+manifest.SegmentSeconds+slack
}

// end returns the borders of a track of that length in seconds; nil if there are too many.
func (b *borders) end(length float64) []float64 {
	b.chooseBefore(length)
	if n := len(b.chosen); n > 1 && length-b.chosen[n-1] < leastEnd {
		b.chosen = b.chosen[:n-1]
	}
	for i, at := range b.chosen {
		b.chosen[i] = math.Round(at*1e6) / 1e6
	}
	return b.chosen
}
