package audio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/audiotrack"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Frames that a chunk encodes in addition to those that it keeps.
const (
	preroll = 375 // before them, 8 s: the encoder's bit rate takes seconds to settle
	lookout = 4   // after them: the encoder looks ahead, and its last packet is incomplete
)

// Reading from the middle of a source.
const (
	warmUp  = 3  // seconds decoded before the first sample used: decoding a packet needs those before it
	nearest = 10 // seconds; chunks that begin earlier read the source from its start
)

// encodedFile is ffmpeg's output, in the scratch directory.
const encodedFile = "encoded.mp4"

// made is a run of segments on the scratch disk.
type made struct {
	dir   string // of init.mp4 and the segments
	form  form
	track manifest.Track
	last  bool // the rendition ends with this run
}

// window says which frames a job makes, and how it reads the source for them.
type window struct {
	rate  int // samples/s of the encoded audio
	first int // number of the first frame of the segments
	end   int // frame after the last; 0: to the end
	// from is the time in the source that is time 0 of ffmpeg's output, in whole seconds. At a whole second a
	// sample begins at every rate, so a chunk's resampler is in the same phase as that of the whole track.
	from int
	seek bool // reading begins warmUp seconds before from, not at the start
	grid grid // of the source's frames, if seek is set
}

// window returns the window of the part.
func (r run) window() window {
	w := window{rate: r.form.rate, first: border(r.part.First, r.form.rate)}
	if r.part.End > 0 {
		w.end = border(r.part.End, w.rate)
	}
	from := (w.fed() - 1) * frameSamples / w.rate
	if r.part.Seek && from >= nearest {
		w.from, w.seek = from, true
	}
	return w
}

// fed returns the number of the first frame whose samples are encoded. The encoder's priming is the frame
// before it.
func (w window) fed() int { return max(w.first-preroll, 1) }

// samples returns the number of samples from w.from to the start of a frame.
func (w window) samples(frame int) int { return frame*frameSamples - w.from*w.rate }

// start returns the time at which reading begins.
func (w window) start() time.Duration {
	if !w.seek {
		return 0
	}
	return time.Duration(w.from-warmUp) * time.Second
}

// encode makes the segments of the part. It does not verify them. The job's progress begins at from.
func (r run) encode(ctx context.Context, input string, from float64) (made, error) {
	w, err := r.survey(ctx, input, r.window())
	if err != nil {
		return made{}, err
	}
	seconds := frameSeconds(w.end-w.fed(), w.rate)
	if w.end == 0 {
		seconds = r.length() - frameSeconds(w.fed(), w.rate)
	}
	step := encode.Step{
		Tools: r.tools, Dir: r.job.Dir, Duration: max(0, seconds), Progress: r.job.Progress, From: from, To: 0.9,
		Nice: r.job.Nice(),
	}
	track := r.track(input, w)
	heard, err := track.Encode(ctx, step, r.command(track, audiotrack.AAC()))
	if err == nil && track.Mix() {
		err = r.steady(ctx, step, track)
	}
	if err == nil && !heard && r.part.First == 0 && w.end == 0 {
		err = pipeline.Fail(pipeline.CodeMalformed, "nothing was encoded: no audio of the track can be decoded")
	}
	if err != nil {
		return made{}, err
	}
	m := made{dir: r.file(r.part.Name), form: r.form, last: w.end == 0}
	s, err := newSegmenter(m.dir, m.form, r.part.Language, r.part.First)
	if err != nil {
		return made{}, err
	}
	if err := r.keep(ctx, w, s); err != nil {
		return made{}, err
	}
	m.track = s.track
	return m, os.Remove(r.file(encodedFile))
}

// steady encodes a mix again if encoding raised its peak above MaxPeak.
func (r run) steady(ctx context.Context, step encode.Step, track audiotrack.Track) error {
	peak, err := track.Peak(ctx, r.file(encodedFile))
	if err != nil || peak <= audiotrack.MaxPeak {
		return err
	}
	_, err = track.Encode(ctx, step, r.command(track, audiotrack.SteadyAAC()))
	return err
}

