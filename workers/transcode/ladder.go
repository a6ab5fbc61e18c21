package transcode

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// rung is one rendition of the ladder, planned.
type rung struct {
	Name    string       `json:"name"` // 720p
	Size    picture.Size `json:"size"`
	Rate    picture.Rate `json:"rate"`
	Maxrate int          `json:"maxrate"` // kbit/s
	// Skip is how many frames of a chunk's grid another job has made of this rung, from the chunk's start.
	Skip int `json:"skip,omitempty"`
}

// step is a line of the table of media.md. A ceiling, not a target: the encoder aims at a quality below it.
type step struct {
	short   int     // pixels of the short edge
	maxrate int     // kbit/s
	fps     float64 // at most
}

// steps of H.264. The two above 1080p are taken only when a pipeline asks for them; their caps are those of
// 1080p by the number of pixels to the power of 0.75, as the others stand to each other.
var steps = []step{
	{240, 400, picture.LowRate}, {360, 900, picture.LowRate}, {432, 1650, picture.LowRate},
	{540, 3000, picture.MaxRate}, {720, 4500, picture.MaxRate}, {1080, 9000, picture.MaxRate},
	{1440, 13800, picture.MaxRate}, {2160, 25400, picture.MaxRate},
}

// Edges of rungs by quality. The 240p rung is for sources that are too small for 360p.
var (
	basicEdges = []int{360, 540, 720, 1080}
	plusEdges  = []int{360, 432, 540, 720, 1080}
)

const (
	smallEdge = 360
	tinyEdge  = 240
	// nearly is how far below a rung's edge a source may be and still have that rung, at the source's own size:
	// 1920x1072 is meant to be 1080p.
	nearly = 0.95
)

// ladder returns the rungs of v, largest first. wanted holds short edges instead of those of the quality;
// those above the source are dropped, and when none is left there is one rung of the source's own size.
func ladder(v pipeline.VideoTrack, quality string, wanted []int) []rung {
	edges := wanted
	if len(edges) == 0 {
		edges = defaultEdges(v, quality)
	}
	short := min(v.Width, v.Height)
	var rungs []rung
	for _, edge := range edges {
		if float64(short) >= nearly*float64(edge) {
			rungs = append(rungs, newRung(v, edge))
		}
	}
	if len(rungs) == 0 {
		rungs = []rung{newRung(v, short)}
	}
	slices.SortFunc(rungs, func(a, b rung) int { return cmp.Compare(b.Size.Short(), a.Size.Short()) })
	return slices.CompactFunc(rungs, func(a, b rung) bool { return a.Name == b.Name || a.Size == b.Size })
}

func defaultEdges(v pipeline.VideoTrack, quality string) []int {
	if float64(min(v.Width, v.Height)) < nearly*smallEdge {
		return []int{tinyEdge}
	}
	if quality == picture.Plus || quality == picture.Premium {
		return plusEdges
	}
	return basicEdges
}

func newRung(v pipeline.VideoTrack, edge int) rung {
	s := stepFor(edge)
	return rung{
		Name: strconv.Itoa(edge) + "p", Size: picture.Fit(v, edge),
		Rate: picture.SourceRate(v).AtMost(s.fps), Maxrate: s.maxrate,
	}
}

// stepFor returns the line of the smallest step that is not below edge.
func stepFor(edge int) step {
	for _, s := range steps {
		if edge <= s.short {
			return s
		}
	}
	return steps[len(steps)-1]
}
