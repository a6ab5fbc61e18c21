package sampletable

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/Eyevinn/mp4ff/mp4"
)

// entry is a sample description (8.5.2): how samples are stored.
type entry struct {
	codec  string   // avc1, hvc1, ...; of the first entry
	units  codec    // of samples made of NAL units, else 0
	prefix int      // bytes of the length before each unit
	config []byte   // AudioSpecificConfig of MPEG-4 audio, AVCDecoderConfigurationRecord of H.264
	sets   [][]byte // H.264 parameter sets in config
	alone  bool     // there is no other entry

	width, height int // of video
}

// codec says how to read the NAL units in a sample.
type codec int

const (
	h264 codec = iota + 1
	hevc
)

// visualEntry is the length of the fixed fields of a video entry (12.1.3.2), after its box header.
const visualEntry = 78

// read reads stsd. If it cannot, the format of the samples is unknown.
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
		if e.codec == "mp4a" {
			e.sound(first.inside)
		} else if len(first.inside) > visualEntry {
			e.width = int(binary.BigEndian.Uint16(first.inside[24:]))
			e.height = int(binary.BigEndian.Uint16(first.inside[26:]))
			e.configuration(first.inside[visualEntry:])
		}
		break
	}
	return nil
}

// configuration finds avcC (14496-15, 5.3.3.1) or hvcC (8.3.3.1). In both, the fixed part ends with the
// size of lengths minus one.
func (e *entry) configuration(extensions []byte) {
	for b, err := range boxes(extensions) {
		switch {
		case err != nil: // QuickTime ends a list with four zeros
			return
		case b.name == "avcC" && (e.codec == "avc1" || e.codec == "avc3") && len(b.inside) > 4:
			e.units, e.prefix = h264, int(b.inside[4]&3)+1
			if avcC, err := decode[*mp4.AvcCBox](b); err == nil {
				e.config, e.sets = b.inside, slices.Concat(avcC.SPSnalus, avcC.PPSnalus)
			}
		case b.name == "hvcC" && (e.codec == "hvc1" || e.codec == "hev1") && len(b.inside) > 21:
			e.units, e.prefix = hevc, int(b.inside[21]&3)+1
		}
	}
}

// Lengths of the fixed fields of an audio entry (12.2.3.2), after its box header, and of what version 1 of
// QuickTime adds.
const (
	audioEntry      = 28
	audioEntryMovie = 16
)

// mpeg4Sound is the object type of AAC (14496-1, 7.2.6.6).
const mpeg4Sound = 0x40

// sound finds the configuration in an esds box (14496-14, 5.6), which QuickTime puts into a wave box.
func (e *entry) sound(inside []byte) {
	start := audioEntry
	if len(inside) >= audioEntry && binary.BigEndian.Uint16(inside[8:]) == 1 {
		start += audioEntryMovie
	}
	if len(inside) < start {
		return
	}
	e.descriptor(inside[start:], true)
}

func (e *entry) descriptor(data []byte, outer bool) {
	for b, err := range boxes(data) {
		switch {
		case err != nil: // QuickTime ends a list with four zeros
			return
		case b.name == "wave" && outer:
			e.descriptor(b.inside, false)
		case b.name == "esds":
			d, err := decode[*mp4.EsdsBox](b)
			if err == nil && d.DecConfigDescriptor != nil && d.DecConfigDescriptor.ObjectType == mpeg4Sound &&
				d.DecConfigDescriptor.DecSpecificInfo != nil {
				e.config = d.DecConfigDescriptor.DecSpecificInfo.DecConfig
			}
		}
	}
}

// known reports whether samples can be checked or need no check. Samples of H.264 and HEVC, under all their
// names, and encrypted ones need it.
func (e entry) known() bool {
	switch e.codec {
	case "avc1", "avc3", "hvc1", "hev1", "dva1", "dvav", "dvh1", "dvhe", "encv":
		return e.units != 0
	}
	return true
}
