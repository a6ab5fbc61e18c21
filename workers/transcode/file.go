package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// fileRun is one attempt at a progressive MP4: the segments of one rung and of the first audio rendition in
// one file, without encoding again.
type fileRun struct {
	tools ffmpeg.Tools
	job   workers.Attempt
	rung  rung
}

func (f fileRun) run(ctx context.Context) (pipeline.Result, error) {
	result, err := f.make(ctx)
	return result, encode.Fault(ctx, err)
}

func (f fileRun) make(ctx context.Context) (pipeline.Result, error) {
	c := ffmpeg.Command{}
	out := ffmpeg.Output{
		Path: filepath.Join(f.job.Dir, f.rung.Name+".mp4"), Format: "mp4",
		Options: []ffmpeg.Option{
			{Key: "c", Value: "copy"}, {Key: "movflags", Value: "+faststart"}, {Key: "bsf:v", Value: f.held()},
		},
	}
	picture, sound, err := f.tracks()
	if err != nil {
		return pipeline.Result{}, err
	}
	codecs := picture.Output.Codecs
	for i, r := range []*manifest.Rendition{picture, sound} {
		if r == nil {
			continue
		}
		file := filepath.Join(f.job.Dir, "track-"+strconv.Itoa(i))
		if err := f.join(ctx, file, *r); err != nil {
			return pipeline.Result{}, err
		}
		c.Inputs = append(c.Inputs, ffmpeg.Input{Path: file, Demuxer: "mov"})
		out.Maps = append(out.Maps, []string{"0:0", "1:0"}[i])
	}
	c.Outputs = []ffmpeg.Output{out}
	step := encode.Step{
		Tools: f.tools, Dir: f.job.Dir, Duration: f.job.Media().Duration,
		Progress: f.job.Progress, From: 0.5, To: 0.9, Nice: f.job.Nice(),
	}
	if err := step.Run(ctx, c); err != nil {
		return pipeline.Result{}, err
	}
	e := encode.Expect(f.job.Media())
	e.FrameRate = f.rung.Rate.Float()
	e.Width, e.Height, e.VideoCodec, e.HasVideo = f.rung.Size.Width, f.rung.Size.Height, "h264", ffmpeg.Present
	if sound != nil {
		e.HasAudio, e.AudioCodec = ffmpeg.Present, "aac"
		codecs += "," + sound.Output.Codecs
	}
	probe, err := f.tools.VerifyFile(ctx, out.Path, e)
	if err != nil {
		return pipeline.Result{}, err
	}
	file, err := f.job.Publish(ctx, out.Path, pipeline.Output{
		Name: f.rung.Name, Kind: pipeline.KindVideo, Path: f.rung.Name + ".mp4", Duration: probe.Format.Duration,
		Width: f.rung.Size.Width, Height: f.rung.Size.Height, FrameRate: f.rung.Rate.Float(), Codecs: codecs,
		AverageBandwidth: probe.Format.BitRate,
	})
	return pipeline.Result{Outputs: []pipeline.Output{file}}, err
}

// held returns the bit stream filter that prolongs the final frame of a copied rung to the end of the video:
// ffmpeg would give it the length of any other frame. The filter changes the frame that is decoded last. If
// another frame is shown last, that does no harm: the track gets the same length, and players show the last
// frame until the track ends. Encoded rungs last until the end already, and stay as they are.
func (f fileRun) held() string {
	to := func(clock string) string {
		return fmt.Sprintf("(%.6f/TB-%s+START%s)", f.job.Media().Duration, clock, clock)
	}
	last := "eq(NEXT_DTS,NOPTS)*gt(" + to("DTS") + ",1.5*DURATION)"
	return "setts=pts=PTS:dts=DTS:duration='if(" + last + "," + to("PTS") + ",DURATION)'"
}

// tracks returns the rung and the first audio rendition; nil where no audio was to be made.
func (f fileRun) tracks() (picture, sound *manifest.Rendition, err error) {
	for _, r := range manifest.Join(f.outputs()) {
		switch {
		case !r.Complete:
		case r.Output.Kind == pipeline.KindRendition && r.Dir == path.Join(f.job.Task.Job.Folder, f.rung.Name):
			picture = &r
		case r.Output.Kind == pipeline.KindAudioRendition && sound == nil:
			sound = &r
		}
	}
	if picture == nil {
		return nil, nil, unfit("no complete rendition of rung %s", f.rung.Name)
	}
	if expects := f.job.Task.Job.Expects; sound == nil && len(expects) > 0 {
		return nil, nil, unfit("missing renditions: %s, which jobs were to make and did not",
			strings.Join(expects, ", "))
	}
	return picture, sound, nil
}

func (f fileRun) outputs() []pipeline.Output {
	var all []pipeline.Output
	for _, name := range slices.Sorted(maps.Keys(f.job.Results)) {
		all = append(all, f.job.Results[name].Outputs...)
	}
	return all
}

// join writes the init section and the segments of a rendition to a new file, in order.
func (f fileRun) join(ctx context.Context, name string, r manifest.Rendition) (err error) {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, p := range append([]pipeline.Output{r.Init}, r.Runs...) {
		first, count := 0, 1
		if p.Segments != nil {
			first, count = p.Segments.First, p.Segments.Count
		}
		for n := first; n < first+count; n++ {
			if err := f.add(ctx, out, p, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// add appends segment n of a run, or an output that is not a run.
func (f fileRun) add(ctx context.Context, out io.Writer, o pipeline.Output, n int) error {
	if o.Segments != nil {
		o.Key, o.Path = workers.SegmentName(o.Key, n), workers.SegmentName(o.Path, n)
		o.Segments = nil
	}
	file, err := f.job.Fetch(ctx, o)
	if err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return pipeline.Fail(pipeline.CodeFetchFailed, "read %s: %w", o.Path, err)
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return err
}
