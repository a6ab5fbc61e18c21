package transcode

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// rung is one planned rendition of the ladder.
type rung struct {
	Name    string       `json:"name"` // 720p
	Size    picture.Size `json:"size"`
	Rate    picture.Rate `json:"rate"`
	Maxrate int          `json:"maxrate"` // kbit/s
	ceiling int          // kbit/s: Maxrate if the source has enough bits
	// Skip is how many frames at the start of the chunk, on the grid, another job makes of this rung.
	Skip int `json:"skip,omitempty"`
}

// step is one size of the ladder. Its rate is a limit, not a target: the encoder aims at a quality below it.
type step struct {
	short   int     // pixels of the short edge
	maxrate int     // kbit/s
	fps     float64 // at most
}

// steps of H.264. The two above 1080p are used only if a pipeline asks for them. Their caps grow with the
// number of pixels to the power of 0.75, like those of the other steps.
var steps = []step{
	{240, 400, picture.LowRate}, {360, 900, picture.LowRate}, {432, 1650, picture.LowRate},
	{480, 2100, picture.MaxRate}, {540, 3000, picture.MaxRate}, {720, 4500, picture.MaxRate},
	{1080, 9000, picture.MaxRate}, {1440, 13800, picture.MaxRate}, {2160, 25400, picture.MaxRate},
}

// Short edges of the rungs by quality. The 240p rung is for sources that are too small for 360p.
var (
	basicEdges = []int{1080, 720, 540, 480, 360}
	plusEdges  = []int{1080, 720, 540, 480, 432, 360}
	smallEdges = []int{240}
)

const (
	smallEdge = 360
	largest   = 1080 // pixels of the short edge, unless a pipeline asks for more
	// nearly is the least ratio of two edges that count as the same: 1920x1072 is 1080p.
	nearly = 0.95
	// apart is the highest ratio of a rung's edge to the top rung's. A larger rung would look the same as the
	// top one, for nearly as many bits.
	apart = 0.9
)

// ladder returns the rungs of v, largest first: the source's own size, up to 1080p, and the quality's steps
// below it. If wanted is not empty, it holds the short edges of all rungs instead. Those above the source are
// dropped; if none is left, there is one rung of the source's own size.
func ladder(v pipeline.VideoTrack, quality string, wanted []int) []rung {
	if len(wanted) > 0 {
		return chosen(v, wanted)
	}
	edges, short := stepsBelow(v, quality), min(v.Width, v.Height)
	top := ownRung(v, edges)
	if short > largest {
		top = newRung(v, largest)
	}
	rungs := []rung{top}
	for _, edge := range edges {
		if float64(edge) < apart*float64(top.Size.Short()) {
			rungs = append(rungs, newRung(v, edge))
		}
	}
	return rungs
}

// chosen returns the rungs whose short edges a pipeline asks for.
func chosen(v pipeline.VideoTrack, wanted []int) []rung {
	short := float64(min(v.Width, v.Height))
	var rungs []rung
	for _, edge := range wanted {
		if short >= nearly*float64(edge) {
			rungs = append(rungs, newRung(v, edge))
		}
	}
	if len(rungs) == 0 {
		rungs = []rung{ownRung(v, nil)}
	}
	slices.SortFunc(rungs, func(a, b rung) int { return cmp.Compare(b.Size.Short(), a.Size.Short()) })
	return slices.CompactFunc(rungs, func(a, b rung) bool { return a.Name == b.Name || a.Size == b.Size })
}

func stepsBelow(v pipeline.VideoTrack, quality string) []int {
	switch {
	case float64(min(v.Width, v.Height)) < nearly*smallEdge:
		return smallEdges
	case quality == picture.Plus || quality == picture.Premium:
		return plusEdges
	}
	return basicEdges
}

// ownRung returns a rung of the source's size. It has the name of a step of nearly the same size, or else a
// name of its own, such as 600p.
func ownRung(v pipeline.VideoTrack, edges []int) rung {
	short := min(v.Width, v.Height)
	own := newRung(v, short)
	for _, edge := range edges {
		if float64(short) >= nearly*float64(edge) && float64(edge) >= nearly*float64(short) {
			own = newRung(v, edge)
			own.Size = picture.Fit(v, short)
			return own
		}
	}
	own.Name = name(own.Size.Short())
	return own
}

func newRung(v pipeline.VideoTrack, edge int) rung {
	rate := ceiling(edge)
	return rung{
		Name: name(edge), Size: picture.Fit(v, edge), Rate: picture.SourceRate(v).AtMost(stepFor(edge).fps),
		Maxrate: rate, ceiling: rate,
	}
}

func name(edge int) string { return strconv.Itoa(edge) + "p" }

// ceiling returns the cap of a rung in kbit/s: that of its step, or between two steps a value interpolated by
// the number of pixels.
func ceiling(edge int) int {
	for i, s := range steps {
		if edge > s.short {
			continue
		}
		if i == 0 {
			return s.maxrate
		}
		below, pixels := steps[i-1], func(short int) float64 { return float64(short * short) }
		part := (pixels(edge) - pixels(below.short)) / (pixels(s.short) - pixels(below.short))
		return below.maxrate + int(part*float64(s.maxrate-below.maxrate))
	}
	return steps[len(steps)-1].maxrate
}

// stepFor returns the smallest step that is not below edge; the largest step if all are below.
func stepFor(edge int) step {
	for _, s := range steps {
		if edge <= s.short {
			return s
		}
	}
	return steps[len(steps)-1]
}

// capped returns the rungs with Maxrate limited by the bits of the source; encoders is how many encoders make
// each rung.
func capped(m pipeline.Media, rungs []rung, encoders float64) []rung {
	rungs = slices.Clone(rungs)
	for i, r := range rungs {
		rungs[i].Maxrate = picture.Cap(m, r.Size, r.ceiling, encoders)
	}
	return rungs
}
