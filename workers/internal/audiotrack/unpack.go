package audiotrack

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Packed reports whether a track's packets may hold many frames, of which ffmpeg only decodes the first:
// AMR in MP4 and 3GP. Such a track is read from its start.
func Packed(container, codec string) bool {
	return container == "mov" && slices.Contains([]string{"amr_nb", "amr_wb"}, codec)
}

func (t Track) packed() bool { return Packed(t.Input.Demuxer, t.Source.Codec) }

// unpack copies the track into a file of bare frames without times: they follow each other.
func (t *Track) unpack(ctx context.Context, pulse *ffmpeg.Pulse) error {
	file := filepath.Join(t.Dir, "frames.amr")
	err := t.Tools.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{t.Input}, Global: t.Global, Threads: encode.Threads(),
		Outputs: []ffmpeg.Output{{
			Path: file, Format: "amr", Maps: []string{"0:" + strconv.Itoa(t.Source.Stream)},
			Options: []ffmpeg.Option{option("c", "copy")},
		}},
	}, ffmpeg.RunOptions{Dir: t.Dir, Nice: t.Nice, Pulse: pulse})
	t.Input = ffmpeg.Input{Path: file, Demuxer: "amr", Trusted: true, Limit: t.Input.Limit}
	t.Source.Stream, t.offset = 0, int64(t.Begin*float64(t.Rate))
	return err
}
