package transcode

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/hls"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// chunkRun is one attempt at a chunk.
type chunkRun struct {
	tools   ffmpeg.Tools
	job     workers.Attempt
	quality string
	part    part
}

// encoded is the share of encoding in a chunk's progress; the rest is for cutting, verifying and storing.
const encoded = 0.9

func (c chunkRun) run(ctx context.Context) (pipeline.Result, error) {
	if len(c.part.Rungs) == 0 || c.part.Rate.Num <= 0 {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "part of the job: no rungs")
	}
	input, err := c.job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	step := encode.Step{
		Tools: c.tools, Dir: c.job.Dir, Duration: c.seconds(), Progress: c.job.Progress, To: encoded,
		Nice: c.job.Nice(), Work: c.work(),
	}
	if err := step.Run(ctx, c.command(input)); err != nil {
		return pipeline.Result{}, err
	}
	var runs []run
	for _, r := range c.part.Rungs {
		made, err := c.cut(ctx, r)
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		runs = append(runs, made)
	}
	if err := verify(ctx, c.tools, c.job, runs); err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	result, err := publish(ctx, c.job, runs)
	return result, encode.Fault(ctx, err)
}

// seconds returns the planned length of the chunk.
func (c chunkRun) seconds() float64 {
	return float64(c.end()-c.part.Start) / c.part.Rate.Float()
}

// work returns what the chunk has to decode, from the key frame before it on, and to encode. Without an
// index, the key frame before it may be the first frame.
func (c chunkRun) work() encode.Work {
	media := c.job.Media()
	before := float64(c.part.Start) / c.part.Rate.Float()
	if media.Video.Groups != nil {
		before = min(before, media.Video.Groups.Longest)
	}
	w := encode.Decoding(media, before+c.seconds(), c.part.Rate.Float())
	for _, r := range c.part.Rungs {
		w.Encoded += c.seconds() * r.Rate.Float() * float64(r.Size.Width*r.Size.Height)
	}
	return w
}

// end returns the number of the frame after the chunk's last one.
func (c chunkRun) end() int {
	if c.part.End > 0 {
		return c.part.End
	}
	return max(c.part.Start+1, picture.Frames(c.job.Media(), c.part.Rate))
}

// command decodes once and encodes every rung. The source is always converted to the grid's rate and the
// largest size of the ladder first, even if this job has only smaller rungs. So the frames that an encoder
// gets do not depend on the division into chunks.
func (c chunkRun) command(input string) ffmpeg.Command {
	links, labels := c.graph()
	var outputs []ffmpeg.Output
	for i, r := range c.part.Rungs {
		encoder := picture.H264(c.quality, r.Maxrate, r.Rate, c.borders(r)...)
		outputs = append(outputs, ffmpeg.Output{
			Path: encodedFile(c.job.Dir, r), Format: "mp4", Maps: []string{"[" + labels[i] + "]"},
			Options: append(encoder, fragments(r.Rate, c.begin(r))...),
		})
	}
	in, global := c.source(input)
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{in}, Filter: ffmpeg.Graph(links...), Outputs: append(outputs, c.beside(in)...),
		// Use every frame that can be decoded: measure and verify judge the result.
		Global: append(global, ffmpeg.Option{Key: "max_error_rate", Value: "1"}),
	}
}

// beside returns the extra outputs that make ffmpeg start at time 0 of the video (picture.Beside).
func (c chunkRun) beside(in ffmpeg.Input) []ffmpeg.Output {
	if in.Seek > 0 {
		return nil
	}
	return picture.Beside(c.job.Media(), c.job.Media().Video.Start)
}

// source opens the input for the chunk.
func (c chunkRun) source(input string) (ffmpeg.Input, []ffmpeg.Option) {
	if c.part.Key > 0 {
		return picture.SourceAt(input, c.job.Media(), c.part.Key), picture.Timeline()
	}
	if c.part.Seek {
		start := float64(c.part.Start) / c.part.Rate.Float()
		return picture.SourceFrom(input, c.job.Media(), start), picture.Timeline()
	}
	return picture.Source(input, c.job.Media()), nil
}

// graph returns the links of the filter graph, and the label of each rung's output.
func (c chunkRun) graph() (links, labels []string) {
	m, p := c.job.Media(), c.part
	split := make([]string, len(p.Rungs))
	for i := range p.Rungs {
		split[i] = "s" + strconv.Itoa(i)
	}
	links = append(links, ffmpeg.Link([]string{picture.Stream(m)}, ffmpeg.Chain(
		picture.Grid(m, p.Rate, p.Start, c.end()), picture.Form(m.Video, p.Size),
		ffmpeg.Node("split", ffmpeg.Option{Value: strconv.Itoa(len(split))}),
	), split))
	for i, r := range p.Rungs {
		chain := picture.Cut(r.Skip, 0)
		if r.Size != p.Size || r.Rate != p.Rate {
			rate := r.Rate
			if rate == p.Rate {
				rate = picture.Rate{}
			}
			// Dividing the rate rounds the number of frames up. The extra one belongs to the next chunk.
			chain = ffmpeg.Chain(chain, picture.Resize(r.Size, rate), picture.Cut(0, c.frames(r)))
		}
		if chain == "" {
			chain = "null"
		}
		label := "v" + strconv.Itoa(i)
		links, labels = append(links, ffmpeg.Link(split[i:i+1], chain, []string{label})), append(labels, label)
	}
	return links, labels
}

