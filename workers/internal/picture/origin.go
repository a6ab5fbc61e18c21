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

// Discontinuous reports a container of which ffmpeg takes the first of the tracks that a command reads for
// time 0. Of others it is the first of all tracks, used or not.
func Discontinuous(container string) bool { return slices.Contains(discontinuous, container) }

// offset are the options that make time 0 of a file that of m.
func offset(m pipeline.Media) []ffmpeg.Option {
	if Discontinuous(m.Container) || math.Abs(m.Before) < 1e-6 {
		return nil // see Beside
	}
	return []ffmpeg.Option{option("itsoffset", strconv.FormatFloat(-m.Before, 'f', 6, 64))}
}

// Beside are the outputs that go with one of a track that begins at start, and is read from the start of the
// file: where ffmpeg would take that for time 0, they have it read the beginning of the track that begins
// first. Versions of ffmpeg differ in what an offset does there.
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

// Delay is how many seconds after the origin of time the picture begins, in the source.
func Delay(m pipeline.Media) float64 { return m.Video.Start - m.Origin() }

// nudge is by how many seconds outputs may show the picture earlier or later than the source has it beside
// the sound: no viewer sees that. A frame of AAC at 44.1 kHz, which encoders put before the sound, is 23 ms.
const nudge = 0.024

// Lead is Delay as outputs have it: on the nearest frame of the smallest rungs, where that is at most nudge
// away, so that all frames of a constant rate lie on the grid, whatever a container or an encoder put before
// the sound. Elsewhere it is Delay.
func Lead(m pipeline.Media) float64 { return LeadAt(m, SourceRate(m.Video)) }

// LeadAt is Lead of a picture whose best outputs have rate r.
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

// Shift is by how many seconds frames that are decoded from Source must be moved to be shown from Lead on.
func Shift(m pipeline.Media) float64 { return Lead(m) - Delay(m) }
