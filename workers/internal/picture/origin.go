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
