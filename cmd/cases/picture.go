package main

import (
	"context"
	"fmt"
	"image"
	_ "image/jpeg" // of posters
	"math"
)

// frame is a decoded picture: luma, and chroma at half the width and height. Grey frames have no chroma.
type frame struct {
	width, height int
	y, u, v       []byte
	matrix        matrix
}

// chroma returns the width and the height of the chroma planes.
func (f frame) chroma() (int, int) { return (f.width + 1) / 2, (f.height + 1) / 2 }

// look decodes the frame at a time of a playlist or file, in seconds within 2 ms, without changing a sample.
// The track must be 8-bit 4:2:0 or grey.
func look(ctx context.Context, at string, t track, when float64) (frame, error) {
	f := frame{width: t.Width, height: t.Height, matrix: t.matrix()}
	cw, ch := f.chroma()
	luma, chroma := f.width*f.height, cw*ch
	switch t.PixelFormat {
	case "yuv420p", "yuvj420p":
	case "gray":
		chroma = 0
	default:
		return f, fmt.Errorf("%s: frames of %s are not supported", at, t.PixelFormat)
	}
	raw, err := output(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", at, "-map", "0:v:0", "-vf",
		fmt.Sprintf("select='gte(t,%f)'", when-0.002), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt",
		t.PixelFormat, "-")
	if err != nil {
		return f, err
	}
	if len(raw) != luma+2*chroma {
		return f, fmt.Errorf("%s at %.2f s: %d bytes of a frame of %dx%d", at, when, len(raw), f.width, f.height)
	}
	f.y, f.u, f.v = raw[:luma], raw[luma:luma+chroma], raw[luma+chroma:]
	return f, nil
}

// region is a part of a picture, in fractions of its width and height.
type region struct{ left, top, right, bottom float64 }

var wholeFrame = region{0, 0, 1, 1}

// around is a small square around a point.
func around(x, y, half float64) region { return region{x - half, y - half, x + half, y + half} }

// mean returns the mean Y, U and V of a region.
func (f frame) mean(r region) (y, u, v float64) {
	y = meanOf(f.y, f.width, f.height, r)
	if len(f.u) == 0 {
		return y, 128, 128
	}
	cw, ch := f.chroma()
	return y, meanOf(f.u, cw, ch, r), meanOf(f.v, cw, ch, r)
}

func meanOf(plane []byte, width, height int, r region) float64 {
	sum, n := 0.0, 0
	walk(width, height, r, func(x, y int) { sum, n = sum+float64(plane[y*width+x]), n+1 })
	return sum / float64(n)
}

// walk calls fn for each sample of a region.
func walk(width, height int, r region, fn func(x, y int)) {
	for y := max(0, int(r.top*float64(height))); y < min(height, int(math.Ceil(r.bottom*float64(height)))); y++ {
		for x := max(0, int(r.left*float64(width))); x < min(width, int(math.Ceil(r.right*float64(width)))); x++ {
			fn(x, y)
		}
	}
}

// spread returns the largest difference between two samples of one plane within a region.
func (f frame) spread(r region) int {
	widest := spreadOf(f.y, f.width, f.height, r)
	if len(f.u) > 0 {
		cw, ch := f.chroma()
		widest = max(widest, spreadOf(f.u, cw, ch, r), spreadOf(f.v, cw, ch, r))
	}
	return widest
}

func spreadOf(plane []byte, width, height int, r region) int {
	least, most := 255, 0
	walk(width, height, r, func(x, y int) {
		s := int(plane[y*width+x])
		least, most = min(least, s), max(most, s)
	})
	return most - least
}

// matrix converts between Y, U, V and R, G, B.
type matrix struct{ red, blue float64 } // the weights in luma

var (
	bt601 = matrix{0.299, 0.114}
	bt709 = matrix{0.2126, 0.0722}
)

// rgb turns a colour of limited range into R, G and B of 0 to 255, without rounding.
func (m matrix) rgb(y, u, v float64) (r, g, b float64) {
	y, u, v = (y-16)/219, (u-128)/224, (v-128)/224
	r = y + 2*(1-m.red)*v
	b = y + 2*(1-m.blue)*u
	g = (y - m.red*r - m.blue*b) / (1 - m.red - m.blue)
	return 255 * r, 255 * g, 255 * b
}

// yuv turns R, G and B of 0 to 255 into a colour of limited range.
func (m matrix) yuv(r, g, b float64) (y, u, v float64) {
	r, g, b = r/255, g/255, b/255
	y = m.red*r + (1-m.red-m.blue)*g + m.blue*b
	return 16 + 219*y, 128 + 224*(b-y)/(2*(1-m.blue)), 128 + 224*(r-y)/(2*(1-m.red))
}

// lightness has the size of a poster, and the mean and the deviation of its luma, 0 to 255.
type lightness struct {
	width, height   int
	mean, deviation float64
}

func lightnessOf(img image.Image) lightness {
	b := img.Bounds()
	l := lightness{width: b.Dx(), height: b.Dy()}
	var sum, squares float64
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			luma := (0.299*float64(r) + 0.587*float64(g) + 0.114*float64(b)) / 257
			sum, squares = sum+luma, squares+luma*luma
		}
	}
	n := float64(l.width * l.height)
	l.mean = sum / n
	l.deviation = math.Sqrt(max(0, squares/n-l.mean*l.mean))
	return l
}
