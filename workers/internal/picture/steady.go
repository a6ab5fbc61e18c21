package picture

import (
	"fmt"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// steady gives all frames of v the size that inspection found, in stored pixels, before turning. A
// recording of a window, a call or a television programme may change its size, pixel aspect or pixel
// format. Frames of another shape keep it, between bars; frames of the expected form pass unchanged.
//
// It is the first filter, since only it can handle such frames, and the others need one form. Building the
// graph again instead (which Source forbids) would lose the frames in it.
func steady(v pipeline.VideoTrack) string {
	w, h := stored(v)
	shape := float64(max(1, v.Width)) / float64(max(1, v.Height))
	if onItsSide(v) {
		shape = 1 / shape
	}
	// The facts are whole pixels, so the shape of a small picture is less exact.
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

// exactly makes the scale filter compute without shortcuts.
const exactly = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

// stored returns the size of v in stored pixels, as decoded. If pixels share colour samples, it adds room
// for half a sample at an odd edge.
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

// shared reports whether pixels of a format may share colour samples; true for an unknown format.
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
