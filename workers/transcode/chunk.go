package transcode

import (
	"context"
	"encoding/json"
	"fmt"
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

// index is what a chunk leaves for the package job: by rung, the lengths and sizes of its segments.
type index struct {
	Rungs []indexRung `json:"rungs"` // as planned, largest first
}

type indexRung struct {
	rung
	Track manifest.Track `json:"track"`
}

// indexName tells the index of a chunk from those of other workers.
const indexName = "transcode-index"

// chunkRun is one attempt at a chunk.
type chunkRun struct {
	tools   ffmpeg.Tools
	job     workers.Attempt
	quality string
	part    part
}

// Shares of a chunk's progress: the rest is cutting, verifying and storing.
const encoded = 0.9

func (c chunkRun) run(ctx context.Context) (pipeline.Result, error) {
	if len(c.part.Rungs) == 0 {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "part of the job: no rungs")
	}
	input, err := c.job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	media := c.job.Media()
	step := encode.Step{
		Tools: c.tools, Dir: c.job.Dir, Duration: media.Duration, Progress: c.job.Progress, To: encoded,
	}
	if err := step.Run(ctx, command(input, c.job.Dir, media, c.quality, c.part.Rungs)); err != nil {
		return pipeline.Result{}, err
	}
	var result pipeline.Result
	var idx index
	for i, r := range c.part.Rungs {
		track, outputs, err := c.rung(ctx, r)
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		result.Outputs = append(result.Outputs, outputs...)
		idx.Rungs = append(idx.Rungs, indexRung{r, track})
		c.job.Progress(encoded+(1-encoded)*float64(i+1)/float64(len(c.part.Rungs)), 0)
	}
	out, err := c.publishIndex(ctx, idx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	result.Outputs = append(result.Outputs, out)
	return result, nil
}

// command decodes once and encodes every rung. The chain of the source runs at the largest size and rate,
// and the smaller rungs are made from its frames.
func command(input, dir string, m pipeline.Media, quality string, rungs []rung) ffmpeg.Command {
	best := rungs[0]
	split := make([]string, len(rungs))
	for i := range rungs {
		split[i] = "s" + strconv.Itoa(i)
	}
	chain := ffmpeg.Chain(
		picture.Nodes(m.Video, best.Size, best.Rate),
		ffmpeg.Node("split", ffmpeg.Option{Value: strconv.Itoa(len(rungs))}),
	)
	links := []string{ffmpeg.Link([]string{picture.Stream(m)}, chain, split)}
	var outputs []ffmpeg.Output
	for i, r := range rungs {
		chain := "null"
		if i > 0 {
			rate := r.Rate
			if rate == best.Rate {
				rate = picture.Rate{}
			}
			chain = picture.Resize(r.Size, rate)
		}
		label := "v" + strconv.Itoa(i)
		links = append(links, ffmpeg.Link(split[i:i+1], chain, []string{label}))
		outputs = append(outputs, ffmpeg.Output{
			Path: encodedFile(dir, r), Format: "mp4", Maps: []string{"[" + label + "]"},
			Options: append(picture.H264(quality, r.Maxrate, r.Rate), fragments(r.Rate)...),
		})
	}
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{picture.Source(input, m)}, Filter: ffmpeg.Graph(links...), Outputs: outputs,
		// What decodes is used; the verify gate judges.
		Global: []ffmpeg.Option{{Key: "max_error_rate", Value: "1"}},
	}
}

// fragments makes the muxer write CMAF: a fragment for each keyframe, decode times from 0, no edit list.
func fragments(r picture.Rate) []ffmpeg.Option {
	return []ffmpeg.Option{
		{Key: "avoid_negative_ts", Value: "disabled"},
		{Key: "video_track_timescale", Value: strconv.Itoa(r.Timescale())},
		{Key: "movflags", Value: "cmaf+frag_keyframe+negative_cts_offsets+frag_discont"},
	}
}

func encodedFile(dir string, r rung) string { return filepath.Join(dir, r.Name+".mp4") }

// rung cuts, verifies and publishes one rendition.
func (c chunkRun) rung(ctx context.Context, r rung) (manifest.Track, []pipeline.Output, error) {
	dir := filepath.Join(c.job.Dir, r.Name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return manifest.Track{}, nil, err
	}
	file := encodedFile(c.job.Dir, r)
	track, err := hls.Cut(ctx, file, dir, c.part.FirstSegment)
	if err != nil {
		return track, nil, err
	}
	if err := os.Remove(file); err != nil {
		return track, nil, err
	}
	if err := c.verify(ctx, r, dir, track); err != nil {
		return track, nil, fmt.Errorf("rung %s: %w", r.Name, err)
	}
	header, err := c.job.Publish(ctx, filepath.Join(dir, manifest.InitName), pipeline.Output{
		Name: r.Name, Kind: pipeline.KindInit, Path: r.Name + "/" + manifest.InitName,
		Width: r.Size.Width, Height: r.Size.Height, Codecs: track.Codecs,
	})
	if err != nil {
		return track, nil, err
	}
	peak, average := manifest.Rates(track.Segments)
	rendition, err := c.job.Publish(ctx, filepath.Join(dir, manifest.SegmentName), pipeline.Output{
		Name: r.Name, Kind: pipeline.KindRendition, Path: r.Name + "/" + manifest.SegmentName,
		Segments: &pipeline.Segments{First: track.First, Count: len(track.Segments)},
		Duration: track.Duration(), Width: r.Size.Width, Height: r.Size.Height, FrameRate: r.Rate.Float(),
		Codecs: track.Codecs, Bandwidth: peak, AverageBandwidth: average,
	})
	return track, []pipeline.Output{header, rendition}, err
}

// verify lists the segments as the package job will, and has that played.
func (c chunkRun) verify(ctx context.Context, r rung, dir string, track manifest.Track) error {
	text, err := manifest.MediaPlaylist(track)
	if err != nil {
		return err
	}
	list := filepath.Join(dir, manifest.PlaylistName)
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return err
	}
	e := encode.Expect(c.job.Media())
	e.Width, e.Height, e.VideoCodec = r.Size.Width, r.Size.Height, "h264"
	e.HasVideo, e.HasAudio, e.Scratch = ffmpeg.Present, ffmpeg.Absent, c.job.Dir
	_, err = c.tools.VerifyHLS(ctx, list, e)
	return err
}

func (c chunkRun) publishIndex(ctx context.Context, idx index) (pipeline.Output, error) {
	data, err := json.Marshal(idx)
	if err != nil {
		return pipeline.Output{}, fmt.Errorf("encode index: %w", err)
	}
	file := filepath.Join(c.job.Dir, "index.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return pipeline.Output{}, err
	}
	return c.job.Publish(ctx, file, pipeline.Output{
		Name: indexName, Kind: pipeline.KindIndex, Path: "index/" + c.job.Task.Job.Name + ".json",
	})
}
