package userimage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/disintegration/imaging"
	"golang.org/x/image/webp"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// What the child writes: answerMagic, the width and the height (32 bits each, big endian), and four bytes for
// each pixel, row by row: red, green, blue, alpha, not premultiplied. A picture that cannot be decoded has a
// width and a height of 0.
const (
	answerMagic = "RMUI"
	answerHead  = len(answerMagic) + 8
)

const taskName = "user-image"

// Task is what the child of a Decoder runs.
func Task() sandbox.Task { return sandbox.Task{Name: taskName, Run: decodeTask} }

// decodeTask decodes a picture from in. The arguments are its format, and the width and the height to scale
// it to. An error means that the picture could not be read or the answer not be written.
func decodeTask(in io.Reader, out io.Writer, args []string) error {
	runtime.GOMAXPROCS(1) // more would only need more memory
	debug.SetMemoryLimit(MaxMemory)
	if len(args) != 3 {
		return fmt.Errorf("decode a picture: %d arguments, not 3", len(args))
	}
	width, err := strconv.Atoi(args[1])
	height, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("decode a picture: %w", err)
	}
	read := &faultReader{r: in}
	img := decode(read, args[0], width, height)
	if read.err != nil {
		return fmt.Errorf("read a picture: %w", read.err)
	}
	return writeAnswer(out, img)
}

// faultReader keeps the error of a reader, which is no fault of the picture.
type faultReader struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (f *faultReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// decode returns a picture at the given size; nil if it is damaged.
func decode(r io.Reader, format string, width, height int) (scaled *image.NRGBA) {
	defer func() { // the decoders are fuzzed, but the file is untrusted
		if p := recover(); p != nil {
			scaled = nil
		}
	}()
	decoders := map[string]func(io.Reader) (image.Image, error){
		"JPEG": jpeg.Decode, "PNG": png.Decode, "WebP": webp.Decode,
	}
	img, err := decoders[format](bufio.NewReaderSize(r, window))
	if err != nil || img.Bounds().Empty() {
		return nil
	}
	return scale(img, width, height)
}

// stripRows is how many rows of a picture are converted at a time.
const stripRows = 64

// scale resizes img as imaging.Resize does with Lanczos, to the bit: first across, then down. It converts a
// few rows at a time, since a copy of the whole would need as much memory again, and before imaging gets
// them, since imaging panics in goroutines of its own.
func scale(img image.Image, width, height int) *image.NRGBA {
	b := img.Bounds()
	narrow := image.NewNRGBA(image.Rect(0, 0, width, b.Dy()))
	strip := image.NewNRGBA(image.Rect(0, 0, b.Dx(), min(stripRows, b.Dy())))
	for y := 0; y < b.Dy(); y += stripRows {
		rows := image.Rect(0, 0, b.Dx(), min(stripRows, b.Dy()-y))
		draw.Draw(strip, rows, img, b.Min.Add(image.Pt(0, y)), draw.Src)
		resized := imaging.Resize(strip.SubImage(rows), width, rows.Dy(), imaging.Lanczos)
		copy(narrow.Pix[y*narrow.Stride:], resized.Pix)
	}
	return imaging.Resize(narrow, width, height, imaging.Lanczos)
}

// writeAnswer writes img; nil is a damaged picture.
func writeAnswer(out io.Writer, img *image.NRGBA) error {
	if img == nil {
		img = &image.NRGBA{}
	}
	width, height := uint32(img.Rect.Dx()), uint32(img.Rect.Dy()) //nolint:gosec // at most MaxSide
	head := binary.BigEndian.AppendUint32([]byte(answerMagic), width)
	head = binary.BigEndian.AppendUint32(head, height)
	if _, err := out.Write(append(head, img.Pix...)); err != nil {
		return fmt.Errorf("write a picture: %w", err)
	}
	return nil
}

// errAnswer: the child wrote something else than writeAnswer does.
var errAnswer = errors.New("the decoder gave no valid answer")

// readAnswer returns the picture that a child wrote; nil for a damaged one. It must have the given size, and
// nothing may follow it.
func readAnswer(b []byte, width, height int) (*image.NRGBA, error) {
	if len(b) < answerHead || string(b[:len(answerMagic)]) != answerMagic {
		return nil, errAnswer
	}
	w, h := binary.BigEndian.Uint32(b[len(answerMagic):]), binary.BigEndian.Uint32(b[len(answerMagic)+4:])
	pix := b[answerHead:]
	switch {
	case w == 0 && h == 0 && len(pix) == 0:
		return nil, nil //nolint:nilnil // as documented
	case int64(w) != int64(width) || int64(h) != int64(height) || len(pix) != 4*width*height:
		return nil, errAnswer
	}
	return &image.NRGBA{Pix: pix, Stride: 4 * width, Rect: image.Rect(0, 0, width, height)}, nil
}
