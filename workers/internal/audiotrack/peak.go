package audiotrack

import (
	"context"
	"io"
	"math"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// MaxPeak is the highest true peak, as a fraction of full scale, that a mix of more than two channels may
// have after decoding: -1 dBFS.
var MaxPeak = math.Pow(10, -1.0/20)

// Mix reports whether the track has more than two channels.
func (t Track) Mix() bool { return t.Source.Channels > 2 }

// Peak returns the highest true peak, as a fraction of full scale, of the MP4 to which the track was
// encoded. A peak below 0.3 may be returned as 0.
func (t Track) Peak(ctx context.Context, file string) (float64, error) {
	t.Input = ffmpeg.Input{Path: file, Demuxer: "mov"}
	t.Source.Stream, t.Place, t.Global, t.First, t.End, t.Until = 0, "", nil, 0, 0, 0
	line, err := t.play(ctx, io.Discard, nil)
	return line.limit.highest, err
}
