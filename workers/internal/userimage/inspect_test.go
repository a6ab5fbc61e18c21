package userimage

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	_ "golang.org/x/image/webp"
)

func encoded(t testing.TB, encode func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngFile(t testing.TB, m image.Image) []byte {
	return encoded(t, func(w io.Writer) error { return png.Encode(w, m) })
}

func jpegFile(t testing.TB, m image.Image) []byte {
	return encoded(t, func(w io.Writer) error { return jpeg.Encode(w, m, nil) })
}

var small = image.Rect(0, 0, 5, 3)

// TestInspectAccepts checks what Inspect says of pictures that real encoders write.
func TestInspectAccepts(t *testing.T) {
	const red = "color=red@0.5:s=50x30,format=rgba"
	apng := []byte{0, 0, 0, 1, 0, 0, 0, 0}
	whole := pngFile(t, image.NewNRGBA(small))
	ends := len(whole) - 12
	for name, c := range map[string]struct {
		data   []byte
		format string
		w, h   int
	}{
		"PNG":             {whole, "PNG", 5, 3},
		"grey PNG":        {pngFile(t, image.NewGray(small)), "PNG", 5, 3},
		"PNG of 16 bits":  {pngFile(t, image.NewNRGBA64(small)), "PNG", 5, 3},
		"palette":         {pngFile(t, image.NewPaletted(small, color.Palette{color.White})), "PNG", 5, 3},
		"bytes after":     {append(bytes.Clone(whole), "more"...), "PNG", 5, 3},
		"one frame":       {slices.Concat(whole[:ends], chunk("acTL", apng), whole[ends:]), "PNG", 5, 3},
		"JPEG":            {jpegFile(t, image.NewNRGBA(small)), "JPEG", 5, 3},
		"grey JPEG":       {jpegFile(t, image.NewGray(small)), "JPEG", 5, 3},
		"JPEG by ffmpeg":  {drawn(t, "a.jpg", "-i", red), "JPEG", 50, 30},
		"PNG by ffmpeg":   {drawn(t, "a.png", "-i", red), "PNG", 50, 30},
		"lossy WebP":      {drawn(t, "a.webp", "-i", "color=red:s=50x30", "-c:v", "libwebp"), "WebP", 50, 30},
		"lossless WebP":   {drawn(t, "a.webp", "-i", red, "-c:v", "libwebp", "-lossless", "1"), "WebP", 50, 30},
		"WebP with alpha": {drawn(t, "a.webp", "-i", red, "-c:v", "libwebp", "-pix_fmt", "yuva420p"), "WebP", 50, 30},
		"most scans":      {progressive(64, 64, MaxScans), "JPEG", 64, 64},
		"most chunks":     {pngOf(ihdr(8, 8, 8, 6, 0), bytes.Repeat(chunk("IDAT", nil), MaxChunks-2), chunk("IEND", nil)), "PNG", 8, 8},
		"longest":         {pngOf(ihdr(8192, 128, 8, 6, 0), chunk("IEND", nil)), "PNG", 8192, 128},
		"highest":         {pngOf(ihdr(128, 8192, 8, 6, 0), chunk("IEND", nil)), "PNG", 128, 8192},
		"largest":         {pngOf(ihdr(8000, 5000, 8, 6, 1), chunk("IEND", nil)), "PNG", 8000, 5000},
	} {
		p, err := Inspect(iotest.OneByteReader(bytes.NewReader(c.data)))
		if err != nil || p.Format != c.format || p.Width != c.w || p.Height != c.h {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestInspectRefuses: a refusal names the limit and the value.
func TestInspectRefuses(t *testing.T) {
	header := func(w, h int) []byte { return pngOf(ihdr(w, h, 8, 6, 0), chunk("IEND", nil)) }
	jpg := func(segments ...[]byte) []byte {
		return slices.Concat([]byte{0xff, 0xd8}, slices.Concat(segments...), []byte{0xff, 0xd9})
	}
	scan := segment(0xda, 1, 1, 0, 0, 63, 0)
	whole := pngFile(t, image.NewNRGBA(small))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "neither JPEG, PNG nor WebP"},
		"GIF":              {[]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "neither JPEG, PNG nor WebP"},
		"RIFF but no WebP": {[]byte("RIFF\x10\x00\x00\x00WAVEfmt "), "neither JPEG, PNG nor WebP"},
		"cut short":        {whole[:40], "damaged: the file ends too early"},
		"header alone":     {whole[:8], "damaged: the file ends too early"},

		"too wide":       {header(12000, 10), "12000x10 pixels; each side may have at most 8192"},
		"too high":       {header(1, 40000000), "1x40000000 pixels; each side may have at most 8192"},
		"largest number": {header(1<<32-1, 1<<32-1), "4294967295x4294967295 pixels; each side may have at most 8192"},
		"no height":      {header(5, 0), "5x0 pixels; each side must have at least 1"},
		"too flat":       {header(8192, 127), "8192x127 pixels; one side may be at most 64 times as long as the other"},
		"too many":       {header(8000, 5001), "8000x5001 pixels; at most 40 million are accepted"},

		"deep":              {pngOf(ihdr(7000, 5000, 16, 6, 0)), "decoding its 7000x5000 pixels needs 268 MiB of memory; at most 256 MiB are allowed"},
		"no such PNG":       {pngOf(ihdr(5, 3, 16, 3, 0)), "a PNG of colour type 3 with 16 bits"},
		"interlaced how":    {pngOf(ihdr(5, 3, 8, 6, 2)), "damaged: a PNG of an unknown compression, filter or order"},
		"two headers":       {pngOf(ihdr(5, 3, 8, 6, 0), ihdr(9, 9, 8, 6, 0)), "damaged: the size of the picture must come first, and once"},
		"header later":      {pngOf(chunk("tEXt", nil), ihdr(9, 9, 8, 6, 0)), "damaged: the size of the picture must come first, and once"},
		"PNG header":        {pngOf(chunk("IHDR", []byte{1})), "damaged: a PNG header of 1 bytes"},
		"too many chunks":   {pngOf(ihdr(8, 8, 8, 6, 0), bytes.Repeat(chunk("IDAT", nil), MaxChunks-1), chunk("IEND", nil)), "a PNG of more than 16384 chunks"},
		"huge chunk":        {pngOf(ihdr(8, 8, 8, 6, 0), []byte("\xff\xff\xff\xffIDAT")), "damaged: a chunk of 4294967295 bytes"},
		"chunk beyond":      {pngOf(ihdr(8, 8, 8, 6, 0), []byte("\x7f\xff\xff\xffIDAT")), "damaged: the file ends too early"},
		"animated PNG":      {pngOf(ihdr(8, 8, 8, 6, 0), chunk("acTL", []byte{0, 0, 0, 9, 0, 0, 0, 0})), "an animated PNG of 9 frames; at most 1 is accepted"},
		"animated somehow":  {pngOf(ihdr(8, 8, 8, 6, 0), chunk("acTL", nil)), "damaged: an animation header of 0 bytes"},
		"too many scans":    {progressive(64, 64, MaxScans+1), "a JPEG of more than 100 scans; at most 100 are accepted"},
		"baseline scans":    {jpg(sof(0xc0, 8, 8, 0x11), bytes.Repeat(scan, MaxScans+1)), "a JPEG of more than 100 scans; at most 100 are accepted"},
		"two frames":        {jpg(sof(0xc0, 8, 8, 0x11), sof(0xc0, 9, 9, 0x11), scan), "a JPEG of more than 1 frame; at most 1 is accepted"},
		"wide JPEG":         {jpg(sof(0xc2, 65535, 65535, 0x11), scan), "65535x65535 pixels; each side may have at most 8192"},
		"JPEG of no height": {jpg(sof(0xc0, 8, 0, 0x11), scan), "8x0 pixels; each side must have at least 1"},
		"many coefficients": {jpg(sof(0xc2, 5000, 5000, 0x11, 0x11, 0x11), scan), "decoding its 5000x5000 pixels needs 358 MiB of memory; at most 256 MiB are allowed"},
		"lossless JPEG":     {jpg(sof(0xc3, 8, 8, 0x11), scan), "a JPEG of the kind SOF3; only baseline and progressive are accepted"},
		"arithmetic JPEG":   {jpg(sof(0xc9, 8, 8, 0x11), scan), "a JPEG of the kind SOF9"},
		"two colours":       {jpg(sof(0xc0, 8, 8, 0x11, 0x11), scan), "a JPEG whose frame header has 12 bytes; 1, 3 or 4 colours are accepted"},
		"five colours":      {jpg(sof(0xc0, 8, 8, 0x11, 0x11, 0x11, 0x11, 0x11), scan), "a JPEG whose frame header has 21 bytes"},
		"12 bits":           {jpg(segment(0xc1, 12, 0, 8, 0, 8, 1, 1, 0x11, 0), scan), "a JPEG of 12 bits per colour; only 8 are accepted"},
		"colours that lie":  {jpg(segment(0xc1, 8, 0, 8, 0, 8, 3, 1, 0x11, 0), scan), "damaged: the frame header has 9 bytes for 3 colours"},
		"sampled never":     {jpg(sof(0xc0, 8, 8, 0x10), scan), "damaged: a colour is sampled 1 by 0 times"},
		"sampled often":     {jpg(sof(0xc0, 8, 8, 0x51), scan), "damaged: a colour is sampled 5 by 1 times"},
		"restarts":          {jpg(sof(0xc0, 8, 8, 0x11), segment(0xdd, 1, 2, 3), scan), "damaged: a restart interval of 3 bytes"},
		"short segment":     {jpg([]byte{0xff, 0xe1, 0, 1}), "damaged: a segment has a length below 2"},
		"scan first":        {jpg(scan, sof(0xc0, 8, 8, 0x11)), "damaged: a scan comes before the size of the picture"},
		"no scan":           {jpg(sof(0xc0, 8, 8, 0x11)), "damaged: a JPEG without a picture"},
		"no end":            {slices.Concat([]byte{0xff, 0xd8}, sof(0xc0, 8, 8, 0x11), scan), "damaged: the file ends too early"},

		"animated WebP":      {riff(canvas(2, 8, 8), webpChunk("ANIM", make([]byte, 6))), "an animated WebP; at most 1 frame is accepted"},
		"animated, no flag":  {riff(canvas(0, 8, 8), webpChunk("ANMF", make([]byte, 16))), "an animated WebP; at most 1 frame is accepted"},
		"two pictures":       {riff(lossless(8, 8), lossless(8, 8)), "a WebP of more than 1 frame; at most 1 is accepted"},
		"small canvas":       {riff(canvas(0, 8, 8), lossless(4000, 4000)), "damaged: a picture of 4000x4000 pixels on a canvas of 8x8"},
		"small canvas lossy": {riff(canvas(0, 8, 8), lossy(4000, 4000)), "damaged: a picture of 4000x4000 pixels on a canvas of 8x8"},
		"two canvases":       {riff(canvas(16, 9, 9), canvas(16, 8, 8), lossy(8, 8)), "damaged: a WebP with two canvases"},
		"large canvas":       {riff(canvas(0, 1<<24, 1), lossy(8, 8)), "16777216x1 pixels; each side may have at most 8192"},
		"wide WebP":          {riff(lossless(16384, 1)), "16384x1 pixels; each side may have at most 8192"},
		"wide lossy WebP":    {riff(lossy(16383, 16383)), "16383x16383 pixels; each side may have at most 8192"},
		"no key frame":       {riff(webpChunk("VP8 ", make([]byte, 10))), "damaged: a WebP that does not begin with a whole picture"},
		"no signature":       {riff(webpChunk("VP8L", make([]byte, 5))), "damaged: a WebP of an unknown compression"},
		"short VP8L":         {riff(webpChunk("VP8L", []byte{0x2f})), "damaged: a chunk VP8L of 1 bytes"},
		"no picture":         {riff(webpChunk("EXIF", nil)), "damaged: a WebP without a picture"},
		"chunk too long":     {riff([]byte("EXIF\xff\xff\xff\xff")), "damaged: a chunk of 4294967295 bytes in the last 0 bytes"},
		"rest of a chunk":    {riff(lossless(8, 8), []byte("EXIF")), "damaged: its last chunk has 4 bytes"},
		"WebP chunks":        {riff(bytes.Repeat(webpChunk("EXIF", nil), MaxChunks+1), lossless(8, 8)), "a WebP of more than 16384 chunks"},
		"cut WebP":           {riff(lossless(8, 8))[:20], "damaged: the file ends too early"},
	} {
		_, err := Inspect(bytes.NewReader(c.data))
		if refusal, ok := errors.AsType[*Refusal](err); !ok || !strings.HasPrefix(refusal.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestInspectReportsReadErrors: a file that cannot be read is no fault of the picture.
func TestInspectReportsReadErrors(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, data := range [][]byte{nil, progressive(8, 8, 3), pngFile(t, image.NewGray(small)), riff(lossless(8, 8))} {
		for n := range data {
			_, err := Inspect(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)))
			if err != broken {
				t.Fatalf("after %d of %d bytes: %v", n, len(data), err)
			}
		}
	}
}

// inspected checks that what Inspect accepts is within the limits, and that the decoders agree on its size.
func inspected(t *testing.T, data []byte) {
	p, err := Inspect(bytes.NewReader(data))
	if err != nil {
		if _, ok := errors.AsType[*Refusal](err); !ok {
			t.Errorf("%v is no refusal", err)
		}
		return
	}
	if err := p.check(); err != nil || p.Format == "" {
		t.Errorf("%+v was accepted: %v", p, err)
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err == nil && (c.Width != p.Width || c.Height != p.Height || !strings.EqualFold(format, p.Format)) {
		t.Errorf("%+v, but its decoder sees %s of %dx%d", p, format, c.Width, c.Height)
	}
}

func FuzzInspectJPEG(f *testing.F) {
	f.Add(progressive(16, 16, 3))
	f.Add(jpegFile(f, image.NewNRGBA(small)))
	f.Add(jpegFile(f, image.NewGray(small)))
	f.Add(slices.Concat([]byte{0xff, 0xd8, 0xff}, sof(0xc1, 9, 9, 0x22, 0x11, 0x11, 0x22), segment(0xdd, 0, 1), segment(0xda, 1, 1, 0, 0, 63, 0), []byte{0xff, 0xd0, 0xff, 0xd9}))
	f.Fuzz(func(t *testing.T, data []byte) {
		inspected(t, append([]byte("\xff\xd8\xff"), data[min(3, len(data)):]...))
	})
}

func FuzzInspectPNG(f *testing.F) {
	f.Add(pngFile(f, image.NewNRGBA(small)))
	f.Add(pngFile(f, image.NewGray16(small)))
	f.Add(pngOf(ihdr(5, 3, 8, 3, 1), chunk("acTL", make([]byte, 8)), chunk("zTXt", []byte("k")), chunk("IEND", nil)))
	f.Fuzz(func(t *testing.T, data []byte) { inspected(t, append([]byte(pngMagic), data[min(8, len(data)):]...)) })
}

func FuzzInspectWebP(f *testing.F) {
	f.Add(riff(lossy(50, 30)))
	f.Add(riff(lossless(50, 30)))
	f.Add(riff(canvas(16, 50, 30), webpChunk("ICCP", []byte("x")), webpChunk("ALPH", []byte("abc")), lossy(50, 30)))
	f.Add(riff(canvas(2, 50, 30), webpChunk("ANIM", make([]byte, 6)), webpChunk("ANMF", make([]byte, 16))))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		copy(data, "RIFF")
		if len(data) >= 12 {
			copy(data[8:], "WEBP")
		}
		inspected(t, data)
	})
}
