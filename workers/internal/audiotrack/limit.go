package audiotrack

import "math"

// Levels, as fractions of full scale.
var (
	// ceiling limits the true peaks of a mix to -2.5 dBFS. Encoding usually adds up to 1.5 dB, and MaxPeak is
	// the limit after encoding.
	ceiling = math.Pow(10, -2.5/20)
	// lossy is how far lossy codecs raise peaks of full scale, 2 dB: one and two channels are only lowered
	// to full scale there. A peak above knee, 6 dB, has another cause and is lowered to the ceiling.
	lossy, knee = math.Pow(10, 2.0/20), math.Pow(10, 6.0/20)
)

// Times of the limiter, in seconds.
const (
	attack  = 0.005 // the gain falls over this time, before the peak
	release = 1.0   // the gain would rise from 0 to 1 in this time
)

// limiter lowers the gain of all channels around peaks. Its four steps are exact and need limited memory,
// so that a track in parts has the same gains as in one go:
//
//  1. Compute the gain that the current sample may have, by its true peak.
//  2. Let it exceed the previous gain by at most a step: the release.
//  3. Take the minimum over the attack time from here on.
//  4. Take the mean of that over the attack time up to here: a ramp that ends at the peak.
//
// It outputs as many samples as it gets, without a delay: finish outputs those that wait for later ones.
type limiter struct {
	channels int
	mix      bool // limit to the ceiling; otherwise only above full scale
	look     int  // attack in samples
	step     float64
	out      func([]float32) error

	ring  []float32 // the latest samples, interleaved
	mask  int       // for positions in ring
	in    int       // number of samples so far
	loud  int       // the last sample that may be a peak, or be next to one
	gain  float64   // after release
	least deque
	ramp  []float64 // the values that step 4 averages
	sum   float64
	low   int // number of values in ramp below 1
	ready []float32

	highest float64 // peak so far
	skip    int     // outputs to skip: they are before the first sample
}

// newLimiter returns a limiter that passes its output to out; out must not keep the samples.
func newLimiter(rate, channels int, mix bool, out func([]float32) error) *limiter {
	l := &limiter{
		channels: channels, mix: mix, look: int(attack * float64(rate)), step: 1 / (release * float64(rate)),
		out: out, gain: 1, loud: math.MinInt / 2,
	}
	size := 1
	for size < l.look+2*reach+2 {
		size *= 2
	}
	l.ring, l.mask = make([]float32, size*channels), size-1
	l.ramp, l.sum = make([]float64, l.look+1), float64(l.look+1)
	for i := range l.ramp {
		l.ramp[i] = 1
	}
	l.skip = l.look
	for range l.look {
		l.sample(make([]float32, channels))
	}
	return l
}

// memory returns how many earlier samples influence a sample.
func (l *limiter) memory() int { return int(1/l.step) + 2*l.look + 2*reach + 2 }

// add processes samples, interleaved.
func (l *limiter) add(samples []float32) error {
	l.ready = l.ready[:0]
	for ; len(samples) > 0; samples = samples[l.channels:] {
		l.sample(samples[:l.channels])
	}
	return l.out(l.ready)
}

// finish outputs the remaining samples.
func (l *limiter) finish() error { return l.add(make([]float32, (l.look+reach)*l.channels)) }

// sample processes one sample of each channel.
func (l *limiter) sample(x []float32) {
	at := (l.in & l.mask) * l.channels
	copy(l.ring[at:at+l.channels], x)
	for _, s := range x {
		if s > quiet || s < -quiet {
			l.loud = l.in
		}
	}
	l.in++
	n := l.in - 1 - reach
	if n < 0 {
		return
	}
	l.gain = min(l.allowed(n), l.gain+l.step)
	l.least.push(n, l.gain)
	if n < l.look {
		return
	}
	l.emit(n - l.look)
}

// emit outputs sample n with its gain.
func (l *limiter) emit(n int) {
	least := l.least.from(n)
	slot := &l.ramp[n%len(l.ramp)]
	if *slot < 1 {
		l.low--
	}
	if least < 1 {
		l.low++
	}
	l.sum += least - *slot
	*slot = least
	if l.low == 0 {
		l.sum = float64(len(l.ramp)) // discards accumulated rounding
	}
	if l.skip > 0 {
		l.skip--
		return
	}
	gain := l.sum / float64(len(l.ramp))
	at := (n & l.mask) * l.channels
	for _, s := range l.ring[at : at+l.channels] {
		if l.low > 0 {
			s = float32(float64(s) * gain)
		}
		l.ready = append(l.ready, s)
	}
}

// allowed returns the gain that sample n may have; 1 if it is quiet.
func (l *limiter) allowed(n int) float64 {
	if n-reach > l.loud {
		return 1
	}
	peak := 0.0
	for c := range l.channels {
		peak = max(peak, l.peak(n, c))
	}
	l.highest = max(l.highest, peak)
	switch {
	case l.mix && peak > ceiling:
		return ceiling / peak
	case !l.mix && peak > 1:
		return aim(peak) / peak
	}
	return 1
}

// aim returns the level to which a peak above full scale is lowered.
func aim(peak float64) float64 {
	share := math.Log(peak/lossy) / math.Log(knee/lossy)
	return math.Pow(ceiling, max(0, min(1, share)))
}

// peak returns the level of channel c at sample n; in a mix, also that of the wave up to the next sample.
func (l *limiter) peak(n, c int) float64 {
	peak := math.Abs(float64(l.ring[(n&l.mask)*l.channels+c]))
	if !l.mix {
		return peak
	}
	var near [2 * reach]float64
	for k := range near {
		near[k] = float64(l.ring[((n-reach+1+k)&l.mask)*l.channels+c])
	}
	for p := range between {
		sum := 0.0
		for k, h := range between[p] {
			sum += near[k] * h
		}
		peak = max(peak, math.Abs(sum))
	}
	return peak
}

// reach is how many samples on each side determine the wave between two samples.
const reach = 8

// quiet is the level of samples below which no peak between them can reach the ceiling: the sums of the
// filters' coefficients are below 1/quiet times the ceiling.
const quiet = 0.3

// between are the filters that compute the wave at a quarter, a half and three quarters of the way to the
// next sample: a windowed sinc, as in ITU-R BS.1770, annex 2.
var between = func() (f [3][2 * reach]float64) {
	for p := range f {
		for k := range f[p] {
			x := float64(k-reach+1) - float64(p+1)/4
			window := math.Cos(math.Pi * x / (2 * (reach + 0.5)))
			f[p][k] = math.Sin(math.Pi*x) / (math.Pi * x) * window * window
		}
	}
	return f
}()

// deque finds the minimum of the latest values.
type deque struct {
	items []gainAt
	head  int
}

type gainAt struct {
	n    int
	gain float64
}

func (d *deque) push(n int, gain float64) {
	for len(d.items) > d.head && d.items[len(d.items)-1].gain >= gain {
		d.items = d.items[:len(d.items)-1]
	}
	if d.head == len(d.items) {
		d.items, d.head = d.items[:0], 0
	} else if d.head > 1<<10 {
		d.items = d.items[:copy(d.items, d.items[d.head:])]
		d.head = 0
	}
	d.items = append(d.items, gainAt{n, gain})
}

// from returns the minimum of the values from n on, and forgets earlier ones.
func (d *deque) from(n int) float64 {
	for d.items[d.head].n < n {
		d.head++
	}
	return d.items[d.head].gain
}
