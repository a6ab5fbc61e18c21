package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// hearing is the sample rate of decoded audio.
const hearing = 48000 // Hz

// pcm is decoded audio.
type pcm struct {
	channels [][]float64 // samples, full level is 1
}

// listen decodes audio from its time 0 on, as players do: audio that begins later follows silence.
func listen(ctx context.Context, at string, which selector, channels int) (pcm, error) {
	raw, err := output(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", at, "-map", "0:"+string(which), "-af",
		"aresample="+strconv.Itoa(hearing)+":async=1:first_pts=0", "-f", "f32le", "-")
	if err != nil {
		return pcm{}, err
	}
	if channels < 1 || len(raw)%(4*channels) != 0 {
		return pcm{}, fmt.Errorf("%d bytes of %d channels", len(raw), channels)
	}
	p := pcm{channels: make([][]float64, channels)}
	for i := 0; i < len(raw); i += 4 {
		c := i / 4 % channels
		sample := math.Float32frombits(binary.LittleEndian.Uint32(raw[i:]))
		p.channels[c] = append(p.channels[c], float64(sample))
	}
	return p, nil
}

// length returns the length in seconds.
func (p pcm) length() float64 { return float64(len(p.channels[0])) / hearing }

// between returns the part from one second to another, as far as there is any.
func (p pcm) between(from, to float64) pcm {
	part := pcm{}
	for _, c := range p.channels {
		a, b := int(from*hearing), int(to*hearing)
		a, b = min(max(a, 0), len(c)), min(max(b, 0), len(c))
		part.channels = append(part.channels, c[a:max(a, b)])
	}
	return part
}

// mono returns the mean of all channels.
func (p pcm) mono() []float64 {
	mean := make([]float64, len(p.channels[0]))
	for _, c := range p.channels {
		for i, s := range c {
			mean[i] += s / float64(len(p.channels))
		}
	}
	return mean
}

// rms returns the root of the mean square of samples; 0 for none.
func rms(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sum := 0.0
	for _, s := range samples {
		sum += s * s
	}
	return math.Sqrt(sum / float64(len(samples)))
}

// power returns the mean square of all channels over this many seconds, in dB of the full level. So silence
// at the ends, which containers and outputs add, does not lower it.
func (p pcm) power(seconds float64) float64 {
	sum := 0.0
	for _, c := range p.channels {
		r := rms(c)
		sum += r * r * float64(len(c)) / float64(len(p.channels))
	}
	return 10 * math.Log10(sum/(seconds*hearing))
}

// peak returns the largest absolute sample.
func (p pcm) peak() float64 {
	most := 0.0
	for _, c := range p.channels {
		for _, s := range c {
			most = max(most, math.Abs(s))
		}
	}
	return most
}

// amplitude returns the level of a pitch in Hz in samples, by the Goertzel algorithm; 1 for a full sine.
func amplitude(samples []float64, pitch float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	c := 2 * math.Cos(2*math.Pi*pitch/hearing)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = x+c*s1-s2, s1
	}
	return 2 * math.Sqrt(max(0, s1*s1+s2*s2-c*s1*s2)) / float64(len(samples))
}

// pitch returns the strongest pitch below 4 kHz, within 2 Hz, in up to half a second at the middle of
// samples.
func pitch(samples []float64) float64 {
	const longest = hearing / 2
	if extra := len(samples) - longest; extra > 0 {
		samples = samples[extra/2 : extra/2+longest]
	}
	best, most := 0.0, 1e-4
	for p := 20.0; p < 4000; p += 2 {
		if a := amplitude(samples, p); a > most {
			best, most = p, a
		}
	}
	return best
}

// onset returns when audio first exceeds a level, in seconds; NaN if never.
func onset(samples []float64, level float64) float64 {
	for i, s := range samples {
		if math.Abs(s) > level {
			return float64(i) / hearing
		}
	}
	return math.NaN()
}
