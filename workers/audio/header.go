package audio

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/Eyevinn/mp4ff/mp4"
)

// trackID is the id of a rendition's only track.
const trackID = 1

// encodedForm is the form of all encoded audio, except for parts of tracks whose other parts are copied:
// AAC-LC, 48 kHz, stereo, and a flag that says that there is no SBR, as ffmpeg's encoder writes it.
var encodedForm = form{48000, 2, []byte{0x11, 0x90, 0x56, 0xe5, 0x00}}

// form is the audio format in the header of a track.
type form struct {
	rate     int    // samples/s
	channels int    // 1 or 2
	config   []byte // AudioSpecificConfig
}

// like reports whether frames of the two forms can be in one track. The first 13 bits of a configuration are
// type, rate and channels; here the next three are always 0. Source: ISO/IEC 14496-3, 1.6.2.1.
func (f form) like(other form) bool {
	return len(f.config) >= 2 && len(other.config) >= 2 && bytes.Equal(f.config[:2], other.config[:2])
}

// silentFrame returns an AAC-LC frame of silence.
func (f form) silentFrame() []byte {
	if f.channels == 1 {
		return []byte{0x00, 0xc8, 0x00, 0x80, 0x23, 0x80}
	}
	return []byte{0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80}
}

// header returns the init section of a rendition. The same arguments give the same bytes.
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

// headerName returns the hash of a header. Equal headers have the same hash.
func headerName(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
