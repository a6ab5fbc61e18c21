package manifest

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// Made holds the outputs and the index of one completed job.
type Made struct {
	Outputs []pipeline.Output
	Runs    []Run // of its index
}

// Text is one file of a manifest.
type Text struct {
	Output pipeline.Output // with name, kind and path
	Data   []byte
}

// Package returns the texts of a video whose renditions are all complete: a media playlist of each, an
// I-frame playlist of each picture, an MPD and the master. The master comes last: once it exists, the video
// can be played. Pictures are listed by size, the largest first, and audio in the order of Join. Every folder
// in expects must exist; more may.
func Package(jobs []Made, expects []string) ([]Text, error) {
	var t packaged
	renditions, err := wholeRenditions(jobs)
	if err == nil {
		err = missing(renditions, expects)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range renditions {
		if r.Output.Kind == pipeline.KindRendition {
			t.pictures = append(t.pictures, r)
		} else {
			t.sounds = append(t.sounds, r)
		}
	}
	if len(t.pictures) == 0 {
		return nil, pipeline.Fail(pipeline.CodeParameters, "no step of the pipeline makes video to package")
	}
	slices.SortStableFunc(t.pictures, bySize)
	return t.texts()
}

// DropIncomplete returns jobs without the segments of renditions that are incomplete and are not among
// expects, the folders of required renditions.
func DropIncomplete(jobs []Made, expects []string) []Made {
	var outputs []pipeline.Output
	for _, job := range jobs {
		outputs = append(outputs, job.Outputs...)
	}
	keep := map[string]bool{}
	for _, dir := range expects {
		keep[dir] = true
	}
	for _, r := range Join(outputs) {
		keep[r.Dir] = keep[r.Dir] || r.Complete
	}
	left := slices.Clone(jobs)
	for i := range left {
		left[i].Outputs = slices.DeleteFunc(slices.Clone(left[i].Outputs), func(o pipeline.Output) bool {
			return isRun(o) && !keep[path.Dir(o.Path)]
		})
	}
	return left
}

// wholeRenditions joins the runs of every rendition, fills its track from the indexes, and checks that
// nothing is missing.
func wholeRenditions(jobs []Made) ([]Rendition, error) {
	var outputs []pipeline.Output
	tracks := map[string]Track{} // by the key of their run
	for _, job := range jobs {
		outputs = append(outputs, job.Outputs...)
		for _, o := range job.Outputs {
			if run, ok := job.runOf(o); ok {
				tracks[o.Key] = run.Track
			}
		}
	}
	renditions := Join(outputs)
	for _, o := range outputs {
		dir := path.Dir(o.Path)
		if isRun(o) && !slices.ContainsFunc(renditions, func(r Rendition) bool { return r.Dir == dir }) {
			return nil, unfit("%s: its first segment or init section is missing", dir)
		}
	}
	for i := range renditions {
		if err := renditions[i].fill(tracks); err != nil {
			return nil, err
		}
	}
	return renditions, nil
}

// missing returns an error that names the renditions of expects that do not exist.
func missing(renditions []Rendition, expects []string) error {
	there := func(dir string) bool {
		return slices.ContainsFunc(renditions, func(r Rendition) bool { return r.Dir == dir })
	}
	if lost := slices.DeleteFunc(slices.Clone(expects), there); len(lost) > 0 {
		return unfit("missing renditions: %s; the jobs that should make them did not", strings.Join(lost, ", "))
	}
	return nil
}

// runOf finds what the index says of an output.
func (m Made) runOf(o pipeline.Output) (Run, bool) {
	i := slices.IndexFunc(m.Runs, func(r Run) bool { return isRun(o) && r.Rendition == path.Dir(o.Path) })
	if i < 0 {
		return Run{}, false
	}
	return m.Runs[i], true
}

// fill takes the track from the indexes of the runs, and checks that they agree with what is stored.
func (r *Rendition) fill(tracks map[string]Track) error {
	s := r.Output.Segments
	if !r.Complete {
		return unfit("%s: its segments end after number %d", r.Dir, s.First+s.Count-1)
	}
	var all []Segment
	for _, run := range r.Runs {
		t, s := tracks[run.Key], run.Segments
		if t.First != s.First || len(t.Segments) != s.Count || t.Size() != run.Size || t.Header != s.Header {
			return unfit("%s: from number %d on, %d segments of %d bytes are stored, and its index has %d of %d",
				r.Dir, s.First, s.Count, run.Size, len(t.Segments), t.Size())
		}
		all = append(all, t.Segments...)
	}
	r.Track = tracks[r.Runs[0].Key]
	r.Track.Segments = all
	return nil
}

// packaged is everything that the texts list.
type packaged struct {
	pictures []Rendition // largest first
	sounds   []Rendition // the default first
}

// texts writes the manifests, the master last.
func (t packaged) texts() ([]Text, error) {
	var all []Text
	var failed error
	add := func(name, path string, kind pipeline.OutputKind, data []byte, err error) {
		all = append(all, Text{pipeline.Output{Name: name, Kind: kind, Path: path}, data})
		failed = cmp.Or(failed, err)
	}
	for _, r := range slices.Concat(t.pictures, t.sounds) {
		data, err := mediaText(r.Track, mediaOptions{Target: r.Target})
		add(r.Dir, r.Dir+"/"+PlaylistName, pipeline.KindPlaylist, data, err)
	}
	for _, r := range t.pictures {
		data, err := iFramesText(r.Track)
		add(r.Dir, r.Dir+"/"+iFramesName, pipeline.KindPlaylist, data, err)
	}
	p := t.presentation()
	data, err := dashText(p)
	add("dash", dashName, pipeline.KindManifest, data, err)
	var variants []variant
	for _, picture := range p.Pictures {
		variants = append(variants, picture.variant)
	}
	data, err = masterText(variants, t.audio())
	add("master", MasterName, pipeline.KindManifest, data, err)
	return all, failed
}

// presentation measures what the manifests say of each rendition.
func (t packaged) presentation() presentation {
	var p presentation
	for _, r := range t.pictures {
		v := variant{
			URI: r.Dir + "/" + PlaylistName, IFramesURI: r.Dir + "/" + iFramesName,
			Codecs: r.Track.Codecs, Width: r.Output.Width, Height: r.Output.Height, FrameRate: r.Output.FrameRate,
			FrameRateNum: r.Track.FrameRateNum, FrameRateDen: r.Track.FrameRateDen,
		}
		v.Peak, v.Average = Rates(r.Track.Segments)
		v.IFramesPeak, v.IFramesAverage = iFrameRates(r.Track)
		p.Pictures = append(p.Pictures, pictureTrack{variant: v, Track: r.Track})
	}
	for i, a := range t.audio() {
		track := t.sounds[i].Track
		p.Sounds = append(p.Sounds, audioTrack{audioRendition: a, SampleRate: track.Timescale, Track: track})
	}
	return p
}

func (t packaged) audio() []audioRendition {
	var outputs []pipeline.Output
	for _, r := range t.sounds {
		o := r.Output
		o.Bandwidth, o.AverageBandwidth = Rates(r.Track.Segments)
		outputs = append(outputs, o)
	}
	return audioRenditions(outputs)
}

func unfit(format string, args ...any) error {
	return pipeline.Fail(pipeline.CodeVerification, format, args...)
}
