package transcode

import (
	"bytes"
	"slices"

	"github.com/Eyevinn/mp4ff/avc"
)

// bitReader reads the bits of a sequence parameter set, from its header on, without emulation prevention
// bytes.
type bitReader struct {
	data  []byte
	at    int  // bits read
	short bool // the data ended before the bits asked for
}

func (r *bitReader) bit() uint {
	if r.at >= 8*len(r.data) {
		r.short = true
		return 0
	}
	b := r.data[r.at/8] >> (7 - r.at%8) & 1
	r.at++
	return uint(b)
}

func (r *bitReader) bits(n int) (v uint) {
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

// ue reads an Exp-Golomb code (9.1); a signed one takes the same bits.
func (r *bitReader) ue() uint {
	zeros := 0
	for r.bit() == 0 && zeros < 32 && !r.short {
		zeros++
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// end returns the position of the last bit that is 1, which ends the data (7.3.2.11).
func (r *bitReader) end() int {
	for at := 8*len(r.data) - 1; at >= 0; at-- {
		if r.data[at/8]>>(7-at%8)&1 == 1 {
			return at
		}
	}
	return 0
}

// withChroma are the profiles whose sets have fields for chroma and scaling.
var withChroma = []uint{100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}

// toVUI reads up to vui_parameters_present_flag (7.3.2.1.1).
func (r *bitReader) toVUI() {
	r.bits(8)
	profile := r.bits(8)
	r.bits(16)
	r.ue()
	if slices.Contains(withChroma, profile) {
		r.chroma()
	}
	r.ue()
	switch r.ue() { // the type of picture order count
	case 0:
		r.ue()
	case 1:
		r.bit()
		r.ue()
		r.ue()
		for n := r.ue(); n > 0 && !r.short; n-- {
			r.ue()
		}
	}
	r.ue()
	r.bit()
	r.ue()
	r.ue()
	if r.bit() == 0 { // fields
		r.bit()
	}
	r.bit()
	if r.bit() == 1 { // cropping
		for range 4 {
			r.ue()
		}
	}
}

func (r *bitReader) chroma() {
	lists := 8
	if r.ue() == 3 {
		r.bit()
		lists = 12
	}
	r.ue()
	r.ue()
	r.bit()
	if r.bit() == 0 {
		return
	}
	for n := range lists {
		if r.bit() == 0 {
			continue
		}
		size := 16
		if n >= 6 {
			size = 64
		}
		r.scaling(size)
	}
}

// scaling reads a scaling list (7.3.2.1.1.1).
func (r *bitReader) scaling(size int) {
	last, next := 8, 8
	for range size {
		if next != 0 {
			code := int(r.ue())
			delta := (code + 1) / 2
			if code%2 == 0 {
				delta = -delta
			}
			next = (last + delta + 256) % 256
		}
		if next != 0 {
			last = next
		}
	}
}

// toColours reads from after vui_parameters_present_flag up to video_signal_type_present_flag (E.1.1).
func (r *bitReader) toColours() {
	if r.bit() == 1 && r.bits(8) == avc.ExtendedSAR {
		r.bits(32)
	}
	if r.bit() == 1 {
		r.bit()
	}
}

// bitWriter writes bits into bytes.
type bitWriter struct {
	data []byte
	at   int
}

func (w *bitWriter) bits(v uint, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.at%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.at/8] |= byte(v>>i&1) << (7 - w.at%8)
		w.at++
	}
}

// copy writes the bits [from, to) of data.
func (w *bitWriter) copy(data []byte, from, to int) {
	r := bitReader{data: data, at: from}
	for r.at < to && !r.short {
		w.bits(r.bit(), 1)
	}
}

// colours writes video_signal_type_present_flag and the fields that follow it: limited range, and BT.709
// except for the matrix.
func (w *bitWriter) colours(format uint, matrix byte) {
	w.bits(1, 1)
	w.bits(format, 3)
	w.bits(0b0_1, 2)
	w.bits(bt709<<16|bt709<<8|uint(matrix), 24)
}

// unescape removes the bytes that prevent a start code within a unit (7.4.1).
func unescape(unit []byte) []byte {
	var out []byte
	zeros := 0
	for _, b := range unit {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		zeros++
		if b != 0 {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}

// escape inserts the bytes that unescape removes.
func escape(unit []byte) []byte {
	var out bytes.Buffer
	zeros := 0
	for _, b := range unit {
		if zeros == 2 && b <= 3 {
			out.WriteByte(3)
			zeros = 0
		}
		zeros++
		if b != 0 {
			zeros = 0
		}
		out.WriteByte(b)
	}
	return out.Bytes()
}
