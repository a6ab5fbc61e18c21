package userimage

import (
	"bytes"
	"encoding/binary"
)

// webpWalk is what has been seen of a WebP (RFC 9649).
type webpWalk struct {
	source
	canvas  Picture // of an extended file; zero: none
	picture Picture
	framed  bool
	alpha   bool
}

// walkWebP walks the chunks to the end that the RIFF header gives.
func walkWebP(s source) (Picture, error) {
	var head [12]byte
	if err := s.read(head[:]); err != nil {
		return Picture{}, err
	}
	w := webpWalk{source: s}
	left := int64(binary.LittleEndian.Uint32(head[4:])) - 4
	for n := 1; left > 0; n++ {
		if n > MaxChunks {
			return w.picture, refuse("a WebP of more than %d chunks; at most %d are accepted", MaxChunks, MaxChunks)
		}
		var chunk [8]byte
		if left < int64(len(chunk)) {
			return w.picture, refuse("damaged: its last chunk has %d bytes", left)
		}
		if err := w.read(chunk[:]); err != nil {
			return w.picture, err
		}
		left -= int64(len(chunk))
		length := int64(binary.LittleEndian.Uint32(chunk[4:]))
		if length+length%2 > left {
			return w.picture, refuse("damaged: a chunk of %d bytes in the last %d bytes", length, left)
		}
		left -= length + length%2
		if err := w.chunk(string(chunk[:4]), length); err != nil {
			return w.picture, err
		}
	}
	if !w.framed {
		return w.picture, refuse("damaged: a WebP without a picture")
	}
	return w.picture, nil
}

// chunk reads a chunk of length bytes, and the padding after it.
func (w *webpWalk) chunk(name string, length int64) error {
	var b [10]byte
	n := 0
	switch name {
	case "ANIM", "ANMF":
		return refuse("an animated WebP; at most 1 frame is accepted")
	case "VP8X", "VP8 ":
		n = 10
	case "VP8L":
		n = 5
	case "ALPH":
		w.alpha = true
	}
	if int64(n) > length {
		return refuse("damaged: a chunk %s of %d bytes", name, length)
	}
	if err := w.read(b[:n]); err != nil {
		return err
	}
	if err := w.header(name, b); err != nil {
		return err
	}
	return w.skip(length - int64(n) + length%2)
}

// header judges the first bytes of a chunk.
func (w *webpWalk) header(name string, b [10]byte) error {
	switch name {
	case "VP8X": // RFC 9649, 2.7: flags, then the size of the canvas
		if b[0]&2 != 0 {
			return refuse("an animated WebP; at most 1 frame is accepted")
		}
		if w.canvas.Width != 0 {
			return refuse("damaged: a WebP with two canvases")
		}
		w.canvas = Picture{Width: 1 + int(uint24(b[4:])), Height: 1 + int(uint24(b[7:]))}
		return w.canvas.check()
	case "VP8 ": // RFC 6386, 9.1: the header of a key frame
		if b[0]&1 != 0 || !bytes.Equal(b[3:6], []byte{0x9d, 0x01, 0x2a}) {
			return refuse("damaged: a WebP that does not begin with a whole picture")
		}
		width := int(binary.LittleEndian.Uint16(b[6:]) & 0x3fff)
		height := int(binary.LittleEndian.Uint16(b[8:]) & 0x3fff)
		size := int64(width) * int64(height)
		p := Picture{Width: width, Height: height, Memory: size * 3 / 2}
		if w.alpha {
			p.Memory += size
		}
		return w.frame(p)
	case "VP8L": // RFC 9649, 3.4: 14 bits each, of the size minus 1
		if b[0] != 0x2f {
			return refuse("damaged: a WebP of an unknown compression")
		}
		bits := binary.LittleEndian.Uint32(b[1:])
		p := Picture{Width: 1 + int(bits&0x3fff), Height: 1 + int(bits>>14&0x3fff)}
		p.Memory = 4 * int64(p.Width) * int64(p.Height)
		return w.frame(p)
	}
	return nil
}

// frame judges the picture of the file.
func (w *webpWalk) frame(p Picture) error {
	if w.framed {
		return refuse("a WebP of more than 1 frame; at most 1 is accepted")
	}
	w.framed, w.picture = true, p
	if w.canvas.Width != 0 && (w.canvas.Width != p.Width || w.canvas.Height != p.Height) {
		return refuse("damaged: a picture of %dx%d pixels on a canvas of %dx%d",
			p.Width, p.Height, w.canvas.Width, w.canvas.Height)
	}
	return p.check()
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }
