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
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// bitrate is that of all sound that we encode.
const bitrate = "128k"

// What a chunk encodes besides what it keeps, in frames.
const (
	preroll = 375 // before, 8 s: windows and resampler settle at once, but the encoder's rate takes seconds
	lookout = 4   // after: the encoder looks ahead, and its last packet is a part of one
)

// Reading from the middle of a source.
const (
	warmUp  = 3  // seconds that are decoded before what is used: packets lean on those before them
	nearest = 10 // seconds; what begins before is read from the start
)

// encodedFile is what ffmpeg writes, in the scratch folder.
const encodedFile = "encoded.mp4"

// made is a run of segments on the scratch disk.
type made struct {
	dir   string // of init.mp4 and the segments
	form  form
	track manifest.Track
	last  bool // the run ends the rendition
}

// window is which frames a job makes, and how the source is read for them.
type window struct {
	rate  int // samples/s of what is encoded
	first int // frame that the segments begin with
	end   int // frame after the last; 0: to the end
	// from is the second of the source that is time 0 of what ffmpeg writes. It is a whole one: a sample of
	// every rate lies on it, so that a chunk's resampler stands where that of the whole track would.
	from int
	seek bool // reading begins at from less warmUp; else at the start
	grid grid // of the source's frames, when seeking
}

// window is that of the part.
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

// fed is the first frame whose samples ffmpeg encodes. The encoder puts its priming in the frame before.
func (w window) fed() int { return max(w.first-preroll, 1) }

// samples counts those from w.from to the start of a frame.
func (w window) samples(frame int) int { return frame*frameSamples - w.from*w.rate }

// start is where reading begins.
func (w window) start() time.Duration {
	if !w.seek {
		return 0
	}
	return time.Duration(w.from-warmUp) * time.Second
}

// encode makes the segments of the part, and verifies nothing.
func (r run) encode(ctx context.Context, input string, from float64) (made, error) {
	w, err := r.survey(ctx, input, r.window())
	if err != nil {
		return made{}, err
	}
	seconds := frameSeconds(w.end-w.fed(), w.rate)
	if w.end == 0 {
		seconds = r.media.Duration - frameSeconds(w.fed(), w.rate)
	}
	step := encode.Step{
		Tools: r.tools, Dir: r.job.Dir, Duration: max(0, seconds), Progress: r.job.Progress, From: from, To: 0.9,
		Nice: r.job.Nice(),
	}
	if err := step.Run(ctx, r.command(input, w)); err != nil {
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

// command decodes the track once and encodes the frames of w.
func (r run) command(input string, w window) ffmpeg.Command {
	in := picture.Source(input, r.media)
	if w.end > 0 {
		until := frameSeconds(w.end+lookout, w.rate) + 1
		in.Limit = time.Duration(until*float64(time.Second)) - w.start()
	} else if in.Limit > 0 {
		in.Limit -= w.start()
	}
	c := ffmpeg.Command{Global: []ffmpeg.Option{option("max_error_rate", "1")}}
	if w.seek {
		in.Seek = w.start()
		in.Options = append(in.Options, option("noaccurate_seek", ""))
		c.Global = append(c.Global, option("copyts", ""), option("start_at_zero", ""))
	}
	c.Inputs = []ffmpeg.Input{in}
	c.Filter = ffmpeg.Link([]string{"0:" + strconv.Itoa(r.part.Stream)}, r.chain(w), []string{"s"})
	c.Outputs = []ffmpeg.Output{{
		Path: r.file(encodedFile), Format: "mp4", Maps: []string{"[s]"},
		Options: []ffmpeg.Option{
			option("c:a", "aac"), option("profile:a", "aac_low"), option("b:a", bitrate),
			option("ac", strconv.Itoa(r.form.channels)), option("ar", strconv.Itoa(r.form.rate)),
			option("avoid_negative_ts", "disabled"), option("movflags", "cmaf+frag_discont"),
			option("frag_duration", strconv.Itoa(manifest.FragmentSeconds*1000000)),
		},
	}}
	return c
}

// chain turns the decoded track into the samples of w, in the form and without a hole, silent before the
// track begins and after it has ended, up to the end of w or of the picture.
func (r run) chain(w window) string {
	var cut string
	if w.seek {
		cut = ffmpeg.Chain(
			ffmpeg.Node("asetpts", option("expr", w.grid.expression(w.from))),
			ffmpeg.Node("atrim", option("start", "0")))
	}
	long := int(r.media.Duration*float64(w.rate)) - w.from*w.rate
	trim := []ffmpeg.Option{option("start_pts", strconv.Itoa(w.samples(w.fed())))}
	if w.end > 0 {
		long = w.samples(w.end + lookout)
		trim = append(trim, option("end_pts", strconv.Itoa(long)))
	}
	var pad string
	if long > 0 {
		pad = ffmpeg.Node("apad", option("whole_len", strconv.Itoa(long)))
	}
	return ffmpeg.Chain(
		cut,
		ffmpeg.Node("aresample",
			option("", strconv.Itoa(w.rate)), option("async", "1"), option("first_pts", "0")),
		ffmpeg.Node("aformat", option("sample_fmts", "fltp"), option("channel_layouts", r.form.channelLayout())),
		pad, ffmpeg.Node("atrim", trim...),
	)
}

// errEnough ends reading.
var errEnough = errors.New("enough")

// keep gives s the frames of w from what ffmpeg encoded.
func (r run) keep(ctx context.Context, w window, s *segmenter) error {
	p, err := openPackets(r.file(encodedFile))
	if errors.Is(err, io.EOF) {
		return r.silence(w, s)
	} else if err != nil {
		return err
	}
	defer p.Close() //nolint:errcheck // read only
	if !p.form.like(r.form) {
		return pipeline.Fail(pipeline.CodeVerification, "encoded sound: configuration %x", p.form.config)
	}
	frame := w.fed() - 1
	err = p.each(ctx, func(q packet) error {
		if q.time != int64(w.samples(frame)) {
			return fmt.Errorf("a packet is at sample %d, not at %d", q.time, w.samples(frame))
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
		return r.silence(w, s)
	}
	return s.finish(w.end > 0)
}

// silence makes the rest of the chunk's frames where the track has none: a graph that no frame enters does
// not pad. A track without any is none.
func (r run) silence(w window, s *segmenter) error {
	if r.part.First == 0 && w.end == 0 {
		return pipeline.Fail(pipeline.CodeVerification, "nothing was encoded")
	}
	want := w.end - w.first
	if w.end == 0 {
		want = max(1, framesFor(r.media.Duration, w.rate)-w.first)
	}
	for s.frames() < want {
		if err := s.add(r.form.silentFrame()); err != nil {
			return err
		}
	}
	return s.finish(w.end > 0)
}

func (r run) file(name string) string { return filepath.Join(r.job.Dir, name) }

func option(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
