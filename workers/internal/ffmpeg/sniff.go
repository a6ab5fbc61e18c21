package ffmpeg

import (
	"bytes"
	"slices"
)

// SniffLen is how many bytes from the start of a file Sniff can use.
const SniffLen = 16 << 10

// asfGUID opens every ASF file: the header object's GUID. Source: ASF specification, 3.1.
var asfGUID = []byte("\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9\x00\xAA\x00\x62\xCE\x6C")

// mxfKey opens an MXF header partition. It may come after a run-in of up to 64 KiB, which is not searched.
// Source: SMPTE ST 377-1, 7.1.
var mxfKey = []byte("\x06\x0E\x2B\x34\x02\x05\x01\x01\x0D\x01\x02\x01\x01\x02")

// Sniff returns ffmpeg's demuxer for a file by its first bytes (up to SniffLen; fewer are fine). It only
// knows containers of the allow list. Text (playlists, SDP, XML, subtitles), images and anything doubtful
// are unknown: the caller should refuse those, since attackers target ffmpeg's own guess. A known demuxer
// says how to parse the file, not that the file is whole.
func Sniff(head []byte) (demuxer string, known bool) {
	head = head[:min(len(head), SniffLen)]
	for _, m := range magics {
		if m.match(head) {
			return m.demuxer, true
		}
	}
	return "", false
}

// magics are in order: the certain ones first, bare elementary streams (a two-byte sync word) last.
var magics = []struct {
	demuxer string
	match   func(h []byte) bool
}{
	{"mov", isMP4},
	{"matroska", isMatroska},
	{"ogg", startsWith("OggS\x00")},
	{"avi", isRIFF("AVI ")},
	{"wav", isRIFF("WAVE")},
	{"flv", startsWith("FLV\x01")},
	{"asf", func(h []byte) bool { return bytes.HasPrefix(h, asfGUID) }},
	{"mxf", func(h []byte) bool { return bytes.HasPrefix(h, mxfKey) }},
	{"flac", startsWith("fLaC")},
	{"mpeg", startsWith("\x00\x00\x01\xBA")},
	{"mpegts", isMPEGTS},
	{"mp3", isMP3},
	{"aac", isADTS},
}

func startsWith(magic string) func([]byte) bool {
	return func(h []byte) bool { return bytes.HasPrefix(h, []byte(magic)) }
}

// imageBrands are the brands of images and image sequences, such as AVIF and HEIC. Sources: ISO/IEC
// 23008-12, 10; AV1 Image File Format, 6.
var imageBrands = []string{
	"avif", "avis", "mif1", "msf1", "heic", "heix", "heim", "heis", "crx ",
}

// isMP4 accepts the top-level boxes with which ISO base media and QuickTime files begin, except images.
func isMP4(h []byte) bool {
	if len(h) < 8 {
		return false
	}
	size := uint32(h[0])<<24 | uint32(h[1])<<16 | uint32(h[2])<<8 | uint32(h[3])
	switch string(h[4:8]) {
	case "uuid", "udta": // editors write these first
		return size >= 8 && size <= 1<<24
	case "ftyp":
		return size >= 12 && len(h) >= 12 && !slices.Contains(imageBrands, string(h[8:12]))
	case "styp", "moov", "mdat", "wide", "free", "skip", "pnot":
		return size <= 1 || size >= 8 // 0: to the end of the file; 1: a 64-bit size follows
	}
	return false
}

// isMatroska requires the EBML magic and an allowed document type.
func isMatroska(h []byte) bool {
	if !bytes.HasPrefix(h, []byte("\x1A\x45\xDF\xA3")) {
		return false
	}
	h = h[:min(len(h), 128)]
	return bytes.Contains(h, []byte("matroska")) || bytes.Contains(h, []byte("webm"))
}

