package transcode

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
)

// packageRun is one attempt at the package job. It reads no media: the jobs before it have verified their
// own.
type packageRun struct {
	job     workers.Attempt
	rungs   []rung
	encoded string // why the top rung was not planned as a copy
}

func (p packageRun) run(ctx context.Context) (pipeline.Result, error) {
	tree, err := p.tree(ctx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	texts, err := tree.texts()
	if err != nil {
		return pipeline.Result{}, err
	}
	var result pipeline.Result
	for _, t := range texts {
		out, err := p.publish(ctx, t)
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		result.Outputs = append(result.Outputs, out)
	}
	result.Facts = decision(p.job.Results)
	if p.encoded != "" {
		result.Facts[factReason] = p.encoded
	}
	return result, nil
}

// tree is everything that is listed.
type tree struct {
	pictures []listed // largest first
	sounds   []listed // the default first
}

// listed is a whole rendition: what its outputs tell of it, and its track, put together from the indexes.
type listed struct {
	manifest.Rendition
	track manifest.Track
	rung  rung // of a picture
}

// tree joins the runs of every rendition that was planned, and of every sound that there is, and checks that
// nothing is missing.
func (p packageRun) tree(ctx context.Context) (tree, error) {
	tracks, err := p.tracks(ctx)
	if err != nil {
		return tree{}, err
	}
	var t tree
	found := map[string]listed{}
	for _, r := range manifest.Join(p.outputs()) {
		l := listed{Rendition: r, track: tracks[r.Dir]}
		if err := l.check(); err != nil {
			return t, err
		}
		found[r.Dir] = l
		if r.Output.Kind == pipeline.KindAudioRendition {
			t.sounds = append(t.sounds, l)
		}
	}
	for _, r := range p.rungs {
		l, ok := found[r.Name]
		if !ok {
			return t, unfit("rung %s: its first segment is missing", r.Name)
		}
		l.rung = r
		t.pictures = append(t.pictures, l)
	}
	for _, o := range p.outputs() {
		if o.Kind == pipeline.KindAudioRendition && found[path.Dir(o.Path)].Dir == "" {
			return t, unfit("%s: its first segment is missing", path.Dir(o.Path))
		}
	}
	return t, nil
}

// check compares the track with what is stored.
func (l listed) check() error {
	s := l.Output.Segments
	switch {
	case !l.Complete:
		return unfit("%s: its segments end after number %d", l.Dir, s.First+s.Count-1)
	case len(l.track.Segments) != s.Count, l.track.Size() != l.Output.Size, l.track.Header != s.Header:
		return unfit("%s: %d segments of %d bytes are stored, want %d of %d", l.Dir,
			s.Count, l.Output.Size, len(l.track.Segments), l.track.Size())
	}
	return nil
}

// outputs returns those of all jobs before this one, in the order of the jobs' names.
func (p packageRun) outputs() []pipeline.Output {
	var all []pipeline.Output
	for _, name := range slices.Sorted(maps.Keys(p.job.Results)) {
		all = append(all, p.job.Results[name].Outputs...)
	}
	return all
}

// readers is how many indexes are read at once.
const readers = 8

// tracks reads the indexes, and joins the runs of each rendition.
func (p packageRun) tracks(ctx context.Context) (map[string]manifest.Track, error) {
	var outputs []pipeline.Output
	for _, o := range p.outputs() {
		if manifest.IsIndex(o) {
			outputs = append(outputs, o)
		}
	}
	indexes := make([][]manifest.Run, len(outputs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, o := range outputs {
		group.Go(func() (err error) {
			indexes[i], err = p.index(ctx, o)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	runs := slices.Concat(indexes...)
	slices.SortStableFunc(runs, func(a, b manifest.Run) int { return cmp.Compare(a.Track.First, b.Track.First) })
	tracks := map[string]manifest.Track{}
	for _, run := range runs {
		t, ok := tracks[run.Rendition]
		if !ok {
			t = run.Track
			t.Segments = nil
		}
		if run.Track.First != len(t.Segments) || run.Track.Header != t.Header {
			return nil, unfit("%s: its runs do not follow on each other at segment %d", run.Rendition, run.Track.First)
		}
		t.Segments = append(t.Segments, run.Track.Segments...)
		tracks[run.Rendition] = t
	}
	return tracks, nil
}

func (p packageRun) index(ctx context.Context, o pipeline.Output) ([]manifest.Run, error) {
	file, err := p.job.Fetch(ctx, o)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read %s: %w", o.Path, err)
	}
	runs, err := manifest.DecodeIndex(data)
	if err != nil {
		return nil, unfit("read %s: %w", o.Path, err)
	}
	return runs, nil
}

// text is one file of a manifest.
type text struct {
	output pipeline.Output
	data   []byte
}

// texts writes the manifests, the master last: with it the video is playable.
func (t tree) texts() ([]text, error) {
	var all []text
	add := func(name, path string, kind pipeline.OutputKind, write func() ([]byte, error)) error {
		data, err := write()
		all = append(all, text{pipeline.Output{Name: name, Kind: kind, Path: path}, data})
		return err
	}
	for _, l := range slices.Concat(t.pictures, t.sounds) {
		err := add(l.Dir, l.Dir+"/"+manifest.PlaylistName, pipeline.KindPlaylist, func() ([]byte, error) {
			return manifest.Media(l.track, manifest.Options{Target: l.Target})
		})
		if err != nil {
			return nil, err
		}
	}
	for _, l := range t.pictures {
		err := add(l.Dir, l.Dir+"/"+manifest.IFramesName, pipeline.KindPlaylist, func() ([]byte, error) {
			return manifest.IFrames(l.track)
		})
		if err != nil {
			return nil, err
		}
	}
	p := t.presentation()
	err := add("dash", manifest.DASHName, pipeline.KindManifest, func() ([]byte, error) {
		return manifest.DASH(p)
	})
	if err != nil {
		return nil, err
	}
	var variants []manifest.Variant
	for _, picture := range p.Pictures {
		variants = append(variants, picture.Variant)
	}
	err = add("master", manifest.MasterName, pipeline.KindManifest, func() ([]byte, error) {
		return manifest.Master(variants, t.audio())
	})
	return all, err
}

// presentation measures what the manifests say of each rendition.
func (t tree) presentation() manifest.Presentation {
	var p manifest.Presentation
	for _, l := range t.pictures {
		v := manifest.Variant{
			URI: l.Dir + "/" + manifest.PlaylistName, IFramesURI: l.Dir + "/" + manifest.IFramesName,
			Codecs: l.track.Codecs, Width: l.Output.Width, Height: l.Output.Height, FrameRate: l.Output.FrameRate,
			FrameRateNum: l.rung.Rate.Num, FrameRateDen: l.rung.Rate.Den,
		}
		v.Peak, v.Average = manifest.Rates(l.track.Segments)
		v.IFramesPeak, v.IFramesAverage = manifest.IFrameRates(l.track)
		p.Pictures = append(p.Pictures, manifest.Picture{Variant: v, Track: l.track})
	}
	for i, a := range t.audio() {
		track := t.sounds[i].track
		p.Sounds = append(p.Sounds, manifest.Sound{Audio: a, SampleRate: track.Timescale, Track: track})
	}
	return p
}

func (t tree) audio() []manifest.Audio {
	var outputs []pipeline.Output
	for _, l := range t.sounds {
		o := l.Output
		o.Bandwidth, o.AverageBandwidth = manifest.Rates(l.track.Segments)
		outputs = append(outputs, o)
	}
	return manifest.Sounds(outputs)
}

// publish writes a small text to scratch and stores it.
func (p packageRun) publish(ctx context.Context, t text) (pipeline.Output, error) {
	file := filepath.Join(p.job.Dir, filepath.FromSlash(t.output.Path))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return t.output, err
	}
	if err := os.WriteFile(file, t.data, 0o600); err != nil {
		return t.output, err
	}
	return p.job.Publish(ctx, file, t.output)
}
