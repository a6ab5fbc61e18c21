package picture

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// discontinuous are the containers whose times may jump: those with AVFMT_TS_DISCONT in libavformat.
var discontinuous = []string{"mpegts", "mpeg", "ogg"}

// Discontinuous reports whether ffmpeg's time 0 of a container is the first of the tracks that a command
// reads. Otherwise it is the first of all tracks, used or not.
func Discontinuous(container string) bool { return slices.Contains(discontinuous, container) }

// offset returns the options that make time 0 of a file time 0 of m.
func offset(m pipeline.Media) []ffmpeg.Option {
	if Discontinuous(m.Container) || math.Abs(m.Before) < 1e-6 {
		return nil // see Beside
	}
	return []ffmpeg.Option{option("itsoffset", strconv.FormatFloat(-m.Before, 'f', 6, 64))}
}

// Beside returns additional outputs for a command that reads, from the start of the file, a track that begins
// at start. If ffmpeg would take start as time 0, the outputs make it also read the start of the earliest
// track. An offset would not work, since versions of ffmpeg apply it differently there.
func Beside(m pipeline.Media, start float64) []ffmpeg.Output {
	if !Discontinuous(m.Container) || start <= m.Origin() {
		return nil
	}
	first := m.Video.Stream
	for _, a := range m.Audio {
		if a.Start == m.Origin() {
			first = a.Stream
		}
	}
	return []ffmpeg.Output{{
		Format: "null", Maps: []string{fmt.Sprintf("0:%d", first)},
		Options: []ffmpeg.Option{option("c", "copy"), option("t", "0.1")},
	}}
}

// Delay returns how many seconds after time 0 the video track of the source begins.
func Delay(m pipeline.Media) float64 { return m.Video.Start - m.Origin() }

// nudge is by how many seconds outputs may shift video against audio; no viewer notices that. An AAC frame at
// 44.1 kHz, which encoders put before the audio, lasts 23 ms.
const nudge = 0.024

// Lead is Delay in the outputs. It is the nearest frame of the smallest rungs if that is at most nudge
// away: then all frames of a constant rate are on the grid, whatever a container or encoder put before the
// audio. Otherwise it is Delay.
func Lead(m pipeline.Media) float64 { return LeadAt(m, SourceRate(m.Video)) }

// LeadAt is Lead for a video whose best outputs have rate r.
func LeadAt(m pipeline.Media, r Rate) float64 {
	delay, low := Delay(m), r.AtMost(LowRate).Float()
	if low <= 0 {
		return delay
	}
	if lead := math.Round(delay*low) / low; math.Abs(lead-delay) <= nudge {
		return lead
	}
	return delay
}

// Shift returns by how many seconds frames decoded from Source must be moved to begin at Lead.
func Shift(m pipeline.Media) float64 { return Lead(m) - Delay(m) }
