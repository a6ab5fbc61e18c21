package transcode

import (
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// Params are the `with` of a transcode step.
type Params struct {
	// Quality is basic (fastest), plus (medium, with a 432p rung) or premium (slow and best).
	Quality string `json:"quality,omitempty" enum:"basic,plus,premium" doc:"Default basic"`
	// Ladder holds the short edges of the rungs in pixels, 16 to 2160, instead of the source's own and those of
	// the quality. There are no others; those above the source are left out.
	Ladder []int `json:"ladder,omitempty" minItems:"1" maxItems:"10" doc:"Short edges, 16 to 2160 pixels"`
	// Copy says whether a source that is standard input becomes the top rung as it is (auto), or every rung is
	// encoded (never).
	Copy string `json:"copy,omitempty" enum:"auto,never" doc:"Whether standard H.264 stays as it is. Default auto"`
	// MP4 names renditions to offer as progressive files too: "highest", or names such as "720p"; a rung of the
	// source's own size is named after its short edge, as 600p. Names that the video has no rung of are left
	// out.
	MP4 []string `json:"mp4,omitempty" minItems:"1" maxItems:"10" doc:"highest, or names of rungs such as 720p"`
}

// Values of Params.
const (
	copyNever = "never"
	highest   = "highest"

	minEdge = 16 // pixels, of an entry of Ladder
	maxEdge = 2160
)

func (p Params) validate() error {
	for _, edge := range p.Ladder {
		if edge < minEdge || edge > maxEdge {
			return pipeline.Fail(pipeline.CodeParameters, "ladder: %d is not within %d to %d", edge, minEdge, maxEdge)
		}
	}
	for _, name := range p.MP4 {
		edge, ok := strings.CutSuffix(name, "p")
		if n, err := strconv.Atoi(edge); name != highest && (!ok || err != nil || n < minEdge || n > maxEdge) {
			return pipeline.Fail(pipeline.CodeParameters, "mp4: %q is neither %q nor a rung such as 720p",
				name, highest)
		}
	}
	return nil
}

// files returns which of the renditions, largest first, are wanted as progressive files.
func (p Params) files(renditions []rung) []rung {
	var wanted []rung
	for i, r := range renditions {
		if slices.Contains(p.MP4, r.Name) || i == 0 && slices.Contains(p.MP4, highest) {
			wanted = append(wanted, r)
		}
	}
	return wanted
}
