package ffmpeg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/Eyevinn/mp4ff/mp4"
)

// maxMoof is the largest movie fragment header that is read into memory.
const maxMoof = 16 << 20

// tracks measures segments by one reference track, the video if there is one. Source of the boxes: ISO/IEC
// 14496-12, 8.8 (movie fragments).
type tracks struct {
	reference uint32
	timescale uint32
	defaults  *mp4.TrexBox
	next      uint64 // decode time at which the next fragment must begin
	known     bool   // next is set
}

// readInit reads an init section: ftyp and moov with fragment defaults.
func readInit(data []byte) (t tracks, err error) {
	defer func() { // mp4ff panics on some damaged boxes
		if p := recover(); p != nil {
			t, err = tracks{}, failed("segment", "init section: damaged boxes: %v", p)
		}
	}()
	f, err := mp4.DecodeFile(bytes.NewReader(data))
	if err != nil {
		return tracks{}, failed("segment", "init section: %v", err)
	}
	if f.Moov == nil || f.Moov.Mvex == nil || len(f.Moov.Traks) == 0 {
		return tracks{}, failed("segment", "init section: no fragmented movie")
	}
	for _, trak := range f.Moov.Traks {
		if trak.Tkhd == nil || trak.Mdia == nil || trak.Mdia.Mdhd == nil || trak.Mdia.Hdlr == nil {
			return tracks{}, failed("segment", "init section: incomplete track")
		}
		if t.reference == 0 || trak.Mdia.Hdlr.HandlerType == "vide" {
			t.reference, t.timescale = trak.Tkhd.TrackID, trak.Mdia.Mdhd.Timescale
		}
		if trak.Mdia.Hdlr.HandlerType == "vide" {
			break
		}
	}
	if t.timescale == 0 {
		return tracks{}, failed("segment", "init section: timescale 0")
	}
	t.defaults, _ = f.Moov.Mvex.GetTrex(t.reference)
	return t, nil
}

// forget lets the next fragment begin at any time (EXT-X-DISCONTINUITY).
func (t *tracks) forget() { t.known = false }

// segment walks the top-level boxes of one media segment and returns how long its reference track plays, in
// seconds. The boxes must fill the segment exactly, with at least one moof and one mdat.
func (t *tracks) segment(r *io.SectionReader) (length float64, err error) {
	defer func() { // mp4ff panics on some damaged boxes
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged boxes: %v", p)
		}
	}()
	var ticks uint64
	var moofs, mdats int
	for at := int64(0); at < r.Size(); {
		hdr, err := mp4.DecodeHeader(io.NewSectionReader(r, at, r.Size()-at))
		if err != nil {
			return 0, fmt.Errorf("box at %d: %w", at, err)
		}
		if hdr.Size < uint64(hdr.Hdrlen) || hdr.Size > uint64(r.Size()-at) {
			return 0, fmt.Errorf("box %q at %d: %d bytes, %d left", hdr.Name, at, hdr.Size, r.Size()-at)
		}
		switch hdr.Name {
		case "moof":
			d, err := t.fragment(io.NewSectionReader(r, at, int64(hdr.Size)))
			if err != nil {
				return 0, fmt.Errorf("moof at %d: %w", at, err)
			}
			ticks += d
			moofs++
		case "mdat":
			mdats++
		case "moov":
			return 0, errors.New("moov inside of a segment")
		}
		at += int64(hdr.Size)
	}
	if moofs == 0 || mdats == 0 || ticks == 0 {
		return 0, fmt.Errorf("%d moof, %d mdat, %d ticks of media", moofs, mdats, ticks)
	}
	return float64(ticks) / float64(t.timescale), nil
}

// fragment returns the length of the reference track in one moof and checks that it follows the previous
// one.
func (t *tracks) fragment(r *io.SectionReader) (ticks uint64, err error) {
	if r.Size() > maxMoof {
		return 0, fmt.Errorf("%d bytes", r.Size())
	}
	box, err := mp4.DecodeBox(0, r)
	if err != nil {
		return 0, err
	}
	moof, ok := box.(*mp4.MoofBox)
	if !ok {
		return 0, errors.New("not a moof")
	}
	for _, traf := range moof.Trafs {
		if traf.Tfhd == nil || traf.Tfhd.TrackID != t.reference {
			continue
		}
		if traf.Tfdt == nil {
			return 0, errors.New("no tfdt")
		}
		start := traf.Tfdt.BaseMediaDecodeTime()
		if gap := math.Abs(float64(start) - float64(t.next)); t.known && gap > 0.1*float64(t.timescale) {
			return 0, fmt.Errorf("decode time jumps by %.3f s", gap/float64(t.timescale))
		}
		var length uint64
		for _, trun := range traf.Truns {
			length += trun.AddSampleDefaultValues(traf.Tfhd, t.defaults)
		}
		t.next, t.known = start+length, true
		ticks += length
	}
	return ticks, nil
}
