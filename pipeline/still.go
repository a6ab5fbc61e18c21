package pipeline

import "math"

// Still asks for a still image of a video: one frame of a rendition, or the poster, in another size. Both are
// upright, with square pixels and SDR colours, so nothing but their size has to change.
type Still struct {
	// Keys are the objects that make up the file to read, in order: an init section and the segment that has the
	// frame, or a poster.
	Keys   []string
	Poster bool // the file is an image, and not video
	// At is when the frame begins, in seconds from the start of the segment, and FrameRate that of the
	// rendition in frames/s; both are 0 of a poster.
	At, FrameRate float64
	Frame         Size // of the rendition or the poster
	StillShape
	Format StillFormat
}

// Size is a size in pixels.
type Size struct{ Width, Height int }

// StillFormat is the format of a still image, and the extension of its name.
type StillFormat string

// The formats of still images.
const (
	StillJPEG StillFormat = "jpg"
	StillWebP StillFormat = "webp"
)

// Fit says how a still image fills the size that was asked for.
type Fit string

// The ways to fill a size. An image for which only one side was asked for keeps its aspect.
const (
	FitPreserve Fit = "preserve" // the whole frame, as large as fits into the size; never larger than it is
	FitStretch  Fit = "stretch"  // exactly the size, distorted
	FitCrop     Fit = "crop"     // exactly the size, filled; the edges are cut off
	FitPad      Fit = "pad"      // exactly the size, with the whole frame between black bars
)

// Fits lists the ways to fill a size; the first is the default.
func Fits() []Fit { return []Fit{FitPreserve, FitStretch, FitCrop, FitPad} }

// StillShape says how a frame becomes an image: a part of it is cut out, then scaled, then put on a black
// canvas.
type StillShape struct {
	Cut    Size // in the middle of the frame; the sides are even, or those of the frame
	Scaled Size
	Canvas Size
}

// Shape returns the shape of an image of a frame. A side of want that is 0 follows from the other and the
// aspect; with both 0, the image is as large as the frame. No side of frame is 0.
func (f Fit) Shape(frame, want Size) StillShape {
	aspect := float64(frame.Width) / float64(frame.Height)
	free := want.Width == 0 || want.Height == 0
	switch {
	case want == Size{}:
		want = frame
	case want.Width == 0:
		want.Width = pixels(float64(want.Height) * aspect)
	case want.Height == 0:
		want.Height = pixels(float64(want.Width) / aspect)
	}
	whole := StillShape{frame, want, want}
	switch {
	case f == FitPreserve || f == "":
		whole.Scaled = within(frame, want, 1)
		whole.Canvas = whole.Scaled
	case f == FitCrop && !free:
		whole.Cut = cutOf(frame, want)
	case f == FitPad && !free:
		whole.Scaled = within(frame, want, math.Inf(1))
	}
	return whole
}

// within returns the largest size with the aspect of frame that fits into want, at most so many times as
// large as frame.
func within(frame, want Size, most float64) Size {
	w, h := float64(frame.Width), float64(frame.Height)
	factor := min(float64(want.Width)/w, float64(want.Height)/h, most)
	return Size{min(want.Width, pixels(factor*w)), min(want.Height, pixels(factor*h))}
}

// cutOf returns the largest part of frame with the aspect of want.
func cutOf(frame, want Size) Size {
	w, h := float64(frame.Width), float64(frame.Height)
	aspect := float64(want.Width) / float64(want.Height)
	even := func(x float64, most int) int {
		if n := max(2, 2*int(math.Round(x/2))); n < most {
			return n
		}
		return most
	}
	if aspect > w/h {
		return Size{frame.Width, even(w/aspect, frame.Height)}
	}
	return Size{even(h*aspect, frame.Width), frame.Height}
}

// pixels rounds to a whole number of pixels, at least one.
func pixels(x float64) int { return max(1, int(math.Round(x))) }
