package main

import (
	"fmt"
	"math"
)

// one440 wants an audible tone of 440 Hz.
func one440(j *judge) error {
	heard, err := j.hear()
	if err != nil {
		return err
	}
	j.near("pitch", pitch(heard.mono()), 440, 4)
	j.above("rms", rms(heard.mono()), 0.02)
	return nil
}

// pitches wants audio whose halves have one pitch each.
func pitches(first, second float64) func(*judge) error {
	return func(j *judge) error {
		heard, err := j.hear()
		if err != nil {
			return err
		}
		half, quarter := heard.length()/2, heard.length()/8
		for i, want := range []float64{first, second} {
			from := float64(i) * half
			part := heard.between(from+quarter, from+half-quarter).mono()
			j.near(fmt.Sprintf("pitch of half %d", i+1), pitch(part), want, 4)
			j.above(fmt.Sprintf("rms of half %d", i+1), rms(part), 0.02)
		}
		return nil
	}
}

// leftOnly wants audio on the left channel only.
func leftOnly(j *judge) error {
	heard, err := j.hear()
	if err != nil {
		return err
	}
	j.is("channels", len(heard.channels), 2)
	j.above("rms of the left", rms(heard.channels[0]), 0.05)
	j.below("rms of the right", rms(heard.channels[len(heard.channels)-1]), 0.005)
	return nil
}

// sameLevel wants each channel as loud as the mono source.
func sameLevel(j *judge) error {
	source, err := listen(j.ctx, j.source, audible, 1)
	if err != nil {
		return err
	}
	heard, err := j.hear()
	if err != nil {
		return err
	}
	for i, c := range heard.channels {
		j.near(fmt.Sprintf("level of channel %d against the source, dB", i+1),
			20*math.Log10(rms(c)/rms(source.channels[0])), 0, 0.3)
	}
	return nil
}

// limited wants no sample above -1 dBFS, and the tone on both channels.
func limited(j *judge) error {
	heard, err := j.hear()
	if err != nil {
		return err
	}
	j.below("peak, dBFS", 20*math.Log10(heard.peak()), -0.999)
	for i, c := range heard.channels {
		j.above(fmt.Sprintf("220 Hz on channel %d", i+1), amplitude(c, 220), 0.3)
	}
	return nil
}

// eachChannel wants every channel of 5.1 on its side of the stereo mix.
func eachChannel(j *judge) error {
	heard, err := j.hear()
	if err != nil {
		return err
	}
	if len(heard.channels) != 2 {
		return fmt.Errorf("%d channels, want stereo", len(heard.channels))
	}
	middle := heard.between(1, 3)
	for _, c := range []struct {
		name        string
		pitch       float64
		left, right bool
		level       float64
	}{
		{"FL", 300, true, false, 0.2}, {"FR", 400, false, true, 0.2}, {"FC", 500, true, true, 0.2 / math.Sqrt2},
		{"SL", 700, true, false, 0.2 / math.Sqrt2}, {"SR", 800, false, true, 0.2 / math.Sqrt2},
	} {
		for side, wanted := range []bool{c.left, c.right} {
			level := amplitude(middle.channels[side], c.pitch)
			what := fmt.Sprintf("%s on side %d", c.name, side)
			if wanted {
				j.near(what+", dB", 20*math.Log10(level/c.level), 0, 0.5)
			} else {
				j.below(what, level, 0.002)
			}
		}
	}
	return nil
}
