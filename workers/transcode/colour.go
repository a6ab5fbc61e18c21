package transcode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/avc"
)

// Code points of colours (ITU-T H.273). The encoded rungs have BT.709 in all three.
const (
	bt709   = 1
	bt601   = 6
	unknown = 2
)

// nclx returns the content of a colr box (14496-12, 12.1.5): limited range, and BT.709 except for the matrix.
func nclx(matrix byte) []byte {
	return []byte{'n', 'c', 'l', 'x', 0, bt709, 0, bt709, 0, matrix, 0}
}

// tagged returns the AVCDecoderConfigurationRecord (14496-15, 5.3.3.1) with other colour tags in its
// parameter sets: limited range, and BT.709 except for the matrix. Some players use these tags, some the colr
// box, and some guess by the size if a tag is missing. The decoded samples do not change.
func tagged(config []byte, matrix byte) ([]byte, error) {
	const fixed = 6 // bytes before the parameter sets
	if len(config) < fixed {
		return nil, errors.New("the decoder configuration is too short")
	}
	out := bytes.NewBuffer(bytes.Clone(config[:fixed]))
	rest := config[fixed:]
	for range config[fixed-1] & 31 {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, errors.New("the decoder configuration is cut short")
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		set, err := taggedSet(rest[2:end], matrix)
		if err != nil {
			return nil, err
		}
		out.Write(binary.BigEndian.AppendUint16(nil, uint16(len(set))))
		out.Write(set)
		rest = rest[end:]
	}
	out.Write(rest)
	return out.Bytes(), nil
}

// taggedSet returns a sequence parameter set with other colour tags. It fails unless all else is unchanged.
func taggedSet(set []byte, matrix byte) ([]byte, error) {
	before, err := avc.ParseSPSNALUnit(set, true)
	if err != nil {
		return nil, fmt.Errorf("sequence parameter set: %w", err)
	}
	made, err := retag(set, matrix)
	if err != nil {
		return nil, fmt.Errorf("sequence parameter set: %w", err)
	}
	after, err := avc.ParseSPSNALUnit(made, true)
	if err != nil {
		return nil, fmt.Errorf("sequence parameter set with other colours: %w", err)
	}
	if !same(before, after) {
		return nil, errors.New("sequence parameter set: new colours change other values")
	}
	return made, nil
}

// same reports whether two sets are equal except for colours.
func same(a, b *avc.SPS) bool {
	return plain(a) == plain(b)
}

// plain prints a set without its colours.
func plain(s *avc.SPS) string {
	p := *s
	vui := avc.VUIParameters{}
	if p.VUI != nil {
		vui = *p.VUI
	}
	p.VUI, p.NrBytesRead, p.NrBytesBeforeVUI = nil, 0, 0
	vui.VideoSignalTypePresentFlag, vui.VideoFormat, vui.VideoFullRangeFlag = false, 0, false
	vui.ColourDescriptionFlag, vui.ColourPrimaries = false, 0
	vui.TransferCharacteristics, vui.MatrixCoefficients = 0, 0
	if vui.SampleAspectRatioWidth == 0 {
		vui.SampleAspectRatioHeight = 0
	}
	hrd := fmt.Sprintf("%+v %+v", vui.NalHrdParameters, vui.VclHrdParameters)
	vui.NalHrdParameters, vui.VclHrdParameters = nil, nil
	return fmt.Sprintf("%+v %+v %s", p, vui, hrd)
}

// retag writes the colours into a sequence parameter set (H.264, 7.3.2.1.1 and E.1.1). It copies all bits
// before and after them.
func retag(set []byte, matrix byte) ([]byte, error) {
	r := bitReader{data: unescape(set)}
	r.toVUI()
	w := bitWriter{}
	if r.bit() == 0 { // no VUI: add one with colours only
		w.copy(r.data, 0, r.at-1)
		w.bits(0b1_0_0, 3)
		w.colours(5, matrix)
		w.bits(0, 6)
	} else {
		r.toColours()
		w.copy(r.data, 0, r.at)
		format := uint(5) // unspecified
		if r.bit() == 1 {
			format = r.bits(3)
			r.bits(1)
			if r.bit() == 1 {
				r.bits(24)
			}
		}
		w.colours(format, matrix)
	}
	end := r.end()
	if r.short || r.at > end {
		return nil, errors.New("it is cut short")
	}
	w.copy(r.data, r.at, end)
	w.bits(1, 1)
	return escape(w.data), nil
}
