package inspect

import (
	"bytes"
	"fmt"
	"io"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

// encrypted returns an error that names the encrypted track; nil if there is none, or if the headers cannot
// be read. It reads the headers itself, since ffprobe shows the codec below the encryption, and ffmpeg
// decodes garbage without an error.
func encrypted(file io.ReaderAt, size int64, demuxer string, head []byte) error {
	what := ""
	switch demuxer {
	case "mov":
		found, _ := sampletable.FindProtected(file, size) // ffprobe refuses what cannot be read
		if len(found) > 0 {
			p := found[0]
			what = fmt.Sprintf("stream %d is encrypted (%s %s)", p.Track, p.Entry, p.Scheme)
		}
	case "matroska":
		if number := encryptedMatroska(file, size); number > 0 {
			what = fmt.Sprintf("track %d is encrypted (ContentEncryption)", number)
		}
	case "asf":
		if drm(head) {
			what = "the file is protected by Windows Media DRM"
		}
	case "mpegts":
		if most(scrambling(head)) {
			what = "the transport stream is scrambled"
		}
	case "mpeg":
		if scrambledProgram(head) {
			what = "the program stream is scrambled"
		}
	}
	if what == "" {
		return nil
	}
	return pipeline.Fail(pipeline.CodeEncrypted, "%s", what)
}

// The Matroska elements that lead to ContentEncryption. Source: RFC 9559, 5.1.
const (
	idSegment           = 0x18538067
	idTracks            = 0x1654ae6b
	idTrackEntry        = 0xae
	idTrackNumber       = 0xd7
	idTrackType         = 0x83
	idContentEncodings  = 0x6d80
	idContentEncoding   = 0x6240
	idContentEncryption = 0x5035
	idCluster           = 0x1f43b675
)

// Limits of reading Matroska.
const (
	maxElements = 1000    // beside Tracks
	maxTracks   = 4 << 20 // bytes
)

// encryptedMatroska returns the number of the first encrypted video or audio track, at least 1; 0 if there
// is none.
func encryptedMatroska(file io.ReaderAt, size int64) int {
	at := int64(0)
	for range maxElements {
		var header [12]byte
		n, _ := file.ReadAt(header[:], at) // short reads at the end of the file are fine
		id, length, start := element(header[:n])
		switch {
		case start == 0, id == idCluster:
			return 0
		case id == idSegment:
			at += int64(start)
			continue
		case length > uint64(size):
			return 0
		case id == idTracks:
			tracks := make([]byte, min(length, maxTracks))
			n, _ := file.ReadAt(tracks, at+int64(start)) // a truncated element is read as far as it goes
			return encryptedTrack(tracks[:n])
		}
		at += int64(start) + int64(length)
	}
	return 0
}

func encryptedTrack(tracks []byte) int {
	found := 0
	each(tracks, func(id uint64, entry []byte) {
		number, kind, hidden := 1, 0, false
		if id != idTrackEntry || found > 0 {
			return
		}
		each(entry, func(id uint64, data []byte) {
			switch id {
			case idTrackNumber:
				number = max(1, int(unsigned(data)))
			case idTrackType:
				kind = int(unsigned(data))
			case idContentEncodings:
				each(data, func(id uint64, encoding []byte) {
					each(encoding, func(inner uint64, _ []byte) {
						hidden = hidden || id == idContentEncoding && inner == idContentEncryption
					})
				})
			}
		})
		if hidden && (kind == 1 || kind == 2) { // video or audio
			found = number
		}
	})
	return found
}

// unsigned parses a number of any length; 0 for one of more than 8 bytes. It may begin with zeros. Numbers
// above 255 are of no track that matters here. Source: RFC 8794, 7.2.
func unsigned(data []byte) byte {
	if len(data) == 0 || len(data) > 8 {
		return 0
	}
	for _, b := range data[:len(data)-1] {
		if b != 0 {
			return 0
		}
	}
	return data[len(data)-1]
}

// each visits the elements in data. The end of data may truncate the last one.
func each(data []byte, visit func(id uint64, inside []byte)) {
	for {
		id, length, start := element(data)
		if start == 0 {
			return
		}
		data = data[start:]
		n := min(length, uint64(len(data)))
		visit(id, data[:n])
		data = data[n:]
	}
}

// element parses the header of an element: its id, the length of its contents, and where they start; 0 if
// there is no header. An unknown length is the largest number. Source: RFC 8794, 4 to 6.
func element(data []byte) (id, length uint64, start int) {
	n := vint(data)
	if n == 0 || n > 4 {
		return 0, 0, 0
	}
	for _, b := range data[:n] {
		id = id<<8 | uint64(b)
	}
	m := vint(data[n:])
	if m == 0 {
		return 0, 0, 0
	}
	unknown := true
	for i, b := range data[n : n+m] {
		mask := byte(0xff)
		if i == 0 {
			mask = byte(0xff >> m)
		}
		length = length<<8 | uint64(b&mask)
		unknown = unknown && b&mask == mask
	}
	if unknown {
		length = 1 << 62
	}
	return id, length, n + m
}

// vint returns how many bytes the number at the start of data has; 0 if it is truncated.
func vint(data []byte) int {
	for n := 1; n <= 8 && n <= len(data); n++ {
		if data[0]&(0x80>>(n-1)) != 0 {
			return n
		}
	}
	return 0
}

// drmObjects are the headers of encrypted Windows Media. Source: ASF Specification, 3.14 to 3.16.
var drmObjects = [][]byte{
	{0xfb, 0xb3, 0x11, 0x22, 0x23, 0xbd, 0xd2, 0x11, 0xb4, 0xb7, 0x00, 0xa0, 0xc9, 0x55, 0xfc, 0x6e},
	{0x14, 0xe6, 0x8a, 0x29, 0x22, 0x26, 0x17, 0x4c, 0xb9, 0x35, 0xda, 0xe0, 0x7e, 0xe9, 0x28, 0x9c},
	{0x33, 0x85, 0x05, 0x43, 0x81, 0x69, 0xe6, 0x49, 0x9b, 0x74, 0xad, 0x12, 0xcb, 0x86, 0xd5, 0x8c},
}

func drm(head []byte) bool {
	for _, object := range drmObjects {
		if bytes.Contains(head, object) {
			return true
		}
	}
	return false
}
