package hls

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline/manifest"
)

// readTrack finds the timescale, defaults and codec of the only track in moov, and returns the moov to
// write.
func (c *cutter) readTrack(data []byte) ([]byte, error) {
	box, err := decode(data)
	if err != nil {
		return nil, err
	}
	moov, ok := box.(*mp4.MoovBox)
	if !ok || moov.Mvex == nil || len(moov.Traks) != 1 {
		return nil, errors.New("not a fragmented movie of one track")
	}
	media := moov.Trak.Mdia
	if moov.Trak.Tkhd == nil || media == nil || media.Mdhd == nil || media.Mdhd.Timescale == 0 ||
		media.Minf == nil || media.Minf.Stbl == nil || media.Minf.Stbl.Stsd == nil {
		return nil, errors.New("incomplete track")
	}
	if c.options.Delay > 0 {
		if moov.Trak.Edts != nil {
			return nil, errors.New("it has an edit list of its own")
		}
		Advance(moov.Trak, c.options.Delay)
		if data, err = encode(moov); err != nil {
			return nil, err
		}
	}
	c.track.Timescale, c.defaults = int(media.Mdhd.Timescale), moov.Mvex.Trex
	if c.track.Header, err = setup(moov.Trak, moov.Mvex.Trex); err != nil {
		return nil, err
	}
	if v := media.Minf.Stbl.Stsd.AvcX; v != nil {
		c.track.Width, c.track.Height = int(v.Width), int(v.Height)
	}
	c.track.Codecs, err = codecs(media.Minf.Stbl.Stsd)
	return data, err
}

// decode reads a box with mp4ff.
func decode(data []byte) (box mp4.Box, err error) {
	defer func() { // mp4ff panics on some damaged boxes
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged boxes: %v", r)
		}
	}()
	return mp4.DecodeBox(0, bytes.NewReader(data))
}

func encode(box mp4.Box) ([]byte, error) {
	var b bytes.Buffer
	err := box.Encode(&b)
	return b.Bytes(), err
}

