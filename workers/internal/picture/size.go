package picture

import (
	"math"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
)

// Size is a size in pixels; both are even and at least 2.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Short returns the shorter edge.
func (s Size) Short() int { return min(s.Width, s.Height) }

// String formats the size as "640x360".
func (s Size) String() string { return strconv.Itoa(s.Width) + "x" + strconv.Itoa(s.Height) }

// Fit returns the size of v with its short edge reduced to short, keeping the aspect. It enlarges nothing
// except a 1 pixel edge to 2.
func Fit(v pipeline.VideoTrack, short int) Size {
	edge := min(v.Width, v.Height)
	if edge <= 0 {
		return Size{2, 2}
	}
	factor := min(1, float64(short)/float64(edge))
	return Size{Even(factor * float64(v.Width)), Even(factor * float64(v.Height))}
}

// Even returns the even number nearest to x, the lower of two, at least 2.
func Even(x float64) int {
	return max(2, 2*int(math.Ceil(x/2-0.5)))
}
