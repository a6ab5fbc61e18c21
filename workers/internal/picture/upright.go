package picture

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// upright returns the chain that turns and flips frames of v as its display matrix says. ffmpeg does the same
// by itself, but before the first filter, where a change of size makes it build the graph anew and lose the
// frames that are in it: Source forbids it.
func upright(v pipeline.VideoTrack) string {
	turn := turning(v)
	if turn == "" {
		return ""
	}
	// ffmpeg 7 hands the matrix on to what it writes, where players would turn the picture once more.
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

// onItsSide reports that width and height of v change places when it is turned.
func onItsSide(v pipeline.VideoTrack) bool { return v.Rotation%180 != 0 }

// canvas is the size of v in stored pixels, upright.
func canvas(v pipeline.VideoTrack) (w, h int) {
	w, h = stored(v)
	if onItsSide(v) {
		w, h = h, w
	}
	return w, h
}
