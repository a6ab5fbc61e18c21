package sampletable

import (
	"bytes"
	"io"
	"slices"

	"github.com/Eyevinn/mp4ff/avc"
	hevcnal "github.com/Eyevinn/mp4ff/hevc"
)

// look is what the units of a sample show.
type look struct {
	opens   bool // decoding can begin with the picture of the first slice
	whole   bool // valid units fill the sample exactly; only known if all are read
	changes bool // one is an H.264 parameter set that the header lacks
}

// units walks the NAL units of a sample, each after its length (14496-15, 4.3.2), up to the first slice or,
// with all, to the end.
func (f *File) units(s sample, e entry, all bool) (l look, err error) {
	at, end := s.offset, s.offset+s.size
	slice := false
	for at < end {
		head, err := f.window.peek(at, int(min(end-at, int64(e.prefix)+1)))
		if err != nil {
			return look{}, err
		}
		if len(head) <= e.prefix {
			return l, nil
		}
		length := int64(0)
		for _, b := range head[:e.prefix] {
			length = length<<8 | int64(b)
		}
		first := head[e.prefix]
		isSlice, entry, ok := e.units.classify(first)
		body := at + int64(e.prefix)
		at = body + length
		if !ok || length == 0 || at > end {
			return l, nil
		}
		if e.units == h264 && parameters(first) {
			if known, err := f.configured(body, length, e); err != nil || !known {
				l.changes = true
			}
		}
		if isSlice && !slice {
			slice, l.opens = true, entry
			if !all {
				return l, nil
			}
		}
	}
	l.whole = slice
	return l, nil
}

// parameters reports whether a unit's first byte is that of an H.264 parameter set.
func parameters(first byte) bool {
	n := avc.GetNaluType(first)
	return n == avc.NALU_SPS || n == avc.NALU_PPS
}

// configured reports whether the header has the same parameter set as the file has at that place.
func (f *File) configured(at, length int64, e entry) (bool, error) {
	if length > int64(len(f.window.block)) {
		return false, nil
	}
	unit, err := f.window.peek(at, int(length))
	if err != nil {
		return false, err
	}
	return e.has(unit), nil
}

// has reports whether the configuration has this unit as a parameter set.
func (e entry) has(unit []byte) bool {
	return slices.ContainsFunc(e.sets, func(set []byte) bool { return bytes.Equal(set, unit) })
}

// classify reads the first byte of a unit: whether it is a slice, and whether decoding can begin with its
// picture. ok is false for what no encoder writes: a set forbidden bit, and type 0 of H.264. Source: ITU-T
// H.264 and H.265, 7.3.1 and 7.4.
func (c codec) classify(first byte) (slice, opens, ok bool) {
	if c == h264 {
		n := avc.GetNaluType(first)
		return n >= avc.NALU_NON_IDR && n <= avc.NALU_IDR, n == avc.NALU_IDR, first < 0x80 && n != 0
	}
	n := hevcnal.GetNaluType(first)
	opens = n >= hevcnal.NALU_BLA_W_LP && n <= hevcnal.NALU_CRA
	return n < 32, opens, first < 0x80
}

// window reads a file in small pieces, a block at a time: most pieces are close to the previous one.
type window struct {
	r     io.ReaderAt
	block [4096]byte
	at    int64
	n     int
}

// peek returns n bytes, or fewer at the end of the file. They are valid until the next call.
func (w *window) peek(at int64, n int) ([]byte, error) {
	if at < w.at || at+int64(n) > w.at+int64(w.n) {
		read, err := w.r.ReadAt(w.block[:], at)
		if err != nil && err != io.EOF {
			w.n = 0
			return nil, err
		}
		w.at, w.n = at, read
	}
	start := int(at - w.at)
	return w.block[start:min(w.n, start+n)], nil
}
