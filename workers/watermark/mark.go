package watermark

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"unicode"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/userimage"
)

// readImage decodes a user's image, in a process of its own, at the size at which it fits the box. Its error
// has CodeParameters when the image is refused.
func (r run) readImage(ctx context.Context, path string, width, height int) (*image.NRGBA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read the watermark: %w", err)
	}
	img, err := userimage.Decoder{Cage: r.tools.Cage}.Decode(ctx, f, width, height)
	if read, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read the watermark: %w", read)
	}
	return img, named(err)
}

// checkImage reads an image, and refuses one outside the limits, with CodeParameters, before any of it is
// decoded. Its other errors are those of r.
func checkImage(r io.Reader) error {
	_, err := userimage.Inspect(r)
	return named(err)
}

// named says that a refusal is about the watermark. It returns other errors as they are.
func named(err error) error {
	if refusal, ok := errors.AsType[*userimage.Refusal](err); ok {
		return pipeline.Fail(pipeline.CodeParameters, "the watermark image is refused: %s", refusal.Reason)
	}
	return err
}

// fade multiplies alpha by opacity.
func fade(img *image.NRGBA, opacity float64) {
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = uint8(math.Round(float64(img.Pix[i]) * opacity))
	}
}

var goRegular = sync.OnceValues(func() (*sfnt.Font, error) { return opentype.Parse(goregular.TTF) })

// checkLetters refuses a text with a letter that the font lacks.
func checkLetters(text string) error {
	f, err := goRegular()
	if err != nil {
		return fmt.Errorf("read the font: %w", err)
	}
	var buffer sfnt.Buffer
	for _, r := range text {
		i, err := f.GlyphIndex(&buffer, r)
		if err != nil || i == 0 || unicode.IsControl(r) { // the font has two of these
			return pipeline.Fail(pipeline.CodeParameters, "text: the font has no letter %q (%U)", r, r)
		}
	}
	return nil
}

// drawText draws text in white over a dark shadow, as large as fits the box.
func drawText(text string, width, height int) (*image.NRGBA, error) {
	f, err := goRegular()
	if err != nil {
		return nil, fmt.Errorf("read the font: %w", err)
	}
	// Measure the text at a large size, then draw it at the size that fits, since widths are nearly
	// proportional.
	const reference = 100
	face, err := newFace(f, reference)
	if err != nil {
		return nil, err
	}
	advance := float64(font.MeasureString(face, text)) / 64
	line := float64(face.Metrics().Height) / 64
	// The shadow takes a twentieth of the size on the right and below. The same stays free on the left.
	size := math.Min(float64(width)/(advance/reference+0.1), float64(height)/(line/reference+0.1))
	size = math.Max(1, size)
	if face, err = newFace(f, size); err != nil {
		return nil, err
	}
	shadow := max(1, int(math.Round(size/20)))
	w := font.MeasureString(face, text).Ceil() + 2*shadow
	h := face.Metrics().Ascent.Ceil() + face.Metrics().Descent.Ceil() + 2*shadow
	img := image.NewNRGBA(image.Rect(0, 0, max(1, min(w, width)), max(1, min(h, height))))
	base := fixed.P(shadow, face.Metrics().Ascent.Ceil())
	for _, layer := range []struct {
		color color.Color
		shift int
	}{{color.NRGBA{A: 160}, shadow}, {color.White, 0}} {
		d := font.Drawer{Dst: img, Src: image.NewUniform(layer.color), Face: face, Dot: base}
		d.Dot = d.Dot.Add(fixed.P(layer.shift, layer.shift))
		d.DrawString(text)
	}
	return img, nil
}

func newFace(f *sfnt.Font, size float64) (font.Face, error) {
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		return nil, fmt.Errorf("set the font: %w", err)
	}
	return face, nil
}
