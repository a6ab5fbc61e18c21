package sampletable

import (
	"encoding/binary"
	"errors"
)

// entry is what a sample description (8.5.2) says of how samples are written.
type entry struct {
	codec  string // avc1, hvc1, ...; of the first entry
	units  codec  // of samples made of NAL units; 0 for all others
	prefix int    // bytes of the length before each unit
	alone  bool   // there is no other entry
}

// codec says how the NAL units in a sample are read.
type codec int

const (
	h264 codec = iota + 1
	hevc
)

// visualEntry is how long the fixed fields of a picture's entry are (12.1.3.2), from its box header on.
const visualEntry = 78

// read reads stsd. Where it cannot, the samples are of no known make.
func (e *entry) read(b box) error {
	if len(b.inside) < 8 {
		return errors.New("short stsd")
	}
	e.alone = binary.BigEndian.Uint32(b.inside[4:]) == 1
	for first, err := range boxes(b.inside[8:]) {
		if err != nil {
			return err
		}
		e.codec = first.name
		if len(first.inside) > visualEntry {
			e.configuration(first.inside[visualEntry:])
		}
		break
	}
	return nil
}

// configuration finds avcC (14496-15, 5.3.3.1) or hvcC (8.3.3.1), both of which end their fixed part with the
// size of lengths, less one.
func (e *entry) configuration(extensions []byte) {
	for b, err := range boxes(extensions) {
		switch {
		case err != nil: // QuickTime ends a list with four zeros
			return
		case b.name == "avcC" && (e.codec == "avc1" || e.codec == "avc3") && len(b.inside) > 4:
			e.units, e.prefix = h264, int(b.inside[4]&3)+1
		case b.name == "hvcC" && (e.codec == "hvc1" || e.codec == "hev1") && len(b.inside) > 21:
			e.units, e.prefix = hevc, int(b.inside[21]&3)+1
		}
	}
}

// known reports that samples can be looked at, or need not be: those of H.264 and HEVC under all their names,
// and encrypted ones, must.
func (e entry) known() bool {
	switch e.codec {
	case "avc1", "avc3", "hvc1", "hev1", "dva1", "dvav", "dvh1", "dvhe", "encv":
		return e.units != 0
	}
	return true
}
