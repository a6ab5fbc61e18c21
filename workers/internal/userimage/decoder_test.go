package userimage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// file returns an open file of data.
func file(t testing.TB, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "picture")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// whole decodes a picture in this process, converts all of it, and scales it to fit a box: the plain way.
func whole(t testing.TB, data []byte, width, height int) *image.NRGBA {
	t.Helper()
	decoded, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	b := decoded.Bounds()
	img := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(img, img.Bounds(), decoded, b.Min, draw.Src)
	w, h := Picture{Width: b.Dx(), Height: b.Dy()}.Fit(width, height)
	return imaging.Resize(img, w, h, imaging.Lanczos)
}

// noise fills every byte of a picture; the same each time.
func noise[M draw.Image](m M) M {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			n := r.Uint64()
			m.Set(x, y, color.NRGBA64{uint16(n), uint16(n >> 16), uint16(n >> 32), uint16(n >> 48)}) //nolint:gosec // meant
		}
	}
	return m
}

// TestDecodeIsExact: the child gives the pixels that decoding in this process gives, whatever the kind of the
// picture, smaller and larger, with a cage and without.
func TestDecodeIsExact(t *testing.T) {
	const red = "testsrc2=s=150x90,format=rgba,colorchannelmixer=aa=0.5"
	box := image.Rect(0, 0, 150, 90)
	palette := color.Palette{color.White, color.NRGBA{200, 10, 10, 100}, color.Transparent, color.Black}
	zeros := func(colour, depth, interlace byte, row int) []byte {
		return pngOf(ihdr(40, 24, depth, colour, interlace), deflated(t, 0, 24*(row+1)), chunk("IEND", nil))
	}
	pictures := map[string][]byte{
		"PNG":                 pngFile(t, noise(image.NewNRGBA(box))),
		"PNG of 16 bits":      pngFile(t, noise(image.NewNRGBA64(box))),
		"opaque PNG, 16 bits": pngFile(t, noise(image.NewRGBA64(box))),
		"grey PNG":            pngFile(t, noise(image.NewGray(box))),
		"grey PNG, 16 bits":   pngFile(t, noise(image.NewGray16(box))),
		"palette":             pngFile(t, noise(image.NewPaletted(box, palette))),
		"grey with alpha":     drawn(t, "a.png", "-i", red+",format=ya8"),
		"grey, alpha, 16":     zeros(pngGrayAlpha, 16, 0, 40*4),
		"one bit":             zeros(pngGray, 1, 0, 5),
		"JPEG":                jpegFile(t, noise(image.NewNRGBA(box))),
		"grey JPEG":           jpegFile(t, noise(image.NewGray(box))),
		"JPEG 4:4:4":          drawn(t, "a.jpg", "-i", red, "-pix_fmt", "yuvj444p"),
		"JPEG 4:2:2":          drawn(t, "a.jpg", "-i", red, "-pix_fmt", "yuvj422p"),
		"CMYK":                fourColours(0),
		"YCCK":                fourColours(2),
		"progressive":         progressive(150, 90, 10),
		"most scans":          progressive(150, 90, MaxScans),
		"lossy WebP":          drawn(t, "a.webp", "-i", "testsrc2=s=150x90", "-c:v", "libwebp"),
		"lossless WebP":       drawn(t, "a.webp", "-i", red, "-c:v", "libwebp", "-lossless", "1"),
		"WebP with alpha":     drawn(t, "a.webp", "-i", red, "-c:v", "libwebp", "-pix_fmt", "yuva420p"),
		"interlaced PNG":      drawn(t, "a.png", "-i", red, "-flags", "+ildct"),
		"interlaced, 16 bits": drawn(t, "a.png", "-i", red+",format=rgba64be", "-flags", "+ildct"),
		"another height":      pngFile(t, noise(image.NewNRGBA(image.Rect(0, 0, 30, 200)))),
		"one pixel":           pngFile(t, noise(image.NewNRGBA(image.Rect(0, 0, 1, 1)))),
	}
	cage := newCage(t)
	for name, data := range pictures {
		if strings.HasPrefix(name, "interlaced") && data[28] != 1 {
			t.Errorf("%s is not interlaced", name)
		}
		for i, size := range [][2]int{{60, 60}, {150, 90}, {333, 1000}, {1, 1}} {
			d := Decoder{}
			if i == 0 {
				d.Cage = cage
			}
			got, err := d.Decode(t.Context(), file(t, data), size[0], size[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if want := whole(t, data, size[0], size[1]); got.Rect != want.Rect || !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s in %v: %v, want %v, or other pixels", name, size, got.Rect, want.Rect)
			}
		}
	}
}

// refusal returns the reason of a Refusal.
func refusal(t testing.TB, err error) string {
	t.Helper()
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		t.Errorf("%v is no refusal", err)
		return ""
	}
	return r.Reason
}

