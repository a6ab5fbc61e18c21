package picture

import (
	"math"
	"slices"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
)

// Rate is a frame rate in frames/s. The zero Rate is unknown.
type Rate struct {
	Num int `json:"num"`
	Den int `json:"den"`
}

// Bounds of a frame rate, in frames/s.
const (
	minRate     = 1
	MaxRate     = 60  // highest rate of an output
	LowRate     = 30  // highest rate of the smallest outputs, which divides a video's other rates
	MaxFacts    = 240 // highest rate in the media facts
	defaultRate = 25
)

// Standards are the rates of cameras and screens, lowest first. Package inspect rounds measured rates only
// to these.
var Standards = []Rate{
	{24000, 1001}, {24, 1}, {25, 1}, {30000, 1001}, {30, 1}, {48, 1}, {50, 1}, {60000, 1001}, {60, 1},
	{120000, 1001}, {120, 1},
}

// roundedTo are the rates besides Standards to which NewRate rounds, by at most 0.2%. Inspect rounds by up
// to 3%, which would turn a screen recording of 10.2 frames/s into one of 10.
var roundedTo = []Rate{{5, 1}, {10, 1}, {12, 1}, {15, 1}, {100, 1}}

// NewRate returns a rate near num/den that players can show: a simple fraction as it is, else the standard
// rate within 0.2%, else thousandths; at least 1. A rate above MaxFacts is halved until it is not. An
// unknown rate becomes 25.
func NewRate(num, den int64) Rate {
	if num <= 0 || den <= 0 {
		return Rate{defaultRate, 1}
	}
	f := float64(num) / float64(den)
	if f < minRate {
		return Rate{minRate, 1}
	}
	for f > MaxFacts && den < math.MaxInt64/2 {
		den, f = den*2, f/2
	}
	if g := gcd(num, den); num/g <= 120000 && den/g <= 1001 {
		return Rate{int(num / g), int(den / g)}
	}
	best := Rate{}
	for _, s := range slices.Concat(Standards, roundedTo) {
		if math.Abs(s.Float()-f) < math.Abs(best.Float()-f) {
			best = s
		}
	}
	if math.Abs(best.Float()-f) <= 0.002*f {
		return best
	}
	thousandths := int64(math.Round(f * 1000))
	g := gcd(thousandths, 1000)
	return Rate{int(thousandths / g), int(1000 / g)}
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// SourceRate returns the rate of the best outputs of v: its own, at most MaxRate.
func SourceRate(v pipeline.VideoTrack) Rate {
	return NewRate(int64(v.FrameRateNum), int64(v.FrameRateDen)).AtMost(MaxRate)
}

// AtMost divides r by the smallest whole number that brings it to fps or below, so that keyframes of both
// rates are at the same times. A rate up to 5% above fps, such as that of a screen recording at 30.3
// frames/s, is unchanged, since half of it would be visible.
func (r Rate) AtMost(fps float64) Rate {
	n := int(math.Ceil(r.Float()/fps - 0.05))
	if n <= 1 {
		return r
	}
	g := int(gcd(int64(r.Num), int64(r.Den*n)))
	return Rate{r.Num / g, r.Den * n / g}
}

// Float returns frames/s; 0 if unknown.
func (r Rate) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// String formats the rate for ffmpeg: "30000/1001".
func (r Rate) String() string { return strconv.Itoa(r.Num) + "/" + strconv.Itoa(r.Den) }

// Frames returns how many frames come closest to that many seconds; at least 1.
func (r Rate) Frames(seconds float64) int {
	return max(1, int(math.Round(seconds*r.Float())))
}

// Timescale returns a track timescale of at least 10,000 ticks/s in which each frame lasts a whole number
// of ticks.
func (r Rate) Timescale() int {
	n := max(1, r.Num)
	for n < 10000 {
		n *= 2
	}
	return n
}
