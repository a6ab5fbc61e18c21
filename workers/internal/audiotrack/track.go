package audiotrack

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Track is one audio track of a source, and the wanted part of it. Its timeline begins at 0, in samples of
// Rate.
type Track struct {
	Tools  ffmpeg.Tools
	Dir    string // scratch directory of the job
	Nice   int
	Source pipeline.AudioTrack

	Input  ffmpeg.Input    // the file; the caller sets where reading begins and ends
	Global []ffmpeg.Option // its global options
	Beside []ffmpeg.Output // extra outputs that make ffmpeg start at time 0 of the timeline (picture.Beside)
	Place  string          // filters that move frames onto the timeline if reading does not begin at 0

	Begin float64 // seconds from time 0 to the start of the track, for unpacked frames

	Rate, Channels int // of the output: samples/s, and 1 or 2
	// First and End select the wanted samples, without End; 0: all. If the track ends earlier, silence
	// follows up to End, or up to Until if End is 0.
	First, End, Until int64

	offset int64 // of decoded samples from the timeline
}

// lfe mixes in the LFE channel at -15 dB, 3 dB below this: it is audible and does not change the loudness.
const lfe = "0.252"

// layouts is the largest number of channels that ffmpeg can always mix: it has a default order for each
// number up to this.
const layouts = 8

// command decodes the track to a fragmented movie of float samples with times, on standard output.
func (t Track) command() ffmpeg.Command {
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{t.Input},
		Filter: ffmpeg.Link([]string{"0:" + strconv.Itoa(t.Source.Stream)}, t.chain(), []string{"s"}),
		Outputs: append([]ffmpeg.Output{{
			Format: "mov", Maps: []string{"[s]"},
			Options: []ffmpeg.Option{
				option("c:a", "pcm_f32le"), option("avoid_negative_ts", "disabled"),
				option("movflags", "cmaf+frag_discont+frag_every_frame"),
			},
		}}, t.Beside...),
		Global: append([]ffmpeg.Option{option("max_error_rate", "1")}, t.Global...),
	}
}

// chain converts frames of any format to one form. It may start over at any frame, so no filter in it may
// depend on earlier frames.
func (t Track) chain() string {
	layout := "stereo"
	if t.Channels == 1 {
		layout = "mono"
	}
	return ffmpeg.Chain(t.Place, t.level(),
		ffmpeg.Node("aresample", option("", strconv.Itoa(t.Rate)), option("lfe_mix_level", lfe)),
		ffmpeg.Node("aformat", option("sample_fmts", "flt"), option("channel_layouts", layout)))
}

// level restores the 3.01 dB that the mixing matrix takes from one channel that goes to two. A mono track
// labelled left or right (cameras write one for each side) is heard from both, since nothing else is heard
// with it. Channels without a known order are mixed here, alternately to the left and to the right.
func (t Track) level() string {
	side := ""
	if l := t.Source.Layout; t.Source.Channels == 1 && l != "" && l != "mono" {
		side = ffmpeg.Node("pan", option("", "mono|c0=c0"))
	}
	switch {
	case t.Source.Channels > layouts:
		return ffmpeg.Node("pan", option("", t.alternate()))
	case t.Channels == 1:
		return side
	}
	return ffmpeg.Chain(side,
		ffmpeg.Node("volume", option("volume", "if(eq(nb_channels,1),sqrt(2),1)"), option("precision", "float")))
}

// alternate returns the matrix for channels without an order: the first pair unchanged, the others 3 dB
// lower.
func (t Track) alternate() string {
	var sides [2][]string
	for c := range t.Source.Channels {
		gain := 1.0
		if c > 1 {
			gain = math.Sqrt2 / 2
		}
		sides[c%2] = append(sides[c%2], fmt.Sprintf("%.4f*c%d", gain, c))
	}
	return "stereo|c0=" + strings.Join(sides[0], "+") + "|c1=" + strings.Join(sides[1], "+")
}

func option(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
