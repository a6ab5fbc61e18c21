package audio

import (
	"context"
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

// Form of every sound.
const (
	sampleRate = 48000
	channels   = 2
	bitrate    = "128k"
	priming    = 1024 // samples that ffmpeg's AAC encoder puts before the first
)

// File names.
const (
	fragmented  = "fragmented.mp4"
	progressive = "audio.m4a"
)

// run is one attempt.
type run struct {
	tools ffmpeg.Tools
	job   workers.Attempt
	media pipeline.Media
	part  part
}

func (r run) run(ctx context.Context) (pipeline.Result, error) {
	input, err := r.job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	step := encode.Step{
		Tools: r.tools, Dir: r.job.Dir, Duration: r.media.Duration, Progress: r.job.Progress, To: 0.9,
	}
	if err := step.Run(ctx, r.command(input)); err != nil {
		return pipeline.Result{}, err
	}
	outputs, err := r.rendition(ctx)
	if err != nil || !r.part.Main {
		return pipeline.Result{Outputs: outputs}, err
	}
	file, err := r.progressive(ctx)
	return pipeline.Result{Outputs: append(outputs, file)}, err
}

// command decodes the track once, and encodes it for the segments and, of the main track, for the file.
func (r run) command(input string) ffmpeg.Command {
	chain := ffmpeg.Chain(
		ffmpeg.Node("aresample",
			option("", strconv.Itoa(sampleRate)), option("async", "1"), option("first_pts", "0")),
		ffmpeg.Node("aformat", option("sample_fmts", "fltp"), option("channel_layouts", "stereo")),
		ffmpeg.Node("apad", option("whole_dur", strconv.FormatFloat(r.media.Duration, 'f', 6, 64))),
	)
	source := []string{"0:" + strconv.Itoa(r.part.Stream)}
	cut := ffmpeg.Node("atrim", option("start_sample", strconv.Itoa(priming)))
	segments := ffmpeg.Output{
		Path: r.file(fragmented), Format: "mp4", Maps: []string{"[s]"},
		Options: append(aac(), option("avoid_negative_ts", "disabled"),
			option("frag_duration", strconv.Itoa(manifest.FragmentSeconds*1000000)),
			option("movflags", "cmaf+frag_discont")),
	}
	c := ffmpeg.Command{
		Inputs:  []ffmpeg.Input{picture.Source(input, r.media)},
		Filter:  ffmpeg.Link(source, ffmpeg.Chain(chain, cut), []string{"s"}),
		Outputs: []ffmpeg.Output{segments},
		Global:  []ffmpeg.Option{option("max_error_rate", "1")},
	}
	if r.part.Main {
		c.Filter = ffmpeg.Graph(
			ffmpeg.Link(source, ffmpeg.Chain(chain, ffmpeg.Node("asplit", option("", "2"))), []string{"a", "b"}),
			ffmpeg.Link([]string{"a"}, cut, []string{"s"}),
			ffmpeg.Link([]string{"b"}, "anull", []string{"f"}),
		)
		c.Outputs = append(c.Outputs, ffmpeg.Output{
			Path: r.file(progressive), Format: "ipod", Maps: []string{"[f]"},
			Options: append(aac(), option("movflags", "+faststart")),
		})
	}
	return c
}

func aac() []ffmpeg.Option {
	return []ffmpeg.Option{
		option("c:a", "aac"), option("profile:a", "aac_low"), option("b:a", bitrate),
		option("ac", strconv.Itoa(channels)), option("ar", strconv.Itoa(sampleRate)),
	}
}

// rendition cuts, verifies and publishes the segments.
func (r run) rendition(ctx context.Context) ([]pipeline.Output, error) {
	dir := r.file(r.part.Name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	track, err := hls.Cut(ctx, r.file(fragmented), dir, 0)
	if err != nil {
		return nil, err
	}
	text, err := manifest.MediaPlaylist(track)
	if err != nil {
		return nil, err
	}
	list := filepath.Join(dir, manifest.PlaylistName)
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return nil, err
	}
	e := r.expect()
	e.HasVideo, e.Scratch = ffmpeg.Absent, r.job.Dir
	if _, err := r.tools.VerifyHLS(ctx, list, e); err != nil {
		return nil, err
	}
	r.job.Progress(0.95, 0)
	peak, average := manifest.Rates(track.Segments)
	base := pipeline.Output{
		Name: r.part.Name, Duration: track.Duration(), Codecs: track.Codecs,
		Language: r.part.Language, Channels: channels,
	}
	header, segments, playlist := base, base, base
	header.Kind, header.Path = pipeline.KindInit, r.part.Name+"/"+manifest.InitName
	segments.Kind, segments.Path = pipeline.KindAudioRendition, r.part.Name+"/"+manifest.SegmentName
	segments.Segments = &pipeline.Segments{Count: len(track.Segments)}
	segments.Bandwidth, segments.AverageBandwidth = peak, average
	playlist.Kind, playlist.Path = pipeline.KindPlaylist, r.part.Name+"/"+manifest.PlaylistName
	outputs := []pipeline.Output{header, segments, playlist}
	for i, file := range []string{manifest.InitName, manifest.SegmentName, manifest.PlaylistName} {
		if outputs[i], err = r.job.Publish(ctx, filepath.Join(dir, file), outputs[i]); err != nil {
			return nil, err
		}
	}
	return outputs, nil
}

// progressive verifies and publishes the file of the main track.
func (r run) progressive(ctx context.Context) (pipeline.Output, error) {
	e := r.expect()
	e.HasVideo = ffmpeg.Absent
	probe, err := r.tools.VerifyFile(ctx, r.file(progressive), e)
	if err != nil {
		return pipeline.Output{}, err
	}
	return r.job.Publish(ctx, r.file(progressive), pipeline.Output{
		Name: "audio", Kind: pipeline.KindAudio, Path: progressive, Duration: probe.Format.Duration,
		Codecs: "mp4a.40.2", AverageBandwidth: probe.Format.BitRate, Language: r.part.Language, Channels: channels,
	})
}

// expect is as long as the picture, or as the track where that ends later.
func (r run) expect() ffmpeg.Expect {
	m := r.media
	for _, a := range m.Audio {
		if a.Stream == r.part.Stream {
			m.Duration = max(m.Duration, a.Start-r.origin()+a.Duration)
		}
	}
	e := encode.Expect(m)
	e.AudioCodec, e.HasAudio = "aac", ffmpeg.Present
	return e
}

// origin is where time 0 of the outputs lies in the source's own time: ffmpeg takes the earliest start.
func (r run) origin() float64 {
	origin := r.media.Video.Start
	for _, a := range r.media.Audio {
		origin = min(origin, a.Start)
	}
	return origin
}

func (r run) file(name string) string { return filepath.Join(r.job.Dir, name) }

func option(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
