package userimage

import (
	"bufio"
	"encoding/binary"
	"errors"
)

// Markers of a JPEG (ITU-T T.81, table B.1).
const (
	markerSOF0 = 0xc0 // baseline
	markerSOF2 = 0xc2 // progressive
	markerDHT  = 0xc4
	markerJPG  = 0xc8
	markerDAC  = 0xcc
	markerLast = 0xcf // the last of the frame headers
	markerRST0 = 0xd0
	markerRST7 = 0xd7
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerDRI  = 0xdd
)

// jpegWalk is what has been seen of a JPEG.
type jpegWalk struct {
	source
	picture Picture
	framed  bool
	scans   int
}

// walkJPEG walks the segments to the end of the image. What follows it, as previews of cameras do, is not
// read by decoders either. The data of a scan has no marker but restarts, so the next one ends it.
func walkJPEG(s source) (Picture, error) {
	w := jpegWalk{source: s}
	if err := w.skip(2); err != nil { // the start of the image
		return Picture{}, err
	}
	for {
		marker, err := w.marker()
		if err != nil {
			return w.picture, err
		}
		if marker == markerEOI {
			return w.picture, w.end()
		}
		if marker >= markerRST0 && marker <= markerRST7 {
			continue
		}
		if err := w.segment(marker); err != nil {
			return w.picture, err
		}
	}
}

// marker passes over data up to a marker, and over the marker.
func (w *jpegWalk) marker() (byte, error) {
	for {
		if _, err := w.r.ReadSlice(0xff); errors.Is(err, bufio.ErrBufferFull) {
			continue
		} else if err != nil {
			return 0, err
		}
		marker := byte(0xff)
		for marker == 0xff { // any number of them may come before a marker
			var err error
			if marker, err = w.r.ReadByte(); err != nil {
				return 0, err
			}
		}
		if marker != 0 { // 0 stands for an 0xff in the data
			return marker, nil
		}
	}
}

// segment reads the segment of a marker.
func (w *jpegWalk) segment(marker byte) error {
	var length [2]byte
	if err := w.read(length[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint16(length[:])) - 2
	switch {
	case n < 0:
		return refuse("damaged: a segment has a length below 2")
	case marker >= markerSOF0 && marker <= markerLast && marker != markerDHT && marker != markerJPG &&
		marker != markerDAC:
		return w.frame(marker, n)
	case marker == markerDRI && n != 2:
		return refuse("damaged: a restart interval of %d bytes", n)
	case marker == markerSOS:
		if w.scans++; w.scans > MaxScans {
			return refuse("a JPEG of more than %d scans; at most %d are accepted", MaxScans, MaxScans)
		}
		if !w.framed {
			return refuse("damaged: a scan comes before the size of the picture")
		}
	}
	return w.skip(n)
}

// frame reads a frame header of n bytes (T.81, B.2.2).
func (w *jpegWalk) frame(marker byte, n int64) error {
	if w.framed {
		return refuse("a JPEG of more than 1 frame; at most 1 is accepted")
	}
	w.framed = true
	if marker > markerSOF2 {
		return refuse("a JPEG of the kind SOF%d; only baseline and progressive are accepted", marker-markerSOF0)
	}
	var header [6 + 3*4]byte
	if n != 6+3*1 && n != 6+3*3 && n != 6+3*4 {
		return refuse("a JPEG whose frame header has %d bytes; 1, 3 or 4 colours are accepted", n)
	}
	if err := w.read(header[:n]); err != nil {
		return err
	}
	if header[0] != 8 {
		return refuse("a JPEG of %d bits per colour; only 8 are accepted", header[0])
	}
	if int64(header[5]) != (n-6)/3 {
		return refuse("damaged: the frame header has %d bytes for %d colours", n, header[5])
	}
	w.picture.Height = int(binary.BigEndian.Uint16(header[1:]))
	w.picture.Width = int(binary.BigEndian.Uint16(header[3:]))
	blocks, err := w.blocks(header[6:n])
	if err != nil {
		return err
	}
	w.picture.Memory = blocks * 64 // the samples
	if marker == markerSOF2 {
		w.picture.Memory += blocks * 64 * 4 // the coefficients, until the last scan
	}
	if header[5] == 4 {
		w.picture.Memory += 4 * int64(w.picture.Width) * int64(w.picture.Height) // the colours with black
	}
	return w.picture.check()
}

// blocks returns the number of blocks of 8 by 8 samples of all colours; each has three bytes in colours.
func (w *jpegWalk) blocks(colours []byte) (int64, error) {
	unit, h, v := int64(0), int64(1), int64(1)
	for i := 1; i < len(colours); i += 3 {
		across, down := int64(colours[i]>>4), int64(colours[i]&15)
		if across < 1 || across > 4 || down < 1 || down > 4 {
			return 0, refuse("damaged: a colour is sampled %d by %d times", across, down)
		}
		if len(colours) == 3 {
			across, down = 1, 1 // the only colour has every sample, whatever its factors (T.81, A.2)
		}
		unit, h, v = unit+across*down, max(h, across), max(v, down)
	}
	units := func(pixels int, blocks int64) int64 { return (int64(pixels) + 8*blocks - 1) / (8 * blocks) }
	return unit * units(w.picture.Width, h) * units(w.picture.Height, v), nil
}

// end judges the whole image.
func (w *jpegWalk) end() error {
	if w.scans == 0 {
		return refuse("damaged: a JPEG without a picture")
	}
	return nil
}
