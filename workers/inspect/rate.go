package inspect

import (
	"math"
	"slices"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Bounds for computing the frame rate from the times of frames.
const (
	closeBy  = 0.3  // share of the median by which an interval may differ and still count
	agreeing = 0.6  // share of all intervals that must agree with a standard rate
	agrees   = 0.1  // share of a rate's interval by which an interval may differ and still agree
	steady   = 0.95 // share of the counting intervals that must be alike for frames to count as even

	exactly = 0.0002 // share by which even frames may differ from a standard or declared rate
	nearly  = 0.003  // the same for uneven frames and a declared rate
	roughly = 0.03   // the same for uneven frames and a standard rate
	// together is the distance in seconds below which frames count as one: the two fields of a frame, a
	// hidden frame of VP8, a time that was written twice.
	together = 0.0015
)

// spacing is what the times of frames say about their rate.
type spacing struct {
	rate     float64 // frames/s; 0 for fewer than two frames
	unsure   float64 // share by which rate may be wrong because the clock is coarse
	even     bool    // nearly all counting intervals are alike
	variable bool    // some frame comes more than half an interval early or late
	all      []float64
	tick     float64
}

// space measures presentation times in seconds, in any order, on a clock of tick seconds per tick. The rate
// is the mean of the intervals close to their median, so pauses, bursts and lost frames do not change it.
// If nearly all of these are alike, it is the mean of those alone.
func space(times []float64, tick float64) spacing {
	s := spacing{all: intervals(times), tick: tick}
	if len(s.all) == 0 {
		return s
	}
	sorted := slices.Sorted(slices.Values(s.all))
	median := sorted[len(sorted)/2]
	near := s.around(median, closeBy*median)
	alike := s.around(near.mean, 1.5*tick+exactly*near.mean)
	if s.even = float64(alike.count) >= steady*float64(near.count); s.even {
		near = alike
	}
	s.rate, s.unsure = 1/near.mean, tick*float64(near.runs)/(near.mean*float64(near.count))
	s.variable = s.share(median, median/2) < 1
	return s
}

// group are intervals that are close to each other.
type group struct {
	count int
	runs  int // runs of consecutive intervals; each run is off by a tick at most
	mean  float64
}

// around returns the intervals that differ from middle by at most off, in seconds.
func (s spacing) around(middle, off float64) (g group) {
	inside, sum := false, 0.0
	for _, d := range s.all {
		near := math.Abs(d-middle) <= off
		if near {
			sum += d
			g.count++
			if !inside {
				g.runs++
			}
		}
		inside = near
	}
	g.mean = sum / float64(max(1, g.count))
	return g
}

// share returns the share of all intervals that differ from middle by at most off, in seconds.
func (s spacing) share(middle, off float64) float64 {
	return float64(s.around(middle, off).count) / float64(len(s.all))
}

// intervals returns the distances of frames. Frames that are together count as one.
func intervals(times []float64) []float64 {
	sorted := slices.Sorted(slices.Values(times))
	var all []float64
	last := 0
	for i := 1; i < len(sorted); i++ {
		if d := sorted[i] - sorted[last]; d >= together {
			all = append(all, d)
			last = i
		}
	}
	return all
}

// of returns the frame rate. First choice is a declared rate that fits, since declared rates are exact.
// Second is a standard rate that fits and agrees with most intervals; it may differ more if frames are
// uneven. Otherwise it is the measured rate, rounded to a whole number if that fits, or to thousandths.
func (s spacing) of(declared ...picture.Rate) picture.Rate {
	off, nearest := nearly, roughly
	if s.even {
		off = exactly + s.unsure
		nearest = off
	}
	for _, r := range declared {
		if s.off(r) <= off && (s.even || slices.Contains(picture.Standards, r) && s.agree(r)) {
			return r
		}
	}
	best := picture.NewRate(int64(math.Round(s.rate*1000)), 1000)
	if whole := math.Round(s.rate); s.even && math.Abs(s.rate/whole-1) <= off {
		best = picture.NewRate(int64(whole), 1)
	}
	for _, r := range picture.Standards {
		if off := s.off(r); off <= nearest && s.agree(r) {
			best, nearest = r, off
		}
	}
	return best
}

// off returns the share by which the measured rate differs from r.
func (s spacing) off(r picture.Rate) float64 { return math.Abs(s.rate/r.Float() - 1) }

// agree reports whether enough intervals are those of r.
func (s spacing) agree(r picture.Rate) bool {
	want := 1 / r.Float()
	return s.share(want, agrees*want+s.tick) >= agreeing
}

// hints returns the rates that the container declares, except those of a clock.
func hints(s ffmpeg.Stream) []picture.Rate {
	var all []picture.Rate
	for _, r := range []ffmpeg.Rational{s.AvgFrameRate, s.RFrameRate} {
		if f := r.Float(); f > 0 && f <= picture.MaxFacts {
			all = append(all, picture.NewRate(r.Num, r.Den))
		}
	}
	return all
}