// TestDecodeRefuses: what gets past the headers and cannot be decoded is refused by name.
func TestDecodeRefuses(t *testing.T) {
	good := pngFile(t, noise(image.NewNRGBA(small)))
	wrong := bytes.Clone(good)
	wrong[len(wrong)-20]++ // the checksum of the pixels
	scans := progressive(4096, 4096, 2000)
	large := file(t, good)
	if err := os.Truncate(large.Name(), MaxBytes+1); err != nil {
		t.Fatal(err)
	}
	d := Decoder{Cage: newCage(t)}
	for name, c := range map[string]struct {
		err  func() error
		want string
	}{
		"checksum": {func() error { _, err := d.Decode(t.Context(), file(t, wrong), 9, 9); return err }, "damaged: it cannot be decoded"},
		"no pixels": {func() error {
			_, err := d.Decode(t.Context(), file(t, pngOf(ihdr(5, 3, 8, 6, 0), chunk("IEND", nil))), 9, 9)
			return err
		}, "damaged: it cannot be decoded"},
		"gate": {func() error {
			_, err := d.Decode(t.Context(), file(t, progressive(8, 8, MaxScans+1)), 9, 9)
			return err
		}, "a JPEG of more than 100 scans; at most 100 are accepted"},
		"large": {func() error { _, err := d.Decode(t.Context(), large, 9, 9); return err }, "67108865 bytes; at most 67108864 are accepted"},
		"time":  {func() error { return short(d, sandbox.Limits{CPU: time.Second, Memory: 1 << 30}, "", t, scans, "JPEG") }, "decoding it takes more than 2s of processor time"},
		"memory": {func() error {
			return short(d, sandbox.Limits{CPU: time.Minute, Memory: 200 << 20}, "", t, scans, "JPEG")
		}, "decoding it needs more than 256 MiB of memory"},
		"goroutine":   {func() error { return short(d, sandbox.Limits{CPU: time.Minute}, "panics-beside", t, good, "PNG") }, "damaged: its decoder crashed"},
		"no format":   {func() error { return short(d, sandbox.Limits{}, "", t, good, "GIF") }, "damaged: it cannot be decoded"},
		"other magic": {func() error { return short(d, sandbox.Limits{}, "", t, good, "JPEG") }, "damaged: it cannot be decoded"},
	} {
		if got := refusal(t, c.err()); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// short decodes with other limits, and without the gate.
func short(d Decoder, l sandbox.Limits, task string, t testing.TB, data []byte, format string) error {
	d.limits, d.task = l, task
	_, err := d.decode(t.Context(), file(t, data), format, 9, 9)
	return err
}

// TestPalettes: indices beyond the palette, and palettes of any length, are decoded or refused.
func TestPalettes(t *testing.T) {
	d := Decoder{Cage: newCage(t)}
	for _, depth := range []byte{1, 2, 4, 8} {
		for _, colours := range []int{0, 1, 2, 3, 256, 257} {
			data := pngOf(ihdr(64, 64, depth, pngPalette, 0), chunk("PLTE", bytes.Repeat([]byte{1, 2, 3}, colours)),
				chunk("tRNS", bytes.Repeat([]byte{9}, colours)), deflated(t, 0xff, 64*(64*int(depth)/8+1)), chunk("IEND", nil))
			img, err := d.Decode(t.Context(), file(t, data), 20, 20)
			if err != nil {
				refusal(t, err)
			} else if img.Rect != image.Rect(0, 0, 20, 20) {
				t.Errorf("%v", img.Rect)
			}
		}
	}
}

// TestDecodeIsNotBlamed: what the machine does wrong is no refusal, so that the job is tried again.
func TestDecodeIsNotBlamed(t *testing.T) {
	good := pngFile(t, noise(image.NewNRGBA(small)))
	cage := newCage(t)
	closed := file(t, good)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	decode := func(d Decoder, f *os.File) error { _, err := d.Decode(t.Context(), f, 9, 9); return err }
	kill := func(pid int) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"closed":  {decode(Decoder{}, closed), "file already closed"},
		"folder":  {decode(Decoder{}, folder), "is a directory"},
		"failed":  {decode(Decoder{Cage: cage, task: "fails"}, file(t, good)), "no room"},
		"no task": {decode(Decoder{Cage: cage, task: "missing"}, file(t, good)), "there is no task missing"},
		"killed":  {decode(Decoder{Cage: cage, task: "waits", began: kill}, file(t, good)), "signal: killed"},
		"slow":    {decode(Decoder{Cage: cage, task: "waits", wait: time.Second}, file(t, good)), "too little of the processor in 1s"},
		"answer":  {decode(Decoder{Cage: cage, task: "writes"}, file(t, good)), "no valid answer"},
	} {
		if _, refused := errors.AsType[*Refusal](c.err); c.err == nil || refused || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, c.err, c.want)
		}
		if p := pipeline.ProblemOf(c.err); p != nil && p.Class != pipeline.Transient {
			t.Errorf("%s: class %s", name, p.Class)
		}
	}
	var read *fs.PathError
	if !errors.As(decode(Decoder{}, closed), &read) {
		t.Error("a file that cannot be read is no PathError")
	}
}

