package hls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline/manifest"
)

// readTrack finds the one track's timescale, defaults and codec in the init section.
func (c *cutter) readTrack() error {
	f, err := mp4.DecodeFile(bytes.NewReader(c.header))
	if err != nil {
		return err
	}
	if f.Moov == nil || f.Moov.Mvex == nil || len(f.Moov.Traks) != 1 {
		return errors.New("not a fragmented movie of one track")
	}
	media := f.Moov.Trak.Mdia
	if media == nil || media.Mdhd == nil || media.Mdhd.Timescale == 0 ||
		media.Minf == nil || media.Minf.Stbl == nil {
		return errors.New("incomplete track")
	}
	c.timescale, c.defaults = float64(media.Mdhd.Timescale), f.Moov.Mvex.Trex
	c.track.Codecs, err = codecs(media.Minf.Stbl.Stsd)
	return err
}

// codecs names a track's codec as RFC 6381 has it: from the avcC of H.264, and mp4a.40.2 for the AAC-LC
// that we write.
func codecs(stsd *mp4.StsdBox) (string, error) {
	switch {
	case stsd == nil:
	case stsd.AvcX != nil && stsd.AvcX.AvcC != nil:
		a := stsd.AvcX.AvcC
		profile := []byte{a.AVCProfileIndication, a.ProfileCompatibility, a.AVCLevelIndication}
		return fmt.Sprintf("avc1.%X", profile), nil
	case stsd.Mp4a != nil:
		return "mp4a.40.2", nil
	}
	return "", errors.New("neither H.264 nor AAC")
}

// fragment begins a movie fragment: it belongs to the segment at hand, or to a new one when that is full.
func (c *cutter) fragment(size int64) error {
	if c.header == nil || c.timescale == 0 {
		return errors.New("a fragment before the init section")
	}
	data, err := c.read(size, maxMoof)
	if err != nil {
		return err
	}
	start, length, err := c.times(data)
	if err != nil {
		return fmt.Errorf("fragment at %d: %w", c.at, err)
	}
	if !c.started && c.track.First == 0 && start != 0 || c.started && start != c.next {
		return fmt.Errorf("fragment at %d begins at tick %d, want %d", c.at, start, c.next)
	}
	c.started, c.next = true, start+length
	if c.out == nil || c.fragments == perSegment {
		if err := c.openSegment(); err != nil {
			return err
		}
	}
	c.fragments++
	c.track.Segments[len(c.track.Segments)-1].Duration += float64(length) / c.timescale
	return c.copy(size)
}

// times returns decode time and length of a movie fragment, in ticks.
func (c *cutter) times(data []byte) (start, length uint64, err error) {
	defer func() { // mp4ff indexes into what it reads
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged boxes: %v", r)
		}
	}()
	box, err := mp4.DecodeBox(0, bytes.NewReader(data))
	if err != nil {
		return 0, 0, err
	}
	moof, ok := box.(*mp4.MoofBox)
	if !ok || len(moof.Trafs) != 1 || moof.Traf.Tfhd == nil || moof.Traf.Tfdt == nil {
		return 0, 0, errors.New("not a fragment of one track")
	}
	for _, trun := range moof.Traf.Truns {
		length += trun.AddSampleDefaultValues(moof.Traf.Tfhd, c.defaults)
	}
	if length == 0 {
		return 0, 0, errors.New("no samples")
	}
	return moof.Traf.Tfdt.BaseMediaDecodeTime(), length, nil
}

func (c *cutter) openSegment() error {
	if err := c.closeSegment(); err != nil {
		return err
	}
	name := fmt.Sprintf(manifest.SegmentName, c.track.First+len(c.track.Segments))
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	c.out, c.fragments = f, 0
	c.track.Segments = append(c.track.Segments, manifest.Segment{})
	return nil
}

func (c *cutter) closeSegment() error {
	if c.out == nil {
		return nil
	}
	err := c.out.Close()
	c.out = nil
	return err
}

// copy appends the box at hand to the open segment.
func (c *cutter) copy(size int64) error {
	if c.out == nil {
		return errors.New("media data before a fragment")
	}
	n, err := io.Copy(c.out, io.NewSectionReader(c.in, c.at, size))
	c.track.Segments[len(c.track.Segments)-1].Size += n
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
