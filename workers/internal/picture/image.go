package picture

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Image returns the chain from frames of a rendition to those of a still image, in the colours of its format.
// It cuts before it scales, so that no frame between is larger than the image.
func Image(s pipeline.Still) string {
	in := []ffmpeg.Option{option("min", "709"), option("rin", "limited")}
	if s.Poster {
		in = []ffmpeg.Option{option("min", "170m"), option("rin", "full")} // as JFIF says
	}
	to := append(in, option("pin", "709"), option("tin", "709"), option("p", "709"), option("t", "709"),
		option("m", "gbr"), option("r", "full"))
	return ffmpeg.Chain(cut(s), zimg(Size(s.Scaled), to...), ffmpeg.Node("format", flag("gbrp")), bars(s),
		coloured(s))
}

// cut returns the filter that cuts out the middle of a frame; empty if the whole frame is used.
func cut(s pipeline.Still) string {
	if s.Cut == s.Frame {
		return ""
	}
	return ffmpeg.Node("crop", width(Size(s.Cut)), height(Size(s.Cut)))
}

// bars returns the filter that puts a scaled frame in the middle of the canvas; empty if it fills that.
func bars(s pipeline.Still) string {
	if s.Scaled == s.Canvas {
		return ""
	}
	return ffmpeg.Node("pad", width(Size(s.Canvas)), height(Size(s.Canvas)), option("x", "(ow-iw)/2"),
		option("y", "(oh-ih)/2"), option("color", "black"))
}

// coloured returns the chain from RGB to what the encoder of the format takes. ffmpeg's own conversion is not
// exact (Still). zimg shares colour samples among pixels only if both sides are even.
func coloured(s pipeline.Still) string {
	if s.Format == pipeline.StillWebP {
		return ffmpeg.Node("format", flag("bgra")) // libwebp converts by itself
	}
	shared := "yuvj420p"
	if s.Canvas.Width%2 != 0 || s.Canvas.Height%2 != 0 {
		shared = "yuvj444p"
	}
	return ffmpeg.Chain(ffmpeg.Node("zscale", option("m", "170m"), option("r", "full")),
		ffmpeg.Node("format", flag(shared)))
}