// track returns the track with the samples of w: from the first frame to encode to the end of w. If w has no
// end, they reach to the end of the track or of the video, whichever is later.
func (r run) track(input string, w window) audiotrack.Track {
	in := picture.Source(input, r.media)
	t := audiotrack.Track{
		Tools: r.tools, Dir: r.job.Dir, Nice: r.job.Nice(), Source: r.source(),
		Rate: r.form.rate, Channels: r.form.channels, First: int64(w.samples(w.fed())),
		Begin: r.source().Start - r.media.Origin(),
	}
	if w.seek {
		in.Seek = picture.Position(r.media, w.start())
		in.Options = append(in.Options, option("noaccurate_seek", ""))
		t.Global = picture.Timeline()
		t.Place = ffmpeg.Chain(
			ffmpeg.Node("asetpts", option("expr", w.grid.expression(w.from))),
			ffmpeg.Node("atrim", option("start", "0")))
	}
	t.Input = in
	if !w.seek {
		t.Beside = picture.Beside(r.media, r.source().Start)
	}
	switch length := r.length(); {
	case w.end > 0:
		t.End = int64(w.samples(w.end + lookout))
	case length == r.media.Duration && framesFor(length, w.rate) > w.first:
		t.End = int64(w.samples(framesFor(length, w.rate)))
	default:
		t.Until = max(int64(r.media.Duration*float64(w.rate))-int64(w.from*w.rate), int64(w.samples(w.first+1)))
	}
	return t
}

// command encodes the track. The encoder's first packet is its priming, in the place of the frame before the
// first.
func (r run) command(t audiotrack.Track, encoder []ffmpeg.Option) ffmpeg.Command {
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{t.Samples()},
		Filter: ffmpeg.Link([]string{"0:0"},
			ffmpeg.Node("asetpts", option("expr", "PTS+"+strconv.Itoa(frameSamples))), []string{"s"}),
		Outputs: []ffmpeg.Output{{
			Path: r.file(encodedFile), Format: "mp4", Maps: []string{"[s]"},
			Options: append(encoder,
				option("avoid_negative_ts", "disabled"), option("movflags", "cmaf+frag_discont"),
				option("frag_duration", strconv.Itoa(manifest.FragmentSeconds*1000000))),
		}},
	}
}

// errEnough ends reading.
var errEnough = errors.New("enough")

// keep adds the encoded frames of w to s, and skips those around them.
func (r run) keep(ctx context.Context, w window, s *segmenter) error {
	p, err := openPackets(r.file(encodedFile))
	if errors.Is(err, io.EOF) {
		return pipeline.Fail(pipeline.CodeMalformed, "nothing was encoded: no audio of the track can be decoded")
	} else if err != nil {
		return err
	}
	defer p.Close() //nolint:errcheck // read only
	if !p.form.like(r.form) {
		return pipeline.Fail(pipeline.CodeVerification, "encoded audio: configuration %x", p.form.config)
	}
	frame := w.fed() - 1
	err = p.each(ctx, func(q packet) error {
		if want := int64(frame-w.fed()+1) * frameSamples; q.time != want {
			return fmt.Errorf("a packet is at sample %d, not at %d", q.time, want)
		}
		frame++
		switch {
		case frame <= w.first:
			return nil
		case w.end > 0 && frame > w.end:
			return errEnough
		}
		return s.add(q.data)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("read packets: %w", err)
	}
	if s.frames() == 0 || s.frames() < w.end-w.first {
		return pipeline.Fail(pipeline.CodeVerification, "%d of %d frames were encoded", s.frames(), w.end-w.first)
	}
	return s.finish(w.end > 0)
}

func (r run) file(name string) string { return filepath.Join(r.job.Dir, name) }

func option(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
