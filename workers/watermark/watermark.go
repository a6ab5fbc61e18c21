package watermark

import (
	"context"
	"errors"
	"image"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/audiotrack"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/internal/userimage"
)

// Worker is the worker type "watermark".
type Worker struct{ tools ffmpeg.Tools }

// New returns the worker.
func New(tools ffmpeg.Tools) *Worker { return &Worker{tools: tools} }

// Check implements workers.Checker. No font is needed: one is built in.
func (w *Worker) Check(ctx context.Context) error {
	encoders, err := w.tools.Encoders(ctx)
	if err == nil && (!encoders["libx264"] || !encoders["aac"]) {
		err = errors.New("ffmpeg has no libx264 or no aac: install a full build, such as apt-get install ffmpeg")
	}
	return err
}

// Traits implements workers.Declarer: the marked copy hides the source, and an upload may bring the image.
func (w *Worker) Traits() pipeline.Traits {
	return pipeline.Traits{
		HidesSource: true,
		Upload: &pipeline.UploadField{
			Asset: "image", Formats: userimage.Formats(), Short: "text",
			CheckParams: checkParams, CheckFile: checkImage,
		},
	}
}

// Plan implements workers.Worker.
func (w *Worker) Plan(p Params, m pipeline.Media) ([]pipeline.Job, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return []pipeline.Job{{
		Weight: 5 + int(m.Duration/15), Timeout: pipeline.Seconds(600 + 20*m.Duration),
		// The file is written twice, to move its index to the front; on average it has half the highest rate.
		Scratch: int64(m.Duration * maxrate * 1000 / 8),
	}}, nil
}

// Form of the output.
const (
	shortEdge  = 1080
	maxrate    = 9000 // kbit/s, or less if the source has few bits
	outputName = "watermarked"
	sampleRate = 48000
)

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	if err := job.Params.check(); err != nil {
		return pipeline.Result{}, err
	}
	r := run{tools: w.tools, job: job.Attempt, params: job.Params, media: job.Media()}
	r.size = picture.Fit(r.media.Video, shortEdge)
	out, err := r.run(ctx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	return pipeline.Result{Outputs: []pipeline.Output{out}}, nil
}

// run is one attempt.
type run struct {
	tools  ffmpeg.Tools
	job    workers.Attempt
	params Params
	media  pipeline.Media
	size   picture.Size
}

func (r run) run(ctx context.Context) (pipeline.Output, error) {
	mark, err := r.mark(ctx)
	if err != nil {
		return pipeline.Output{}, err
	}
	if err := imaging.Save(mark, r.file("mark.png")); err != nil {
		return pipeline.Output{}, err
	}
	input, err := r.job.Input(ctx)
	if err != nil {
		return pipeline.Output{}, err
	}
	step := encode.Step{
		Tools: r.tools, Dir: r.job.Dir, Duration: r.media.Duration, Progress: r.job.Progress, To: 0.95,
		Work: r.work(),
	}
	if err := r.encode(ctx, step, input, mark.Bounds()); err != nil {
		return pipeline.Output{}, err
	}
	return r.publish(ctx)
}

// work returns what the run has to decode and to encode.
func (r run) work() encode.Work {
	rate := picture.SourceRate(r.media.Video).Float()
	w := encode.Decoding(r.media, r.media.Duration, rate)
	w.Encoded = r.media.Duration * rate * float64(r.size.Width*r.size.Height)
	return w
}

// encode runs ffmpeg, and encodes the default audio beside it, if there is any.
func (r run) encode(ctx context.Context, step encode.Step, input string, mark image.Rectangle) error {
	a, ok := r.audio()
	if !ok {
		return step.Run(ctx, r.command(input, mark, nil))
	}
	track := audiotrack.Track{
		Tools: r.tools, Dir: r.job.Dir, Source: a, Input: picture.Source(input, r.media),
		Beside: picture.Beside(r.media, a.Start),
		Begin:  a.Start - r.media.Origin(),
		Rate:   sampleRate, Channels: 2, End: int64(r.media.Duration * sampleRate),
	}
	_, err := track.Encode(ctx, step, r.command(input, mark, &track))
	return err
}

