package sound

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Track is one sound track of a source, and what is wanted of it. Its timeline begins at 0, in samples of
// Rate.
type Track struct {
	Tools  ffmpeg.Tools
	Dir    string // scratch of the job
	Nice   int
	Source pipeline.AudioTrack

	Input  ffmpeg.Input    // the file; where reading begins and ends is the caller's
	Global []ffmpeg.Option // that go with it
	Beside []ffmpeg.Output // that make time 0 of the file that of the timeline (picture.Beside)
	Place  string          // filters that move frames onto the timeline, where reading does not begin at 0

	Begin float64 // seconds from time 0 to where the track begins; what is unpacked is put there

	Rate, Channels int // of what is heard: samples/s, and 1 or 2
	// First and End are the samples that are wanted, End not included; 0: all that there are. Where the track
	// has none there is silence, up to End, or up to Until when End is 0.
	First, End, Until int64

	offset int64 // of what is decoded from the timeline
}

// lfe puts the LFE channel into a mix at -15 dB, 3 dB below this: it is heard, and the loudness stays.
const lfe = "0.252"

// layouts is how many channels ffmpeg can always mix: it knows an order for each number of them.
const layouts = 8

// command decodes the track to a fragmented movie of float samples on standard output, each with its time.
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

// chain brings frames of any format to the one form. It may begin anew at any frame, so nothing in it may
// depend on those before.
func (t Track) chain() string {
	layout := "stereo"
	if t.Channels == 1 {
		layout = "mono"
	}
	return ffmpeg.Chain(t.Place, t.level(),
		ffmpeg.Node("aresample", option("", strconv.Itoa(t.Rate)), option("lfe_mix_level", lfe)),
		ffmpeg.Node("aformat", option("sample_fmts", "flt"), option("channel_layouts", layout)))
}

// level makes good what the mixing matrix takes from one channel that goes to two: 3.01 dB each. One that is
// said to belong to a side, as cameras have a track for each, is heard from both: nothing else is heard with
// it. Channels beyond those that have an order are mixed here, one to the left and one to the right.
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

// alternate is the matrix of channels without an order: the first pair as it is, the others 3 dB lower.
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
