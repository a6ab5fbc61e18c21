package audio

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// publish verifies the segments and stores them.
func (r run) publish(ctx context.Context, m made) (pipeline.Result, error) {
	if err := r.verify(ctx, m); err != nil {
		return pipeline.Result{}, err
	}
	return r.publishVerified(ctx, m)
}

// verify writes a playlist of the segments, and plays it.
func (r run) verify(ctx context.Context, m made) error {
	r.job.Progress(0.9, 0)
	text, err := manifest.MediaPlaylist(m.track)
	if err != nil {
		return err
	}
	list := filepath.Join(m.dir, manifest.PlaylistName)
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return err
	}
	e := r.expect()
	switch skipped := frameSeconds(border(m.track.First, m.form.rate), m.form.rate); {
	case !m.last:
		e.Duration, e.Tolerance = duration(m.track.Duration()), time.Millisecond
	case e.Duration > duration(skipped):
		e.Duration -= duration(skipped)
	default:
		e.Duration = 0 // by its facts, the track ends before the chunk begins
	}
	e.Scratch = r.job.Dir
	_, err = r.tools.VerifyHLS(ctx, list, e)
	return err
}

// publishVerified stores the header, segments and index, and audio.m4a if the part has File set.
func (r run) publishVerified(ctx context.Context, m made) (pipeline.Result, error) {
	base := pipeline.Output{
		Name: r.part.Name, Duration: m.track.Duration(), Codecs: m.track.Codecs,
		Language: r.part.Language, Channels: m.form.channels,
	}
	var outputs []pipeline.Output
	add := func(file string, o pipeline.Output) error {
		o, err := r.job.Publish(ctx, file, o)
		outputs = append(outputs, o)
		return err
	}
	if m.track.First == 0 {
		o := base
		o.Kind, o.Path = pipeline.KindInit, r.part.Name+"/"+manifest.InitName
		if err := add(filepath.Join(m.dir, manifest.InitName), o); err != nil {
			return pipeline.Result{}, err
		}
	}
	o := base
	o.Kind, o.Path = pipeline.KindAudioRendition, r.part.Name+"/"+manifest.SegmentName
	o.Bandwidth, o.AverageBandwidth = manifest.Rates(m.track.Segments)
	o.Segments = &pipeline.Segments{
		First: m.track.First, Count: len(m.track.Segments), Durations: m.track.Durations(),
		Last: m.last, Header: m.track.Header,
	}
	if err := add(filepath.Join(m.dir, manifest.SegmentName), o); err != nil {
		return pipeline.Result{}, err
	}
	dir := path.Dir(outputs[len(outputs)-1].Path)
	index, err := manifest.EncodeIndex(manifest.Run{Rendition: dir, Track: m.track})
	if err != nil {
		return pipeline.Result{}, err
	}
	if err := os.WriteFile(r.file("index.json"), index, 0o600); err != nil {
		return pipeline.Result{}, err
	}
	if err := add(r.file("index.json"), manifest.IndexOutput(r.job.Task.Job.Name)); err != nil {
		return pipeline.Result{}, err
	}
	if r.part.File {
		file, err := r.progressive(ctx, m)
		if err != nil {
			return pipeline.Result{}, err
		}
		outputs = append(outputs, file)
	}
	return pipeline.Result{Outputs: outputs}, nil
}

// length returns the length of the whole rendition in seconds.
func (r run) length() float64 { return length(r.media, r.source()) }

// expect returns what the whole rendition must be like. All of it is decoded, since a copy of a damaged file
// may be damaged anywhere, and audio decodes quickly.
func (r run) expect() ffmpeg.Expect {
	m := r.media
	m.Duration = r.length()
	e := encode.Expect(m)
	e.AudioCodec, e.HasAudio, e.HasVideo = "aac", ffmpeg.Present, ffmpeg.Absent
	e.FullDecode = true
	return e
}

// source returns the facts of the track.
func (r run) source() pipeline.AudioTrack {
	for _, a := range r.media.Audio {
		if a.Stream == r.part.Stream {
			return a
		}
	}
	return pipeline.AudioTrack{}
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
