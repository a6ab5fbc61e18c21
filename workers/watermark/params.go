package watermark

import (
	"encoding/json"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Params are the parameters of a watermark step. Exactly one of Image and Text must be given.
type Params struct {
	// Image names the asset of the upload to use as the mark: a JPEG, PNG or WebP.
	Image string `json:"image,omitempty" maxLength:"64" doc:"Name of an asset: a JPEG, PNG or WebP"`
	Text  string `json:"text,omitempty" maxLength:"200" doc:"One line in Latin, Greek or Cyrillic letters"`
	// Position is one of nine anchors: top-left, top, ... bottom-right, which is the default.
	Position Position `json:"position,omitempty" doc:"Where the mark is placed; default bottom-right"`
	// Padding is the distance from the edges, and Scale the width of the mark, as shares of the video's width.
	Padding *float64 `json:"padding,omitempty" minimum:"0" maximum:"0.5" doc:"Share of the width; default 0.05"`
	Scale   *float64 `json:"scale,omitempty" minimum:"0.01" maximum:"1" doc:"Share of the width; default 0.15"`
	Opacity *float64 `json:"opacity,omitempty" minimum:"0" maximum:"1" doc:"0 is invisible, 1 (default) solid"`
}

// Position is an anchor.
type Position string

var positions = []Position{
	"top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right",
}

// Schema implements huma.SchemaProvider: the list is too long for a tag.
func (Position) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, p := range positions {
		s.Enum = append(s.Enum, string(p))
	}
	s.PrecomputeMessages()
	return s
}

// Defaults of Params.
const (
	defaultPosition = "bottom-right"
	defaultPadding  = 0.05
	defaultScale    = 0.15
	defaultOpacity  = 1
)

// checkParams refuses the parameters of a step that no mark can be made from.
func checkParams(raw json.RawMessage) error {
	var p Params
	if err := json.Unmarshal(raw, &p); err != nil {
		return pipeline.Fail(pipeline.CodeParameters, "parameters of watermark: %w", err)
	}
	return p.check()
}

func (p Params) check() error {
	switch {
	case p.Image == "" && p.Text == "":
		return pipeline.Fail(pipeline.CodeParameters, "the watermark has neither an image nor a text; give one")
	case p.Image != "" && p.Text != "":
		return pipeline.Fail(pipeline.CodeParameters, "the watermark has both an image and a text; give one")
	case p.Image != "" && !pipeline.ValidName(p.Image):
		return pipeline.Fail(pipeline.CodeParameters, "image: %q is not a valid name of an asset", p.Image)
	case !utf8.ValidString(p.Text):
		return pipeline.Fail(pipeline.CodeParameters, "text: it is not UTF-8")
	case p.Text != "" && strings.TrimSpace(p.Text) == "":
		return pipeline.Fail(pipeline.CodeParameters, "text: it is blank")
	}
	if err := p.checkShares(); err != nil || p.Text == "" {
		return err
	}
	return checkLetters(p.Text)
}

// checkShares checks what the schema does. Sizes in memory follow from these numbers, and none may be NaN.
func (p Params) checkShares() error {
	for _, share := range []struct {
		name     string
		value    float64
		min, max float64
	}{{"padding", p.padding(), 0, 0.5}, {"scale", p.scale(), 0.01, 1}, {"opacity", p.opacity(), 0, 1}} {
		if !(share.value >= share.min && share.value <= share.max) { // NaN, too
			return pipeline.Fail(pipeline.CodeParameters, "%s: %g is not between %g and %g",
				share.name, share.value, share.min, share.max)
		}
	}
	return nil
}

func (p Params) padding() float64 { return or(p.Padding, defaultPadding) }
func (p Params) scale() float64   { return or(p.Scale, defaultScale) }
func (p Params) opacity() float64 { return or(p.Opacity, defaultOpacity) }

func or(value *float64, fallback float64) float64 {
	if value == nil {
		return fallback
	}
	return *value
}

// box returns the largest size of the mark in a frame: as wide as Scale says, without reaching into the
// padding.
func (p Params) box(s picture.Size) (width, height int) {
	pad := p.pixels(s)
	width = int(math.Round(p.scale() * float64(s.Width)))
	return max(1, min(width, s.Width-2*pad)), max(1, s.Height-2*pad)
}

// pixels returns the padding in pixels; it leaves at least one pixel for the mark.
func (p Params) pixels(s picture.Size) int {
	return min(int(math.Round(p.padding()*float64(s.Width))), (s.Short()-1)/2)
}

// place returns the upper left corner of a mark of w by h pixels.
func (p Params) place(s picture.Size, w, h int) (x, y int) {
	position := string(p.Position)
	if position == "" {
		position = defaultPosition
	}
	pad := p.pixels(s)
	x, y = (s.Width-w)/2, (s.Height-h)/2
	switch {
	case strings.HasSuffix(position, "left"):
		x = pad
	case strings.HasSuffix(position, "right"):
		x = s.Width - w - pad
	}
	switch {
	case strings.HasPrefix(position, "top"):
		y = pad
	case strings.HasPrefix(position, "bottom"):
		y = s.Height - h - pad
	}
	return x, y
}
