package audiotrack

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// limited returns the output of a limiter at 48 kHz that gets samples in pieces of 1,000.
func limited(t *testing.T, channels int, mix bool, samples []float32) []float32 {
	t.Helper()
	var got []float32
	l := newLimiter(48000, channels, mix, func(s []float32) error {
		got = append(got, s...)
		return nil
	})
	for piece := range slices.Chunk(samples, 1000*channels) {
		if err := l.add(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	return got
}

// wave returns seconds of one channel at 48 kHz.
func wave(seconds float64, f func(at float64) float64) []float32 {
	samples := make([]float32, int(seconds*48000))
	for i := range samples {
		samples[i] = float32(f(float64(i) / 48000))
	}
	return samples
}

// loud returns signals that a limiter must lower. The noise has no frequencies near 24 kHz, half the
// sample rate.
func loud() map[string][]float32 {
	random := rand.New(rand.NewPCG(1, 2))
	noise := wave(0.3, func(float64) float64 { return 6 * (random.Float64() - 0.5) })
	for i := 2; i < len(noise); i++ {
		noise[i-2] = (noise[i-2] + 2*noise[i-1] + noise[i]) / 4
	}
	return map[string][]float32{
		"tones":       wave(0.3, func(at float64) float64 { return 2*math.Sin(2*math.Pi*220*at) + 0.4*math.Sin(2*math.Pi*50*at) }),
		"noise":       noise,
		"a click":     wave(0.3, func(at float64) float64 { return 2 * max(0, 1-math.Abs(at-0.15)*24000) }),
		"an onset":    wave(0.3, func(at float64) float64 { return math.Sin(2*math.Pi*997*at) * max(0, math.Ceil(at-0.15)) }),
		"between two": wave(0.3, func(at float64) float64 { return 0.95 * math.Sin(2*math.Pi*12000*at+math.Pi/4) }),
	}
}

// truePeak returns the true peak, measured at eight points between samples, with longer filters than the
// limiter's.
func truePeak(samples []float32) float64 {
	const half = 32
	peak := 0.0
	for i := range samples {
		for p := range 8 {
			sum := 0.0
			for k := max(0, i-half+1); k <= min(len(samples)-1, i+half); k++ {
				x := math.Pi * (float64(k-i) - float64(p)/8)
				window := math.Cos(x / (2*half + 1))
				if x == 0 {
					sum += float64(samples[k])
				} else {
					sum += float64(samples[k]) * math.Sin(x) / x * window * window
				}
			}
			peak = max(peak, math.Abs(sum))
		}
	}
	return peak
}

func TestNoTruePeakAboveTheCeiling(t *testing.T) {
	for name, samples := range loud() {
		got := limited(t, 1, true, samples)
		if len(got) != len(samples) {
			t.Errorf("%s: %d samples, want %d", name, len(got), len(samples))
		}
		if peak := 20 * math.Log10(truePeak(got)/ceiling); peak > 0.2 {
			t.Errorf("%s: %.2f dB above the ceiling", name, peak)
		} else if peak < -3 {
			t.Errorf("%s: %.2f dB, which is needlessly quiet", name, peak)
		}
	}
}

// TestWhatFitsIsLeftAlone: audio below the limit is unchanged, bit for bit and without a delay.
func TestWhatFitsIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name  string
		mix   bool
		level float64
	}{{"a mix", true, 0.99 * ceiling}, {"stereo at full scale", false, 1}} {
		samples := wave(1, func(at float64) float64 { return c.level * math.Sin(2*math.Pi*300*at) })
		if got := limited(t, 2, c.mix, samples); !slices.Equal(got, samples) {
			t.Errorf("%s is changed", c.name)
		}
	}
}

// TestAboveFullScale: one and two channels are limited to full scale, and only around peaks above it.
func TestAboveFullScale(t *testing.T) {
	for _, over := range []float64{1.01, 1.2, 2, 100} {
		samples := wave(2, func(at float64) float64 {
			if at < 1 {
				return 0.5 * math.Sin(2*math.Pi*300*at)
			}
			return over * math.Sin(2*math.Pi*300*at)
		})
		got := limited(t, 1, false, samples)
		if !slices.Equal(got[:40000], samples[:40000]) {
			t.Errorf("%g: samples within full scale are changed", over)
		}
		if peak := float64(slices.Max(got)); peak > 1 || peak < ceiling-0.01 {
			t.Errorf("%g: a peak of %.3f", over, peak)
		}
	}
}

// TestChannelsAreLimitedTogether: limiting one channel does not move the sound to the other side.
func TestChannelsAreLimitedTogether(t *testing.T) {
	samples := make([]float32, 2*48000)
	for i := range 48000 {
		samples[2*i] = float32(2 * math.Sin(2*math.Pi*300*float64(i)/48000))
		samples[2*i+1] = samples[2*i] / 4
	}
	got := limited(t, 2, true, samples)
	for i := 0; i < len(got); i += 2 {
		if math.Abs(float64(got[i]-4*got[i+1])) > 1e-5 {
			t.Fatalf("sample %d: %g and %g", i/2, got[i], got[i+1])
		}
	}
}

// TestLimiterForgets: the output depends on no more earlier samples than memory says.
func TestLimiterForgets(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	samples := wave(5, func(at float64) float64 {
		return (1 + math.Sin(2*math.Pi*at)) * 2 * (random.Float64() - 0.5)
	})
	const from = 3 * 48000
	memory := newLimiter(48000, 1, true, nil).memory()
	whole, part := limited(t, 1, true, samples), limited(t, 1, true, samples[from-memory:])
	for i, s := range part[memory:] {
		if math.Abs(float64(s-whole[from+i])) > 1e-6 {
			t.Fatalf("sample %d of the part is %g, of the whole %g", i, s, whole[from+i])
		}
	}
}

// TestQuiet: between samples below the level quiet, no peak can exceed the ceiling.
func TestQuiet(t *testing.T) {
	for p, filter := range between {
		sum, level := 0.0, 0.0
		for _, h := range filter {
			sum += math.Abs(h)
			level += h
		}
		if sum*quiet > ceiling || math.Abs(level-1) > 0.01 {
			t.Errorf("filter %d: the parts add up to %.3f, its level is %.4f", p, sum, level)
		}
	}
}

func BenchmarkLimiter(b *testing.B) {
	for name, level := range map[string]float64{"quiet": 0.2, "loud": 3} {
		b.Run(name, func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			samples := wave(2, func(float64) float64 { return level * (random.Float64() - 0.5) })
			l := newLimiter(48000, 2, true, func([]float32) error { return nil })
			for b.Loop() {
				if err := l.add(samples); err != nil { // a second of two channels
					b.Fatal(err)
				}
			}
		})
	}
}
