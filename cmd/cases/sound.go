package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// hearing is how sounds are decoded to be looked at.
const hearing = 48000 // Hz

// pcm is a decoded sound.
type pcm struct {
	channels [][]float64 // samples, full level is 1
}

// listen decodes a sound from its time 0 on, as players do: what begins later has silence before it.
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

// length is in seconds.
func (p pcm) length() float64 { return float64(len(p.channels[0])) / hearing }

// between is the part from one second to another, of what there is.
func (p pcm) between(from, to float64) pcm {
	part := pcm{}
	for _, c := range p.channels {
		a, b := int(from*hearing), int(to*hearing)
		a, b = min(max(a, 0), len(c)), min(max(b, 0), len(c))
		part.channels = append(part.channels, c[a:max(a, b)])
	}
	return part
}

// mono is the mean of all channels.
func (p pcm) mono() []float64 {
	mean := make([]float64, len(p.channels[0]))
	for _, c := range p.channels {
		for i, s := range c {
			mean[i] += s / float64(len(p.channels))
		}
	}
	return mean
}

// rms is the root of the mean square of samples; 0 for none.
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

// power is the mean square of all channels, in dB of full level, if the sound lasted for so many seconds:
// silence before and after it, which containers and outputs add, makes it no less.
func (p pcm) power(seconds float64) float64 {
	sum := 0.0
	for _, c := range p.channels {
		r := rms(c)
		sum += r * r * float64(len(c)) / float64(len(p.channels))
	}
	return 10 * math.Log10(sum/(seconds*hearing))
}

// peak is the largest sample.
func (p pcm) peak() float64 {
	most := 0.0
	for _, c := range p.channels {
		for _, s := range c {
			most = max(most, math.Abs(s))
		}
	}
	return most
}

// amplitude is how much of a pitch in Hz is in samples, by the Goertzel algorithm: a whole sine of level 1
// has 1.
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

// pitch is the strongest pitch below 4 kHz of at most half a second from the middle of samples, within 2 Hz.
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

// onset is when a sound first is louder than a level, in seconds; NaN when it never is.
func onset(samples []float64, level float64) float64 {
	for i, s := range samples {
		if math.Abs(s) > level {
			return float64(i) / hearing
		}
	}
	return math.NaN()
}
