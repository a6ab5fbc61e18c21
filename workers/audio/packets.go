package audio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/Eyevinn/mp4ff/mp4"
)

// Limits of boxes that are read into memory; those of our own files are far smaller.
const (
	maxHead     = 4 << 20
	maxFragment = 64 << 20
)

// packet is one AAC frame as ffmpeg wrote it.
type packet struct {
	time int64 // samples
	data []byte
}

// packets reads the only track, of audio, of a fragmented MP4 that ffmpeg wrote, in constant memory. Source
// of the boxes: ISO/IEC 14496-12, 8.8.
type packets struct {
	in       *os.File
	size     int64
	at       int64
	form     form
	defaults *mp4.TrexBox
}

// openPackets opens the file and reads the header. If the file is missing or empty, it returns io.EOF.
func openPackets(file string) (*packets, error) {
	in, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, io.EOF
	} else if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	p := &packets{in: in, size: info.Size()}
	if p.size == 0 {
		return nil, errors.Join(io.EOF, in.Close())
	}
	if err := p.head(); err != nil {
		return nil, errors.Join(fmt.Errorf("read packets: %w", err), in.Close())
	}
	return p, nil
}

// Close closes the file.
func (p *packets) Close() error { return p.in.Close() }

// head reads the file up to the end of the moov box.
func (p *packets) head() error {
	for p.at < p.size {
		name, size, err := p.box()
		if err != nil {
			return err
		}
		if name == "moov" {
			box, err := p.decode(size, maxHead)
			if err != nil {
				return err
			}
			return p.readForm(box.(*mp4.MoovBox))
		}
		p.at += size
	}
	return errors.New("no header")
}

// box returns the name and the size of the box at p.at.
func (p *packets) box() (name string, size int64, err error) {
	h, err := mp4.DecodeHeader(io.NewSectionReader(p.in, p.at, p.size-p.at))
	if err != nil {
		return "", 0, fmt.Errorf("box at %d: %w", p.at, err)
	}
	if h.Size < uint64(h.Hdrlen) || h.Size > uint64(p.size-p.at) {
		return "", 0, fmt.Errorf("box %q at %d has %d bytes, but only %d are left",
			h.Name, p.at, h.Size, p.size-p.at)
	}
	return h.Name, int64(h.Size), nil
}

// decode reads the box at p.at and moves past it. A box larger than limit is an error.
func (p *packets) decode(size, limit int64) (box mp4.Box, err error) {
	defer func() { // mp4ff panics on some damaged boxes
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged boxes: %v", r)
		}
	}()
	if size > limit {
		return nil, fmt.Errorf("box at %d has %d bytes", p.at, size)
	}
	data := make([]byte, size)
	if _, err := p.in.ReadAt(data, p.at); err != nil {
		return nil, err
	}
	p.at += size
	return mp4.DecodeBox(0, bytes.NewReader(data))
}

func (p *packets) readForm(moov *mp4.MoovBox) error {
	if moov.Mvex == nil || len(moov.Traks) != 1 {
		return errors.New("not a fragmented movie of one track")
	}
	media := moov.Trak.Mdia
	if media == nil || media.Mdhd == nil || media.Minf == nil || media.Minf.Stbl == nil ||
		media.Minf.Stbl.Stsd == nil || media.Minf.Stbl.Stsd.Mp4a == nil {
		return errors.New("not an audio track")
	}
	p.defaults, p.form.rate = moov.Mvex.Trex, int(media.Mdhd.Timescale)
	esds := media.Minf.Stbl.Stsd.Mp4a.Esds
	if esds == nil || esds.DecConfigDescriptor == nil || esds.DecConfigDescriptor.DecSpecificInfo == nil {
		return errors.New("the header has no AAC configuration")
	}
	p.form.config = esds.DecConfigDescriptor.DecSpecificInfo.DecConfig
	return nil
}

// each calls f for every packet, in order.
func (p *packets) each(ctx context.Context, f func(packet) error) error {
	for p.at < p.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, size, err := p.box()
		if err != nil {
			return err
		}
		if name != "moof" {
			p.at += size
			continue
		}
		start := p.at
		box, err := p.decode(size, maxHead)
		if err != nil {
			return err
		}
		if err := p.fragment(box.(*mp4.MoofBox), start, f); err != nil {
			return err
		}
	}
	return nil
}

// fragment calls f for the packets of the moof box at start.
func (p *packets) fragment(moof *mp4.MoofBox, start int64, f func(packet) error) error {
	if len(moof.Trafs) != 1 || moof.Traf.Tfhd == nil || moof.Traf.Tfdt == nil ||
		moof.Traf.Tfhd.HasBaseDataOffset() {
		return errors.New("not a fragment of one track")
	}
	time := int64(moof.Traf.Tfdt.BaseMediaDecodeTime())
	for _, trun := range moof.Traf.Truns {
		trun.AddSampleDefaultValues(moof.Traf.Tfhd, p.defaults)
		size := int64(trun.SizeOfData())
		from := start + int64(trun.DataOffset)
		if !trun.HasDataOffset() || from < start || size > maxFragment || size > p.size-from {
			return fmt.Errorf("fragment at %d: its %d bytes are not in the file", start, size)
		}
		data := make([]byte, size)
		if _, err := p.in.ReadAt(data, from); err != nil {
			return err
		}
		for _, s := range trun.Samples {
			if err := f(packet{time, data[:s.Size:s.Size]}); err != nil {
				return err
			}
			data, time = data[s.Size:], time+int64(s.Dur)
		}
	}
	return nil
}
