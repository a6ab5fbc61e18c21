package picture

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// upright returns the chain that turns and flips frames of v by its display matrix. ffmpeg would do the
// same, but before the first filter; then a change of size makes it build the graph again and lose the
// frames in it. So Source forbids it.
func upright(v pipeline.VideoTrack) string {
	turn := turning(v)
	if turn == "" {
		return ""
	}
	// ffmpeg 7 copies the matrix to the output, and players would turn the video again.
	done := ffmpeg.Node("sidedata", option("mode", "delete"), option("type", "DISPLAYMATRIX"))
	return ffmpeg.Chain(done, turn)
}

func turning(v pipeline.VideoTrack) string {
	transpose := func(plain, mirrored string) string {
		if v.Mirrored {
			plain = mirrored
		}
		return ffmpeg.Node("transpose", option("dir", plain))
	}
	switch {
	case v.Rotation == 90:
		return transpose("clock", "cclock_flip")
	case v.Rotation == 270:
		return transpose("cclock", "clock_flip")
	case v.Rotation == 180 && v.Mirrored:
		return "hflip"
	case v.Rotation == 180:
		return ffmpeg.Chain("hflip", "vflip")
	case v.Mirrored:
		return "vflip"
	}
	return ""
}

// onItsSide reports whether turning v swaps its width and height.
func onItsSide(v pipeline.VideoTrack) bool { return v.Rotation%180 != 0 }

// canvas returns the size of v in stored pixels, upright.
func canvas(v pipeline.VideoTrack) (w, h int) {
	w, h = stored(v)
	if onItsSide(v) {
		w, h = h, w
	}
	return w, h
}
