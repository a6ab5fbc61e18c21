package manifest

import (
	"fmt"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

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
		case r.Output.Codecs == "" || r.Output.Bandwidth <= 0: // a master cannot describe it
		case r.Output.Kind == pipeline.KindRendition:
			t.pictures = append(t.pictures, r)
		default:
			t.sounds = append(t.sounds, r)
		}
	}
	slices.SortStableFunc(t.pictures, bySize)
	return t
}

// Ended returns the tree of a video that will not be completed, such as one that failed: its playlists end
// with what there is, so that players do not wait for more.
func (t Tree) Ended() Tree {
	t.ended = true
	return t
}

// Text returns a playlist of the tree: the master, or that of a rendition at its own path. While there is no
// picture, there is no playlist. Any other path is pipeline.ErrNotFound.
func (t Tree) Text(name string) ([]byte, error) {
	if len(t.pictures) > 0 && name == MasterName {
		return t.master()
	}
	for _, r := range slices.Concat(t.pictures, t.sounds) {
		if len(t.pictures) > 0 && name == r.Dir+"/"+PlaylistName {
			return mediaText(r.Track, mediaOptions{Growing: !r.Complete && !t.ended, Target: r.Target})
		}
	}
	return nil, fmt.Errorf("playlist %.80q: %w", name, pipeline.ErrNotFound)
}

func (t Tree) master() ([]byte, error) {
	listed := slices.DeleteFunc(slices.Clone(t.pictures), func(r Rendition) bool { return !r.Complete })
	if len(listed) == 0 {
		listed = t.pictures
	}
	var variants []variant
	for _, r := range listed {
		o := r.Output
		variants = append(variants, variant{
			URI: r.Dir + "/" + PlaylistName, Codecs: o.Codecs, Width: o.Width, Height: o.Height,
			FrameRate: o.FrameRate, Peak: o.Bandwidth, Average: o.AverageBandwidth,
		})
	}
	var sounds []pipeline.Output
	for _, r := range t.sounds {
		sounds = append(sounds, r.Output)
	}
	return masterText(variants, audioRenditions(sounds))
}
