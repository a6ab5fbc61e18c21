package manifest

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// Rendition is what completed jobs have made of one rendition, from its first segment on without a hole.
type Rendition struct {
	// Output is the runs as one, by pipeline.JoinRuns: with the first one's name, kind, path and codecs.
	Output pipeline.Output
	Dir    string // below the video, as 720p
	Track  Track  // its segments have no sizes and no keys: outputs do not tell them
	// Complete says that nothing will be added: the last run is there.
	Complete bool
	// Target is EXT-X-TARGETDURATION, in seconds, as far as the outputs tell it beforehand.
	Target int
}

// Join finds the renditions among outputs, which are those of completed jobs, and joins the runs of each:
// from segment 0 up to the first number that is missing, or the first run that is set up differently (Header,
// Codecs), which does not play with what is before it. Without durations a run is missing. Renditions come
// in the order of their first output; one that lacks its first segment or its init section is left out. Of
// runs that begin with one number the later output counts.
func Join(outputs []pipeline.Output) []Rendition {
	inits, runs := map[string]bool{}, map[string][]pipeline.Output{}
	var paths []string
	for _, o := range outputs {
		switch {
		case o.Kind == pipeline.KindInit:
			inits[o.Path] = true
		case o.Kind != pipeline.KindRendition && o.Kind != pipeline.KindAudioRendition, o.Segments == nil,
			path.Base(o.Path) != SegmentName:
		default:
			if runs[o.Path] == nil {
				paths = append(paths, o.Path)
			}
			runs[o.Path] = append(runs[o.Path], o)
		}
	}
	var all []Rendition
	for _, p := range paths {
		if whole := contiguous(runs[p]); len(whole) > 0 && inits[path.Dir(p)+"/"+InitName] {
			all = append(all, newRendition(whole))
		}
	}
	return all
}

// contiguous returns the runs that follow on each other from segment 0 on; it sorts runs.
func contiguous(runs []pipeline.Output) []pipeline.Output {
	slices.SortStableFunc(runs, func(a, b pipeline.Output) int {
		return cmp.Compare(a.Segments.First, b.Segments.First)
	})
	var whole []pipeline.Output
	next := 0
	for i, r := range runs {
		s := r.Segments
		if i+1 < len(runs) && runs[i+1].Segments.First == s.First {
			continue // the later one has the number
		}
		if s.First != next || s.Count < 1 || len(s.Durations) != s.Count {
			break
		}
		if len(whole) > 0 && (s.Header != whole[0].Segments.Header || r.Codecs != whole[0].Codecs) {
			break
		}
		whole, next = append(whole, r), next+s.Count
		if s.Last {
			break
		}
	}
	return whole
}

func newRendition(runs []pipeline.Output) Rendition {
	r := Rendition{Output: pipeline.JoinRuns(runs), Dir: path.Dir(runs[0].Path)}
	r.Track.Codecs, r.Track.Header = r.Output.Codecs, r.Output.Segments.Header
	r.Complete, r.Target = r.Output.Segments.Last, int(math.Round(r.Output.Segments.Longest))
	for _, run := range runs {
		for _, d := range run.Segments.Durations {
			r.Track.Segments = append(r.Track.Segments, Segment{Duration: d})
		}
	}
	return r
}

// Tree is the playlists of a video that is still being made.
type Tree struct {
	pictures []Rendition // largest first
	sounds   []Rendition
	ended    bool
}

// Growing returns what can be played of a video by the outputs of its completed jobs. The order of outputs
// counts for audio: the first is the default.
//
//  1. A rendition has begun when Join finds it; its playlist lists what Join found, and ends when that is
//     complete.
//  2. The master lists the pictures that are complete; as long as none is, all that have begun. The playlists
//     of the others are in the tree, too, for players that chose one earlier.
//  3. It lists every sound that has begun. A player reads the master once, so sounds that are to be heard
//     must have begun before the video is playable.
//
// With more completed jobs, segments are only ever added to a playlist, at its end.
func Growing(outputs []pipeline.Output) Tree {
	var t Tree
	for _, r := range Join(outputs) {
		switch {
		case r.Output.Codecs == "" || r.Output.Bandwidth <= 0: // a master cannot tell what it is
		case r.Output.Kind == pipeline.KindRendition:
			t.pictures = append(t.pictures, r)
		default:
			t.sounds = append(t.sounds, r)
		}
	}
	slices.SortStableFunc(t.pictures, func(a, b Rendition) int {
		return cmp.Or(cmp.Compare(b.Output.Width*b.Output.Height, a.Output.Width*a.Output.Height),
			cmp.Compare(b.Output.Bandwidth, a.Output.Bandwidth))
	})
	return t
}

// Ended returns the tree of a video that is made no more, such as one that failed: its playlists end with
// what there is, so that players do not wait for more.
func (t Tree) Ended() Tree {
	t.ended = true
	return t
}

// Paths lists the playlists of the tree, the master first; none while there is no picture.
func (t Tree) Paths() []string {
	if len(t.pictures) == 0 {
		return nil
	}
	paths := []string{MasterName}
	for _, r := range slices.Concat(t.pictures, t.sounds) {
		paths = append(paths, r.Dir+"/"+PlaylistName)
	}
	return paths
}

// Text returns the playlist at one of Paths. Any other path is pipeline.ErrNotFound.
func (t Tree) Text(name string) ([]byte, error) {
	if len(t.pictures) > 0 && name == MasterName {
		return t.master()
	}
	for _, r := range slices.Concat(t.pictures, t.sounds) {
		if len(t.pictures) > 0 && name == r.Dir+"/"+PlaylistName {
			return Media(r.Track, Options{Growing: !r.Complete && !t.ended, Target: r.Target})
		}
	}
	return nil, fmt.Errorf("playlist %.80q: %w", name, pipeline.ErrNotFound)
}

func (t Tree) master() ([]byte, error) {
	listed := slices.DeleteFunc(slices.Clone(t.pictures), func(r Rendition) bool { return !r.Complete })
	if len(listed) == 0 {
		listed = t.pictures
	}
	var variants []Variant
	for _, r := range listed {
		o := r.Output
		variants = append(variants, Variant{
			URI: r.Dir + "/" + PlaylistName, Codecs: o.Codecs, Width: o.Width, Height: o.Height,
			FrameRate: o.FrameRate, Peak: o.Bandwidth, Average: o.AverageBandwidth,
		})
	}
	var sounds []pipeline.Output
	for _, r := range t.sounds {
		sounds = append(sounds, r.Output)
	}
	return Master(variants, Sounds(sounds))
}
