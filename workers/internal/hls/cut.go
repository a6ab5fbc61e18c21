package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
)

// perSegment is how many fragments a segment of our own encoders has.
const perSegment = manifest.SegmentSeconds / manifest.FragmentSeconds

// Limits of boxes that are read into memory; those of our own files are far smaller.
const (
	maxInit = 4 << 20
	maxMoof = 16 << 20
)

// Options say which part of a rendition a file is. The zero value is a rendition from its start.
type Options struct {
	First int    // number of the first segment
	Start uint64 // decode time at which the first fragment must begin, in ticks
	// Borders are the times at which segments begin, including the first, in seconds of decode time. A
	// fragment must begin at each. Empty: segments of SegmentSeconds, in fragments of FragmentSeconds.
	Borders []float64
	// Near is how far from a border a segment may begin, in seconds; 0: 8 ms, half a frame at 60 frames/s.
	Near float64
	// Delay is added to all composition offsets, in ticks, so that none is negative; in the file they may be as
	// low as minus Delay. An edit list takes it back (Advance). 0: the offsets stay unchanged.
	Delay int64
}

// near is the default of Options.Near.
const near = 0.008

// Cut cuts file, a fragmented MP4 of one track with a fragment for each keyframe, into init.mp4 and
// segments in dir, which must exist. The fragments must follow each other without a gap.
func Cut(ctx context.Context, file, dir string, o Options) (manifest.Track, error) {
	in, err := os.Open(file)
	if err != nil {
		return manifest.Track{}, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return manifest.Track{}, err
	}
	if o.Near <= 0 {
		o.Near = near
	}
	c := cutter{
		in: in, size: info.Size(), dir: dir, options: o, next: o.Start, track: manifest.Track{First: o.First},
	}
	for c.at < c.size {
		if err := ctx.Err(); err != nil {
			return manifest.Track{}, errors.Join(err, c.closeSegment())
		}
		if err := c.box(); err != nil {
			return manifest.Track{}, errors.Join(fmt.Errorf("cut %s: %w", filepath.Base(file), err), c.closeSegment())
		}
	}
	if err := c.finish(); err != nil {
		return manifest.Track{}, fmt.Errorf("cut %s: %w", filepath.Base(file), err)
	}
	if len(c.track.Segments) == 0 {
		return manifest.Track{}, pipeline.Fail(pipeline.CodeMalformed,
			"nothing was encoded: no frame of the source decodes")
	}
	if n := len(o.Borders); n > 0 && len(c.track.Segments) != n {
		return manifest.Track{}, pipeline.Fail(
			pipeline.CodeVerification, "%d segments, want %d", len(c.track.Segments), n)
	}
	return c.track, nil
}

// cutter walks the top-level boxes of a file. Source: ISO/IEC 14496-12, 8.8.
type cutter struct {
	in    *os.File
	size  int64
	at    int64 // of the next box
	dir   string
	track manifest.Track

	options   Options
	header    []byte // ftyp and moov
	defaults  *mp4.TrexBox
	out       *os.File // the segment being written
	fragments int      // in out
	ticks     uint64   // in out
	next      uint64   // decode time at which the next fragment must begin
	key       int64    // bytes of the keyframe at the start of the current mdat; 0: none
	owed      int64    // bytes of samples that the next box of data must have; 0: none
}

func (c *cutter) box() error {
	h, err := mp4.DecodeHeader(io.NewSectionReader(c.in, c.at, c.size-c.at))
	if err != nil {
		return fmt.Errorf("box at %d: %w", c.at, err)
	}
	size := int64(h.Size)
	if size < int64(h.Hdrlen) || size > c.size-c.at {
		return fmt.Errorf("box %q at %d has %d bytes, %d are left", h.Name, c.at, h.Size, c.size-c.at)
	}
	defer func() { c.at += size }()
	switch h.Name {
	case "ftyp", "moov":
		return c.head(h.Name, size)
	case "moof":
		return c.fragment(size)
	case "mdat":
		return c.media(int64(h.Hdrlen), size)
	}
	return nil // such as mfra, an index of the uncut file
}

func (c *cutter) read(size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("box at %d has %d bytes", c.at, size)
	}
	data := make([]byte, size)
	_, err := c.in.ReadAt(data, c.at)
	return data, err
}

// head collects the init section and writes it when it is complete.
func (c *cutter) head(name string, size int64) error {
	data, err := c.read(size, maxInit)
	if err != nil {
		return err
	}
	if name == "moov" {
		if data, err = c.readTrack(data); err != nil {
			return fmt.Errorf("init section: %w", err)
		}
	}
	c.header = append(c.header, data...)
	if name != "moov" {
		return nil
	}
	c.track.InitSize = int64(len(c.header))
	return os.WriteFile(filepath.Join(c.dir, manifest.InitName), c.header, 0o600)
}
