package audio

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/Eyevinn/mp4ff/mp4"
)

// trackID is that of the one track of a rendition.
const trackID = 1

// encodedForm is the form of all sound that we encode, but for parts of tracks that are copied otherwise:
// AAC-LC, 48 kHz, stereo, and the word that there is no SBR, which is what ffmpeg's encoder says, too.
var encodedForm = form{48000, 2, []byte{0x11, 0x90, 0x56, 0xe5, 0x00}}

// form is what the header of a track says of its sound.
type form struct {
	rate     int    // samples/s
	channels int    // 1 or 2
	config   []byte // AudioSpecificConfig
}

// like reports that frames of one form can follow on those of another. The first 13 bits of a configuration
// are type, rate and channels; the next three are 0 in all of ours. Source: ISO/IEC 14496-3, 1.6.2.1.
func (f form) like(other form) bool {
	return len(f.config) >= 2 && len(other.config) >= 2 && bytes.Equal(f.config[:2], other.config[:2])
}

// silentFrame is an AAC-LC frame of zeros.
func (f form) silentFrame() []byte {
	if f.channels == 1 {
		return []byte{0x00, 0xc8, 0x00, 0x80, 0x23, 0x80}
	}
	return []byte{0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80}
}

// header returns the init section of a rendition: the same bytes for the same arguments.
func header(f form, language string) ([]byte, error) {
	if len(language) != 3 {
		language = "und"
	}
	head := mp4.CreateEmptyInit()
	trak := head.AddEmptyTrack(uint32(f.rate), "audio", language)
	trak.Mdia.Minf.Stbl.Stsd.AddChild(mp4.CreateAudioSampleEntryBox("mp4a",
		uint16(f.channels), 16, uint16(f.rate), mp4.CreateEsdsBox(f.config)))
	var b bytes.Buffer
	if err := head.Encode(&b); err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	return b.Bytes(), nil
}

// headerName is the hash that says that two headers are equal.
func headerName(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
