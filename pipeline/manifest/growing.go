package manifest

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// Rendition is what completed jobs have made of one rendition, without gaps from its first segment on.
type Rendition struct {
	// Output is the runs joined by pipeline.JoinRuns, with the name, kind, path and codecs of the first.
	Output pipeline.Output
	Dir    string // below the video, such as 720p
	Track  Track  // without the segments' sizes and keys, which outputs do not have
	// Complete reports whether the last run is there, so that nothing more comes.
	Complete bool
	// Target is EXT-X-TARGETDURATION in seconds, as far as the outputs tell it in advance.
	Target int
}

// Join finds the renditions among the outputs of completed jobs and joins the runs of each: from segment 0
// up to the first missing number, or the first run with another Header or Codecs, which would not play
// after the others. A run without durations counts as missing. Renditions are in the order of their first
// outputs. Join skips a rendition without its first segment or init section. If runs begin with the same
// number, the later output counts.
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

// contiguous sorts runs, and returns those that follow each other from segment 0 on.
func contiguous(runs []pipeline.Output) []pipeline.Output {
	slices.SortStableFunc(runs, func(a, b pipeline.Output) int {
		return cmp.Compare(a.Segments.First, b.Segments.First)
	})
	var whole []pipeline.Output
	next := 0
	for i, r := range runs {
		s := r.Segments
		if i+1 < len(runs) && runs[i+1].Segments.First == s.First {
			continue // the later run has this number
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

// Growing returns the playlists for a video's completed jobs. The order of outputs matters for audio: the
// first is the default.
//
//  1. A rendition has begun when Join finds it. Its playlist lists what Join found, and ends when that is
//     complete.
//  2. The master lists the complete pictures or, while none is complete, all that have begun. The playlists
//     of the others stay in the tree, for players that chose one earlier.
//  3. The master lists every audio rendition that has begun. A player reads the master once, so audio must
//     have begun before the video is playable.
//
// More completed jobs only add segments to the end of a playlist.
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

// Ended returns the tree of a video that will not be completed, such as one that failed: its playlists end
// with what there is, so that players do not wait for more.
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
