package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Stills makes still images that people ask for, outside of any job. It reads an init section and one
// segment, so a long film costs no more than a short one. ffmpeg, which decodes, is a process of its own, in
// the cage.
type Stills struct {
	tools ffmpeg.Tools
	store storage.Store
	dir   string
}

// NewStills returns what makes stills of objects of store. dir is a folder for scratch files, which it makes
// if it is missing.
func NewStills(tools ffmpeg.Tools, store storage.Store, dir string) *Stills {
	return &Stills{tools, store, dir}
}

// Limits of a still.
const (
	stillMostRead  = 512 << 20 // bytes of the segment and its init section
	stillMostBytes = 32 << 20  // of the image
	stillQuality   = "3"       // of JPEG, as ffmpeg counts: 2 is best, 31 is worst
	stillNice      = 4         // somebody waits for it, but playback does not
)

// Still makes an image and returns its bytes. pipeline.CodeParameters: ffmpeg cannot write the format.
// storage.ErrNotFound: an object is no longer there.
func (t *Stills) Still(ctx context.Context, s pipeline.Still) ([]byte, error) {
	if err := t.writes(ctx, s.Format); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make scratch: %w", err)
	}
	dir, err := os.MkdirTemp(t.dir, "still-")
	if err != nil {
		return nil, fmt.Errorf("make scratch: %w", err)
	}
	data, err := t.make(ctx, s, dir)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return nil, err
	}
	return data, nil
}

// writes returns why no image of a format can be made, or nil.
func (t *Stills) writes(ctx context.Context, f pipeline.StillFormat) error {
	encoder := stillEncoder(f)
	encoders, err := t.tools.Encoders(ctx)
	if err == nil && !encoders[encoder] {
		err = pipeline.Fail(pipeline.CodeParameters, "ffmpeg on the server has no %s, so it makes no %s", encoder,
			f)
	}
	return err
}

func stillEncoder(f pipeline.StillFormat) string {
	if f == pipeline.StillWebP {
		return "libwebp"
	}
	return "mjpeg"
}

// make reads the objects, decodes the frame and writes the image, all in dir.
func (t *Stills) make(ctx context.Context, s pipeline.Still, dir string) ([]byte, error) {
	input, output := filepath.Join(dir, "input"), filepath.Join(dir, "image."+string(s.Format))
	size, err := t.gather(ctx, s.Keys, input)
	if err != nil {
		return nil, err
	}
	for _, at := range seeks(s) {
		if err := t.run(ctx, s, at, size, input, output); err != nil {
			return nil, encode.Fault(ctx, err)
		}
		data, err := readImage(output)
		if errors.Is(err, os.ErrNotExist) {
			continue // no frame is so late
		}
		if err == nil {
			err = checkImage(data, s)
		}
		return data, err
	}
	return nil, pipeline.Fail(pipeline.CodeVerification, "no frame of the segment can be decoded")
}

// gather copies objects into one file, one behind the other, and returns its size.
func (t *Stills) gather(ctx context.Context, keys []string, path string) (size int64, err error) {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		n, err := t.add(ctx, w, key, stillMostRead-size)
		if err != nil {
			return 0, errors.Join(err, w.Close())
		}
		size += n
	}
	return size, w.Close()
}

// add appends an object of at most so many bytes to w.
func (t *Stills) add(ctx context.Context, w io.Writer, key string, most int64) (int64, error) {
	r, info, err := t.store.Get(ctx, key, storage.Range{})
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	defer r.Close()
	if info.Size > most {
		return 0, pipeline.Fail(pipeline.CodeParameters, "the segment has %d bytes, more than stills are made of",
			info.Size)
	}
	n, err := io.Copy(w, r)
	if err == nil && n != info.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, fmt.Errorf("read %s: %w", key, err)
	}
	return n, nil
}

// start is the first frame of the segment, whatever its time.
const start = time.Duration(0)

// seeks returns from where to decode, one after the other until there is a frame: half a frame before the one
// that is meant, then earlier. The first frame from there is the one.
func seeks(s pipeline.Still) []time.Duration {
	if s.Poster || s.FrameRate <= 0 {
		return []time.Duration{start}
	}
	at := max(0, s.At-0.5/s.FrameRate) // times are rounded
	return []time.Duration{seconds(at), seconds(max(0, at-2/s.FrameRate)), start}
}

// run decodes the first frame from a time on, and writes the image; nothing if there is no such frame.
func (t *Stills) run(
	ctx context.Context, s pipeline.Still, at time.Duration, size int64, input, output string,
) error {
	in := ffmpeg.Input{Path: input, Demuxer: "mov", Seek: at, Pixels: s.Frame.Width * s.Frame.Height}
	if s.Poster {
		in.Demuxer, in.Trusted = "image2", true
		in.Options = []ffmpeg.Option{{Key: "pattern_type", Value: "none"}}
	}
	out := ffmpeg.Output{Path: output, Format: "image2", Maps: []string{"[v]"}, Options: []ffmpeg.Option{
		{Key: "c:v", Value: stillEncoder(s.Format)}, {Key: "q:v", Value: stillQuality},
		{Key: "frames:v", Value: "1"}, {Key: "update", Value: "1"}, {Key: "fps_mode", Value: "passthrough"},
	}}
	if s.Format == pipeline.StillWebP {
		out.Format = "webp"
		out.Options = []ffmpeg.Option{
			{Key: "c:v", Value: stillEncoder(s.Format)}, {Key: "quality", Value: "82"},
			{Key: "frames:v", Value: "1"}, {Key: "fps_mode", Value: "passthrough"},
		}
	}
	return encode.Step{
		Tools: t.tools, Dir: filepath.Dir(output), Nice: stillNice, Work: stillWork(s, size),
	}.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{in}, Outputs: []ffmpeg.Output{out},
		Filter: ffmpeg.Link([]string{"0:v:0"}, picture.Image(s), []string{"v"}),
	})
}

// stillWork returns the most that a run has to do: it decodes the frames of a segment up to the one.
func stillWork(s pipeline.Still, size int64) encode.Work {
	frames := 1 + s.At*s.FrameRate
	return encode.Work{
		Read: float64(size), Decoded: frames * float64(s.Frame.Width*s.Frame.Height), Frames: frames,
		Encoded: float64(s.Canvas.Width * s.Canvas.Height),
	}
}

// readImage reads an image that ffmpeg wrote. os.ErrNotExist: it wrote none.
func readImage(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, stillMostBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	switch {
	case len(data) == 0:
		return nil, os.ErrNotExist
	case len(data) > stillMostBytes:
		return nil, pipeline.Fail(pipeline.CodeVerification, "the image has more than %d bytes", stillMostBytes)
	}
	return data, nil
}

// checkImage checks that an image is whole and has its size, without decoding it.
func checkImage(data []byte, s pipeline.Still) error {
	c, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return pipeline.Fail(pipeline.CodeVerification, "the image cannot be read: %w", err)
	}
	if (pipeline.Size{Width: c.Width, Height: c.Height}) != s.Canvas {
		return pipeline.Fail(pipeline.CodeVerification, "the image is %dx%d, want %dx%d", c.Width, c.Height,
			s.Canvas.Width, s.Canvas.Height)
	}
	whole := bytes.HasSuffix(data, []byte{0xff, 0xd9}) // end of image (ITU-T T.81, B.1.1.3)
	if format == "webp" {
		whole = int(binary.LittleEndian.Uint32(data[4:])) == len(data)-8 // RFC 9649, 2.4
	}
	if !whole {
		return pipeline.Fail(pipeline.CodeVerification, "the image is cut short")
	}
	return nil
}
