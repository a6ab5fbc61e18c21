package pipeline_test

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

func TestFitShape(t *testing.T) {
	type size = pipeline.Size
	wide, tall := size{1920, 1080}, size{1080, 1920}
	for name, c := range map[string]struct {
		fit                 pipeline.Fit
		frame, want         size
		cut, scaled, canvas size
	}{
		"as it is":             {pipeline.FitPreserve, wide, size{}, wide, wide, wide},
		"one side":             {pipeline.FitPreserve, wide, size{640, 0}, wide, size{640, 360}, size{640, 360}},
		"the other side":       {pipeline.FitPreserve, tall, size{0, 480}, tall, size{270, 480}, size{270, 480}},
		"within":               {pipeline.FitPreserve, wide, size{300, 300}, wide, size{300, 169}, size{300, 169}},
		"never larger":         {pipeline.FitPreserve, size{320, 180}, size{1000, 1000}, size{320, 180}, size{320, 180}, size{320, 180}},
		"stretch":              {pipeline.FitStretch, wide, size{100, 101}, wide, size{100, 101}, size{100, 101}},
		"stretch, one side":    {pipeline.FitStretch, wide, size{3840, 0}, wide, size{3840, 2160}, size{3840, 2160}},
		"crop the sides":       {pipeline.FitCrop, wide, size{200, 200}, size{1080, 1080}, size{200, 200}, size{200, 200}},
		"crop top and bottom":  {pipeline.FitCrop, tall, size{320, 180}, size{1080, 608}, size{320, 180}, size{320, 180}},
		"crop nothing":         {pipeline.FitCrop, wide, size{640, 360}, wide, size{640, 360}, size{640, 360}},
		"crop, one side":       {pipeline.FitCrop, wide, size{0, 90}, wide, size{160, 90}, size{160, 90}},
		"crop a line":          {pipeline.FitCrop, size{4096, 2}, size{3000, 3000}, size{2, 2}, size{3000, 3000}, size{3000, 3000}},
		"bars above and below": {pipeline.FitPad, wide, size{200, 200}, wide, size{200, 113}, size{200, 200}},
		"bars beside":          {pipeline.FitPad, tall, size{320, 180}, tall, size{101, 180}, size{320, 180}},
		"bars and larger":      {pipeline.FitPad, size{100, 50}, size{400, 400}, size{100, 50}, size{400, 200}, size{400, 400}},
		"a line, preserved":    {pipeline.FitPreserve, size{4000, 2}, size{100, 100}, size{4000, 2}, size{100, 1}, size{100, 1}},
	} {
		if got := c.fit.Shape(c.frame, c.want); got != (pipeline.StillShape{Cut: c.cut, Scaled: c.scaled, Canvas: c.canvas}) {
			t.Errorf("%s: %+v, want %v %v %v", name, got, c.cut, c.scaled, c.canvas)
		}
	}
}