// frames returns the number of frames of rung r in the chunk.
func (c chunkRun) frames(r rung) int { return max(1, c.ofRung(c.end()-c.part.Start-r.Skip, r)) }

// borders returns the frames at which segments of rung r begin, counted from the chunk's first frame; nil if
// each segment has segmentFrames frames.
func (c chunkRun) borders(r rung) []int {
	var frames []int
	for _, at := range c.part.Borders {
		frames = append(frames, c.ofRung(at-c.part.Start, r))
	}
	return frames
}

// begin returns the number of the chunk's first frame of rung r, at the rung's own rate.
func (c chunkRun) begin(r rung) int { return c.ofRung(c.part.Start+r.Skip, r) }

// ofRung converts a number of frames on the grid to frames of rung r, whose rate divides the grid's.
func (c chunkRun) ofRung(frames int, r rung) int {
	return int(math.Round(float64(frames) * r.Rate.Float() / c.part.Rate.Float()))
}

// fragments makes the muxer write CMAF: a fragment for each keyframe, no edit list, and decode times that
// start at the time of frame number begin at rate r.
func fragments(r picture.Rate, begin int) []ffmpeg.Option {
	o := cmaf()
	if begin > 0 {
		start := float64(begin) / r.Float() // microseconds are finer than ticks
		o = append(o, ffmpeg.Option{Key: "output_ts_offset", Value: strconv.FormatFloat(start, 'f', 6, 64)})
	}
	return append(o, ffmpeg.Option{Key: "video_track_timescale", Value: strconv.Itoa(r.Timescale())})
}

func cmaf() []ffmpeg.Option {
	return []ffmpeg.Option{
		{Key: "avoid_negative_ts", Value: "disabled"},
		{Key: "movflags", Value: "cmaf+frag_keyframe+negative_cts_offsets+frag_discont"},
	}
}

func encodedFile(dir string, r rung) string { return filepath.Join(dir, r.Name+".mp4") }

// cut cuts one rung into segments. It fails unless they begin and end on the grid: otherwise chunks could
// not be played one after the other.
func (c chunkRun) cut(ctx context.Context, r rung) (run, error) {
	made := run{rung: r, file: encodedFile(c.job.Dir, r), last: c.part.End == 0, longest: c.part.Longest}
	made.dir = filepath.Join(c.job.Dir, r.Name)
	if err := os.Mkdir(made.dir, 0o700); err != nil {
		return made, err
	}
	ticks := uint64(r.Rate.Timescale() / r.Rate.Num * r.Rate.Den) // of a frame
	var err error
	options := hls.Options{
		First: c.begin(r) / segmentFrames(r.Rate), Start: uint64(c.begin(r)) * ticks,
		Delay: int64(c.part.Delay) * int64(ticks),
	}
	if len(c.part.Borders) > 0 {
		options.First, options.Borders = c.part.First, seconds(c.part.Borders, c.part.Rate)
	}
	made.track, err = hls.Cut(ctx, made.file, made.dir, options)
	if err != nil {
		return made, err
	}
	if err := rejoin(made); err != nil {
		return made, err
	}
	return made, c.measure(r, made.track)
}

// rejoin replaces the run's file by its init section and segments, joined, so that verify decodes exactly
// what is stored.
func rejoin(made run) error {
	if err := os.Remove(made.file); err != nil {
		return err
	}
	files := []string{filepath.Join(made.dir, manifest.InitName)}
	for i := range made.track.Segments {
		files = append(files, filepath.Join(made.dir, fmt.Sprintf(manifest.SegmentName, made.track.First+i)))
	}
	return hls.Join(made.file, files...)
}

// seconds converts frame numbers to times.
func seconds(frames []int, r picture.Rate) []float64 {
	times := make([]float64, len(frames))
	for i, n := range frames {
		times[i] = float64(n) / r.Float()
	}
	return times
}

// measure compares the number of encoded frames with the plan. If there are fewer, the source is damaged,
// since its frames stop before the end that inspection found, and another attempt would not help.
func (c chunkRun) measure(r rung, t manifest.Track) error {
	got, want := int(math.Round(t.Duration()*r.Rate.Float())), c.frames(r)
	switch {
	case got < want:
		return pipeline.Fail(pipeline.CodeMalformed, "the video can be decoded up to %.1f s, but ends at %.1f s",
			float64(c.begin(r)+got)/r.Rate.Float(), c.job.Media().PictureEnd())
	case got > want:
		return unfit("rung %s: %d frames, want %d", r.Name, got, want)
	}
	return nil
}

// ends compares the end of the source's track, in seconds, with the end that inspection found.
func ends(m pipeline.Media, r rung, end float64) error {
	m.Duration = m.PictureEnd()
	e := encode.Expect(m)
	if e.Duration > 0 && math.Abs(end-e.Duration.Seconds()) > e.Tolerance.Seconds() {
		return unfit("rung %s: ends at %.3f s, want %.3f s within %v",
			r.Name, end, e.Duration.Seconds(), e.Tolerance)
	}
	return nil
}
