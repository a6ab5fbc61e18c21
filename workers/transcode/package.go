package transcode

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// packageRun is one attempt at the package job. It reads no media: the chunks have verified their own.
type packageRun struct {
	tools ffmpeg.Tools
	job   workers.Attempt
	rungs []rung
}

func (p packageRun) run(ctx context.Context) (pipeline.Result, error) {
	tracks, err := p.tracks(ctx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	var result pipeline.Result
	var variants []manifest.Variant
	for i, r := range p.rungs {
		text, err := manifest.MediaPlaylist(tracks[i])
		if err != nil {
			return pipeline.Result{}, err
		}
		uri := r.Name + "/" + manifest.PlaylistName
		out, err := p.publish(ctx, text, pipeline.Output{Name: r.Name, Kind: pipeline.KindPlaylist, Path: uri})
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		result.Outputs = append(result.Outputs, out)
		peak, average := manifest.Rates(tracks[i].Segments)
		variants = append(variants, manifest.Variant{
			URI: uri, Codecs: tracks[i].Codecs, Width: r.Size.Width, Height: r.Size.Height,
			FrameRate: r.Rate.Float(), Peak: peak, Average: average,
		})
	}
	text, err := manifest.Master(variants, p.sounds())
	if err != nil {
		return pipeline.Result{}, err
	}
	// The manifest is written last: with it the video is playable.
	out, err := p.publish(ctx, text, pipeline.Output{
		Name: "master", Kind: pipeline.KindManifest, Path: "master.m3u8",
	})
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	result.Outputs = append(result.Outputs, out)
	return result, nil
}

// tracks joins the indexes of the chunks, one track for each rung, and checks them against what the chunks
// published.
func (p packageRun) tracks(ctx context.Context) ([]manifest.Track, error) {
	indexes, err := p.indexes(ctx)
	if err != nil {
		return nil, err
	}
	tracks := make([]manifest.Track, len(p.rungs))
	for _, idx := range indexes {
		if len(idx.Rungs) != len(p.rungs) {
			return nil, unfit("a chunk has %d of %d rungs", len(idx.Rungs), len(p.rungs))
		}
		for i, r := range idx.Rungs {
			t := &tracks[i]
			if r.Name != p.rungs[i].Name || r.Track.First != len(t.Segments) ||
				t.Codecs != "" && t.Codecs != r.Track.Codecs {
				return nil, unfit("rung %s: its chunks do not follow on each other", r.Name)
			}
			t.Codecs, t.InitSize = r.Track.Codecs, r.Track.InitSize
			t.Segments = append(t.Segments, r.Track.Segments...)
		}
	}
	for i, t := range tracks {
		if count, size := p.published(p.rungs[i].Name); count == 0 || count != len(t.Segments) || size != t.Size() {
			return nil, unfit("rung %s: %d segments of %d bytes are stored, want %d of %d",
				p.rungs[i].Name, count, size, len(t.Segments), t.Size())
		}
	}
	return tracks, nil
}

// indexes reads the chunks' indexes, in the order of their segments.
func (p packageRun) indexes(ctx context.Context) ([]index, error) {
	var all []index
	for _, o := range p.outputs(pipeline.KindIndex) {
		if o.Name != indexName {
			continue
		}
		file, err := p.job.Fetch(ctx, o)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read %s: %w", o.Path, err)
		}
		var idx index
		if err := json.Unmarshal(data, &idx); err != nil {
			return nil, unfit("read %s: %w", o.Path, err)
		}
		if len(idx.Rungs) > 0 {
			all = append(all, idx)
		}
	}
	slices.SortFunc(all, func(a, b index) int {
		return cmp.Compare(a.Rungs[0].Track.First, b.Rungs[0].Track.First)
	})
	return all, nil
}

func unfit(format string, args ...any) error {
	return pipeline.Fail(pipeline.CodeVerification, format, args...)
}

// outputs returns the outputs of a kind of all jobs before this one, in the order of the jobs' names.
func (p packageRun) outputs(kind pipeline.OutputKind) []pipeline.Output {
	var found []pipeline.Output
	for _, name := range slices.Sorted(maps.Keys(p.job.Results)) {
		for _, o := range p.job.Results[name].Outputs {
			if o.Kind == kind {
				found = append(found, o)
			}
		}
	}
	return found
}

// published counts the segments of a rung, and their bytes, that the chunks stored.
func (p packageRun) published(name string) (count int, size int64) {
	for _, o := range p.outputs(pipeline.KindRendition) {
		if o.Name == name && o.Segments != nil {
			count, size = count+o.Segments.Count, size+o.Size
		}
	}
	return count, size
}

// sounds returns the audio renditions that have a playlist, in the order of their jobs: the first is the
// default.
func (p packageRun) sounds() []manifest.Audio {
	playlists := map[string]string{}
	for _, o := range p.outputs(pipeline.KindPlaylist) {
		playlists[path.Dir(o.Path)] = o.Path
	}
	var sounds []manifest.Audio
	taken := map[string]int{}
	for _, o := range p.outputs(pipeline.KindAudioRendition) {
		uri, ok := playlists[path.Dir(o.Path)]
		if !ok {
			continue
		}
		tag, name := languageOf(o.Language)
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s %d", name, taken[name])
		}
		sounds = append(sounds, manifest.Audio{
			URI: uri, Name: name, Language: tag, Channels: o.Channels, Codecs: o.Codecs,
			Peak: o.Bandwidth, Average: o.AverageBandwidth,
		})
	}
	return sounds
}

// languageOf returns the BCP 47 tag of an ISO 639 code (eng is en), and its name in English; no tag when
// unknown.
func languageOf(code string) (tag, name string) {
	t, err := language.Parse(code)
	if err != nil || t == language.Und {
		return "", "Audio"
	}
	if name = display.English.Languages().Name(t); name == "" {
		name = t.String()
	}
	return t.String(), name
}

// publish writes a small text to scratch and stores it.
func (p packageRun) publish(ctx context.Context, text []byte, o pipeline.Output) (pipeline.Output, error) {
	file := filepath.Join(p.job.Dir, filepath.FromSlash(o.Path))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return o, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return o, err
	}
	return p.job.Publish(ctx, file, o)
}
