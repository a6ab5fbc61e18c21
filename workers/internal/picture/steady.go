package picture

import (
	"fmt"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// steady gives all frames of v the size that inspection found, in stored pixels, not yet turned: a recording
// of a window, a call or a television programme may change its size, its pixels' shape or its pixel format. A
// frame of another shape keeps it, between bars. Frames as they are expected go through untouched.
//
// It comes first, since it alone can take such frames while the others wait for one form: the graph is not
// built anew (Source), which would lose the frames that are in it.
func steady(v pipeline.VideoTrack) string {
	w, h := stored(v)
	shape := float64(max(1, v.Width)) / float64(max(1, v.Height))
	if onItsSide(v) {
		shape = 1 / shape
	}
	// The facts are whole pixels: of a small picture its shape is known less exactly.
	near := max(0.015, 1/float64(max(1, min(v.Width, v.Height))))
	wide := fmt.Sprintf("if(lt(dar,%g),min(%[2]d,max(2,floor(%[2]d*dar/%[3]g/2)*2)),%[2]d)",
		shape*(1-near), w, shape)
	high := fmt.Sprintf("if(gt(dar,%g),min(%[2]d,max(2,floor(%[2]d/dar*%[3]g/2)*2)),%[2]d)",
		shape*(1+near), h, shape)
	scale := []ffmpeg.Option{
		option("w", wide), option("h", high), option("eval", "frame"), option("flags", exactly),
	}
	if v.Interlaced {
		scale = append(scale, option("interl", "-1"))
	}
	colours := ""
	if coarse(v.PixelFormat) {
		colours = ffmpeg.Node("format", flag("bgra"))
	}
	return ffmpeg.Chain(ffmpeg.Node("scale", scale...), colours,
		ffmpeg.Node("pad", option("w", itoa(w)), option("h", itoa(h)), option("x", "(ow-iw)/2"),
			option("y", "(oh-ih)/2"), option("eval", "frame")))
}

// exactly has the scale filter compute what it computes without shortcuts.
const exactly = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

// stored is the size of v in stored pixels, as they are decoded. There is room for half a colour sample at an
// odd edge where pixels share their colours.
func stored(v pipeline.VideoTrack) (w, h int) {
	w, h = v.CodedWidth, v.CodedHeight
	switch {
	case w > 0 && h > 0:
	case onItsSide(v):
		w, h = max(1, v.Height), max(1, v.Width)
	default:
		w, h = max(1, v.Width), max(1, v.Height)
	}
	if shared(v.PixelFormat) {
		w, h = (w+1)/2*2, (h+1)/2*2
	}
	return w, h
}

// shared reports whether pixels of a format may share their colours; so they do in a format that is not
// known.
func shared(format string) bool {
	for _, prefix := range []string{
		"yuv444", "yuvj444", "yuva444", "nv24", "nv42", "gbr", "rgb", "bgr", "0rgb", "0bgr", "argb", "abgr",
		"x2rgb", "x2bgr", "gray", "ya", "mono", "pal8", "ayuv", "xyz",
	} {
		if strings.HasPrefix(format, prefix) {
			return false
		}
	}
	return true
}