// mark draws the image or the text at its size in the video.
func (r run) mark(ctx context.Context) (*image.NRGBA, error) {
	width, height := r.params.box(r.size)
	var img *image.NRGBA
	if r.params.Text != "" {
		text, err := drawText(r.params.Text, width, height)
		if err != nil {
			return nil, err
		}
		img = text
	} else {
		path, err := r.job.Asset(ctx, r.params.Image)
		if err != nil {
			return nil, err
		}
		if img, err = r.readImage(ctx, path, width, height); err != nil {
			return nil, err
		}
	}
	fade(img, r.params.opacity())
	return img, nil
}

// command overlays the mark on the upright frames, and adds track unless it is nil.
func (r run) command(input string, mark image.Rectangle, track *audiotrack.Track) ffmpeg.Command {
	x, y := r.params.place(r.size, mark.Dx(), mark.Dy())
	rate := picture.SourceRate(r.media.Video)
	links := []string{
		ffmpeg.Link([]string{picture.Stream(r.media)}, ffmpeg.Chain(
			picture.Grid(r.media, rate, 0, 0), picture.Form(r.media.Video, r.size),
		), []string{"p"}),
		ffmpeg.Link([]string{"1:0"}, ffmpeg.Chain(
			ffmpeg.Node("scale", option("out_color_matrix", "bt709"), option("out_range", "tv")),
			ffmpeg.Node("format", option("", "yuva444p")),
		), []string{"m"}),
		ffmpeg.Link([]string{"p", "m"}, ffmpeg.Chain(
			ffmpeg.Node("overlay", option("x", strconv.Itoa(x)), option("y", strconv.Itoa(y)),
				option("eof_action", "repeat"), option("format", "yuv420")),
			ffmpeg.Node("format", option("", "yuv420p")),
		), []string{"v"}),
	}
	out := ffmpeg.Output{
		Path: r.file(outputName + ".mp4"), Format: "mp4", Maps: []string{"[v]"},
		Options: append(picture.H264(picture.Basic, picture.Cap(r.media, r.size, maxrate, 1), rate),
			option("movflags", "+faststart"),
			option("video_track_timescale", strconv.Itoa(rate.Timescale()))),
	}
	inputs := []ffmpeg.Input{
		picture.Source(input, r.media), {Path: r.file("mark.png"), Demuxer: "png_pipe", Trusted: true},
	}
	if track != nil {
		inputs = append(inputs, track.Samples())
		out.Maps = append(out.Maps, "2:0")
		encoder := audiotrack.AAC()
		if track.Mix() { // always: finding out whether it is needed would mean encoding the video twice
			encoder = audiotrack.SteadyAAC()
		}
		out.Options = append(out.Options, encoder...)
	}
	return ffmpeg.Command{
		Inputs: inputs, Filter: ffmpeg.Graph(links...),
		Outputs: append([]ffmpeg.Output{out}, picture.Beside(r.media, r.media.Video.Start)...),
		Global:  []ffmpeg.Option{option("max_error_rate", "1")},
	}
}

// audio returns the default audio track, else the first; nil when there is none.
func (r run) audio() (pipeline.AudioTrack, bool) {
	tracks := r.media.Audio
	if len(tracks) == 0 {
		return pipeline.AudioTrack{}, false
	}
	i := slices.IndexFunc(tracks, func(a pipeline.AudioTrack) bool { return a.Default })
	return tracks[max(0, i)], true
}

func (r run) publish(ctx context.Context) (pipeline.Output, error) {
	file := r.file(outputName + ".mp4")
	e := encode.Expect(r.media)
	e.Width, e.Height, e.VideoCodec, e.HasVideo = r.size.Width, r.size.Height, "h264", ffmpeg.Present
	e.HasAudio = ffmpeg.Absent
	if _, ok := r.audio(); ok {
		e.AudioCodec, e.HasAudio = "aac", ffmpeg.Present
	}
	probe, err := r.tools.VerifyFile(ctx, file, e)
	if err != nil {
		return pipeline.Output{}, err
	}
	return r.job.Publish(ctx, file, pipeline.Output{
		Name: outputName, Kind: pipeline.KindVideo, Path: outputName + ".mp4", Duration: probe.Format.Duration,
		Width: r.size.Width, Height: r.size.Height, FrameRate: picture.SourceRate(r.media.Video).Float(),
		AverageBandwidth: probe.Format.BitRate,
	})
}

func (r run) file(name string) string { return filepath.Join(r.job.Dir, name) }

func option(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