// setup hashes what a decoder needs from an init section: the sample description, the edit list, the
// timescale and the defaults of fragments. It ignores names of tools.
func setup(trak *mp4.TrakBox, defaults *mp4.TrexBox) (string, error) {
	h, media := sha256.New(), trak.Mdia
	if err := media.Minf.Stbl.Stsd.Encode(h); err != nil {
		return "", err
	}
	if trak.Edts != nil {
		if err := trak.Edts.Encode(h); err != nil {
			return "", err
		}
	}
	if defaults != nil {
		if err := defaults.Encode(h); err != nil {
			return "", err
		}
	}
	fmt.Fprint(h, media.Mdhd.Timescale)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// codecs returns a track's codec in the form of RFC 6381: from the avcC of H.264, and mp4a.40.2 for the
// AAC-LC that we write.
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

// fragment adds a movie fragment to the current segment, or to a new one when that is full.
func (c *cutter) fragment(size int64) error {
	if c.header == nil || c.track.Timescale == 0 {
		return errors.New("a fragment before the init section")
	}
	if c.owed > 0 {
		return fmt.Errorf("fragment at %d: the one before it has no data", c.at)
	}
	data, err := c.read(size, maxMoof)
	if err != nil {
		return err
	}
	f, data, err := c.measure(data)
	if err != nil {
		return fmt.Errorf("fragment at %d: %w", c.at, err)
	}
	if f.start != c.next {
		return fmt.Errorf("fragment at %d begins at tick %d, want %d", c.at, f.start, c.next)
	}
	c.next, c.owed = f.start+f.length, f.bytes
	begins, err := c.begins(f.start)
	if err != nil {
		return err
	}
	if begins {
		if err := c.openSegment(); err != nil {
			return err
		}
	}
	c.fragments++
	c.ticks += f.length
	s := &c.track.Segments[len(c.track.Segments)-1]
	s.Duration = float64(c.ticks) / float64(c.track.Timescale)
	if c.key = f.key; f.key > 0 {
		s.Keys = append(s.Keys, manifest.Key{
			Offset: s.Size, Size: int64(len(data)), Duration: float64(f.length) / float64(c.track.Timescale),
		})
	}
	return c.write(data)
}

// begins reports whether a segment begins with the fragment at that decode time.
func (c *cutter) begins(start uint64) (bool, error) {
	begun, at := len(c.track.Segments), float64(start)/float64(c.track.Timescale)
	switch {
	case len(c.options.Borders) == 0:
		return c.out == nil || c.fragments == perSegment, nil
	case begun == len(c.options.Borders) || begun > 0 && at < c.options.Borders[begun]-c.options.Near:
		return false, nil
	case math.Abs(at-c.options.Borders[begun]) > c.options.Near:
		return false, fmt.Errorf("a fragment at %.3f s, want one at %.3f s", at, c.options.Borders[begun])
	}
	return true, nil
}

// addKey adds the keyframe's bytes to its entry. Until then the entry counts only the header.
func (c *cutter) addKey(header int64) {
	if c.key == 0 || len(c.track.Segments) == 0 {
		return
	}
	keys := c.track.Segments[len(c.track.Segments)-1].Keys
	keys[len(keys)-1].Size += header + c.key
	c.key = 0
}

// fragment is the header of a movie fragment.
type fragment struct {
	start, length uint64 // decode time and length, in ticks
	bytes         int64  // of its samples
	key           int64  // bytes of the first sample if it is a keyframe of a picture, else 0
}

// measure reads the header of a movie fragment, and returns the header to write.
func (c *cutter) measure(data []byte) (f fragment, written []byte, err error) {
	box, err := decode(data)
	if err != nil {
		return f, nil, err
	}
	moof, ok := box.(*mp4.MoofBox)
	if !ok || len(moof.Trafs) != 1 || moof.Traf.Tfhd == nil || moof.Traf.Tfdt == nil || moof.Traf.Trun == nil {
		return f, nil, errors.New("not a fragment of one track")
	}
	for _, trun := range moof.Traf.Truns {
		f.length += trun.AddSampleDefaultValues(moof.Traf.Tfhd, c.defaults)
		f.bytes += int64(trun.SizeOfData())
	}
	if f.length == 0 || f.bytes == 0 || len(moof.Traf.Trun.Samples) == 0 {
		return f, nil, errors.New("no samples")
	}
	if s := moof.Traf.Trun.Samples[0]; strings.HasPrefix(c.track.Codecs, "avc") && s.IsSync() {
		f.key = int64(s.Size)
	}
	f.start = moof.Traf.Tfdt.BaseMediaDecodeTime()
	if c.options.Delay == 0 {
		return f, data, nil
	}
	written, err = delay(moof, c.options.Delay)
	return f, written, err
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
	c.out, c.fragments, c.ticks = f, 0, 0
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

// write appends data to the open segment.
func (c *cutter) write(data []byte) error {
	n, err := c.out.Write(data)
	c.track.Segments[len(c.track.Segments)-1].Size += int64(n)
	return err
}

// finish closes the last segment. It fails if the last fragment has no data.
func (c *cutter) finish() error {
	err := c.closeSegment()
	if c.owed > 0 {
		err = errors.Join(errors.New("the last fragment has no data"), err)
	}
	return err
}

// media appends the data of a fragment to the open segment. The box must have all bytes of the samples.
func (c *cutter) media(header, size int64) error {
	if c.out == nil {
		return errors.New("media data before a fragment")
	}
	if size-header < c.owed {
		return fmt.Errorf("data at %d has %d bytes, its samples %d", c.at, size-header, c.owed)
	}
	c.owed = 0
	c.addKey(header)
	return c.copy(size)
}

// copy appends the current box to the open segment.
func (c *cutter) copy(size int64) error {
	n, err := io.Copy(c.out, io.NewSectionReader(c.in, c.at, size))
	c.track.Segments[len(c.track.Segments)-1].Size += n
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
