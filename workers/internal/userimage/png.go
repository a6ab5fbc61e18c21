package userimage

import (
	"encoding/binary"
)

// Colour types of a PNG (RFC 2083, 4.1.1).
const (
	pngGray      = 0
	pngTrue      = 2
	pngPalette   = 3
	pngGrayAlpha = 4
	pngTrueAlpha = 6
)

// walkPNG walks the chunks to IEND. It reads the contents of IHDR and acTL only: text and profiles stay
// compressed. The pixels are bounded by the size of the picture, since a decoder stops at the last row.
func walkPNG(s source) (p Picture, err error) {
	if err := s.skip(8); err != nil { // the magic
		return p, err
	}
	for n := 1; ; n++ {
		if n > MaxChunks {
			return p, refuse("a PNG of more than %d chunks; at most %d are accepted", MaxChunks, MaxChunks)
		}
		var head [8]byte
		if err := s.read(head[:]); err != nil {
			return p, err
		}
		length, name := int64(binary.BigEndian.Uint32(head[:])), string(head[4:])
		switch {
		case length > 1<<31-1:
			return p, refuse("damaged: a chunk of %d bytes", length)
		case (name == "IHDR") != (n == 1):
			return p, refuse("damaged: the size of the picture must come first, and once")
		case n == 1:
			p, err = pngHeader(s, length)
			length = 0
		case name == "acTL":
			err = pngFrames(s, length)
			length = 0
		}
		if err == nil {
			err = s.skip(length + 4) // and the checksum
		}
		if err != nil || name == "IEND" {
			return p, err
		}
	}
}

// pngHeader reads the contents of IHDR (RFC 2083, 4.1.1).
func pngHeader(s source, length int64) (Picture, error) {
	var b [13]byte
	if length != int64(len(b)) {
		return Picture{}, refuse("damaged: a PNG header of %d bytes", length)
	}
	if err := s.read(b[:]); err != nil {
		return Picture{}, err
	}
	width, height := binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:])
	depth, colour, interlaced := b[8], b[9], b[12] == 1
	p := Picture{Width: int(width), Height: int(height)}
	size := pngPixel(depth, colour)
	switch {
	case size == 0:
		return p, refuse("a PNG of colour type %d with %d bits; the standard has no such kind", colour, depth)
	case b[10] != 0 || b[11] != 0 || b[12] > 1:
		return p, refuse("damaged: a PNG of an unknown compression, filter or order")
	}
	if p.Width <= MaxSide && p.Height <= MaxSide { // otherwise check refuses it
		p.Memory = size * int64(width) * int64(height)
	}
	if interlaced {
		p.Memory += p.Memory / 2 // the last pass is half of the picture, and held beside it
	}
	return p, p.check()
}

// pngPixel returns how many bytes a decoded pixel has at least; 0 for a kind that the standard does not have.
func pngPixel(depth, colour byte) int64 {
	single := colour == pngGray || colour == pngPalette
	several := colour == pngTrue || colour == pngGrayAlpha || colour == pngTrueAlpha
	switch {
	case single && (depth == 1 || depth == 2 || depth == 4 || depth == 8):
		return 1
	case colour == pngGray && depth == 16:
		return 2
	case several && depth == 8:
		return 4
	case several && depth == 16:
		return 8
	}
	return 0
}

// pngFrames reads the contents of acTL, which an animated PNG has (PNG, third edition, 11.3.6.1). Showing the
// first frame only is not what its author meant.
func pngFrames(s source, length int64) error {
	var b [8]byte
	if length != int64(len(b)) {
		return refuse("damaged: an animation header of %d bytes", length)
	}
	if err := s.read(b[:]); err != nil {
		return err
	}
	if frames := binary.BigEndian.Uint32(b[:]); frames > 1 {
		return refuse("an animated PNG of %d frames; at most 1 is accepted", frames)
	}
	return nil
}