// TestDecodeIsKilled: a decoder that would run for hours is gone when its context ends, with the cause.
func TestDecodeIsKilled(t *testing.T) {
	cause := errors.New("nobody wants it")
	ctx, cancel := context.WithCancelCause(t.Context())
	child := 0
	d := Decoder{
		Cage: newCage(t), began: func(pid int) { child = pid; cancel(cause) },
		limits: sandbox.Limits{CPU: time.Hour, Memory: 1 << 30},
	}
	_, err := d.decode(ctx, file(t, progressive(1024, 1024, 120000)), "JPEG", 9, 9)
	if !errors.Is(err, cause) {
		t.Errorf("%v, want %v", err, cause)
	}
	if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", child, err)
	}
}

// TestAnswers: a child that was taken over can answer nothing but a picture of the size that was asked for.
func TestAnswers(t *testing.T) {
	var good bytes.Buffer
	if err := writeAnswer(&good, noise(image.NewNRGBA(small))); err != nil {
		t.Fatal(err)
	}
	other := func(w, h uint32, pixels int) []byte {
		b := binary.BigEndian.AppendUint32([]byte(answerMagic), w)
		return append(binary.BigEndian.AppendUint32(b, h), make([]byte, pixels)...)
	}
	if img, err := readAnswer(good.Bytes(), 5, 3); err != nil || img.Rect != small {
		t.Errorf("%v, %v", img, err)
	}
	if img, err := readAnswer(other(0, 0, 0), 5, 3); err != nil || img != nil {
		t.Errorf("a damaged picture: %v, %v", img, err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "magic": []byte(answerMagic), "other magic": append([]byte("XXXX"), good.Bytes()[4:]...),
		"short": good.Bytes()[:good.Len()-1], "long": append(bytes.Clone(good.Bytes()), 0), "wider": other(6, 3, 72),
		"higher": other(5, 4, 80), "turned": other(3, 5, 60), "damaged with pixels": other(0, 0, 60), "no width": other(0, 3, 0),
		"huge": other(1<<31, 1<<31, 0), "wraps": other(5, 3, 0),
	} {
		if img, err := readAnswer(b, 5, 3); err == nil || img != nil {
			t.Errorf("%s: %v, %v", name, img, err)
		}
	}
	if err := writeAnswer(failingWriter{}, nil); err == nil {
		t.Error("an answer that was not written passed")
	}
	for _, args := range [][]string{nil, {"PNG", "5"}, {"PNG", "five", "3"}, {"PNG", "5", ""}} {
		if err := decodeTask(&good, io.Discard, args); err == nil {
			t.Errorf("%q passed", args)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("no room") }

// FuzzDecode: a picture that passes the gate gives its scaled pixels, or nothing.
func FuzzDecode(f *testing.F) {
	for _, data := range [][]byte{
		pngFile(f, noise(image.NewNRGBA(small))), jpegFile(f, noise(image.NewGray(small))), progressive(16, 16, 3), fourColours(2),
		slices.Concat(riff(lossless(5, 3))),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Inspect(bytes.NewReader(data))
		if err != nil || p.Width*p.Height > 1<<16 { // in this process
			return
		}
		w, h := p.Fit(7, 7)
		if img := decode(bytes.NewReader(data), p.Format, w, h); img != nil && (img.Rect.Dx() != w || img.Rect.Dy() != h) {
			t.Errorf("%+v gave %v", p, img.Rect)
		}
	})
}

// status returns a number of bytes from the status of this process.
func status(t testing.TB, name string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in %s", name, text)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// resetPeak makes VmHWM the memory of now, and returns it.
func resetPeak(t testing.TB) int64 {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // proc(5)
		t.Fatal(err)
	}
	return status(t, "VmHWM")
}