func isRIFF(form string) func([]byte) bool {
	return func(h []byte) bool {
		return len(h) >= 12 && (string(h[:4]) == "RIFF" || string(h[:4]) == "RF64") && string(h[8:12]) == form
	}
}

// isMPEGTS requires five sync bytes at a distance of 188 (plain), 192 (M2TS, with a timecode before each
// packet) or 204 (with error correction); in a shorter file, as many as fit, at least two. A recording that
// was cut begins within a packet: then all packets must begin with the sync byte, at least ten. Players
// skip other bytes at the start: after those, twenty plausible packets in a row are required.
func isMPEGTS(h []byte) bool {
	for _, step := range []int{188, 192, 204} {
		for start := 1; start < step && start+9*step < len(h); start++ {
			if synced(h[start:], step) {
				return true
			}
		}
	}
	for _, layout := range []struct{ start, step int }{{0, 188}, {4, 192}, {0, 204}} {
		n := 0
		for at := layout.start; at < len(h) && n < 5 && h[at] == 0x47; at += layout.step {
			n++
		}
		if n == 5 || n >= 2 && layout.start+n*layout.step >= len(h) {
			return true
		}
	}
	return resynced(h)
}

// resynced finds packets of a transport stream after other bytes. A packet has an adaptation field, a
// payload or both. Source: ISO/IEC 13818-1, 2.4.3.3.
func resynced(h []byte) bool {
	for start := range h {
		for _, step := range []int{188, 192, 204} {
			n := 0
			for at := start; at+3 < len(h) && n < 20 && h[at] == 0x47 && h[at+3]&0x30 != 0; at += step {
				n++
			}
			if n == 20 {
				return true
			}
		}
	}
	return false
}

// synced reports whether every packet, of step bytes, begins with the sync byte.
func synced(h []byte, step int) bool {
	for at := 0; at < len(h); at += step {
		if h[at] != 0x47 {
			return false
		}
	}
	return true
}

// isMP3 accepts an ID3v2 tag (only MP3 among our containers has one first) or two layer III frames.
func isMP3(h []byte) bool {
	if len(h) >= 10 && string(h[:3]) == "ID3" && h[3] < 5 && h[6]|h[7]|h[8]|h[9] < 0x80 {
		return true
	}
	size, ok := mp3Frame(h)
	if !ok || size >= len(h) {
		return false
	}
	_, ok = mp3Frame(h[size:])
	return ok
}

// mp3Frame parses one MPEG audio layer III frame header. Source: ISO 11172-3, 2.4.1.3, and 13818-3.
func mp3Frame(h []byte) (size int, ok bool) {
	if len(h) < 4 || h[0] != 0xFF || h[1]&0xE6 != 0xE2 {
		return 0, false
	}
	v1 := [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	v2 := [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}
	rates := [...]int{44100, 48000, 32000, 0}
	version, kbit, hz := h[1]>>3&3, 0, rates[h[2]>>2&3]
	slot := 144
	switch version {
	case 3: // MPEG-1
		kbit = v1[h[2]>>4]
	case 2: // MPEG-2
		kbit, hz, slot = v2[h[2]>>4], hz/2, 72
	case 0: // MPEG-2.5
		kbit, hz, slot = v2[h[2]>>4], hz/4, 72
	}
	if kbit == 0 || hz == 0 {
		return 0, false
	}
	return slot*kbit*1000/hz + int(h[2]>>1&1), true
}

// isADTS requires two ADTS frames in a row. Source: ISO 14496-3, 1.A.2.2.
func isADTS(h []byte) bool {
	frame := func(h []byte) (int, bool) {
		if len(h) < 7 || h[0] != 0xFF || h[1]&0xF6 != 0xF0 {
			return 0, false
		}
		size := int(h[3]&3)<<11 | int(h[4])<<3 | int(h[5])>>5
		return size, size >= 7
	}
	size, ok := frame(h)
	if !ok || size >= len(h) {
		return false
	}
	_, ok = frame(h[size:])
	return ok
}
