package transcode

import (
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// Params are the parameters (`with`) of a transcode step.
type Params struct {
	// Quality is basic (fastest), plus (medium, with a 432p rung) or premium (slow and best).
	Quality string `json:"quality,omitempty" enum:"basic,plus,premium" doc:"Default basic"`
	// Ladder lists the short edges of all rungs in pixels, 16 to 2160. Those above the source are left out; if
	// none is left, the only rung has the source's size. Default: the source's own size and the steps of the
	// quality.
	Ladder []int `json:"ladder,omitempty" minItems:"1" maxItems:"10" doc:"Sizes of all rungs: the shorter side, 16 to 2160 pixels"`
	// Copy is auto or never. auto: the top rung is a copy of the source if that is standard input. never: every
	// rung is encoded.
	Copy string `json:"copy,omitempty" enum:"auto,never" doc:"Whether standard H.264 stays as it is. Default auto"`
	// MP4 names the rungs to offer as progressive files, too: "highest", or names such as "720p". A rung of the
	// source's own size is named after its short edge, such as 600p. Names without a rung are ignored.
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

// files returns the renditions to make progressive files of. renditions are sorted, largest first.
func (p Params) files(renditions []rung) []rung {
	var wanted []rung
	for i, r := range renditions {
		if slices.Contains(p.MP4, r.Name) || i == 0 && slices.Contains(p.MP4, highest) {
			wanted = append(wanted, r)
		}
	}
	return wanted
}
