package main

import (
	"encoding/binary"
	"fmt"
)

// ebml writes an element with a length of 8 bytes (RFC 8794, 4 to 6).
func ebml(id uint32, parts ...[]byte) []byte {
	inside := cat(parts...)
	return cat(ebmlHead(id, uint64(len(inside))), inside)
}

// ebmlHead writes the header of an element that claims a length; ebmlUnknown is an unknown length.
func ebmlHead(id uint32, length uint64) []byte {
	name := be32(id)
	for name[0] == 0 {
		name = name[1:]
	}
	return cat(name, be64(length|1<<56))
}

const ebmlUnknown = 1<<56 - 1

// ebmlUint writes a number.
func ebmlUint(id uint32, n uint64) []byte { return ebml(id, be64(n)) }

// The elements of Matroska that are written (RFC 9559, 5.1).
const (
	mkSegment     = 0x18538067
	mkInfo        = 0x1549a966
	mkScale       = 0x2ad7b1
	mkTracks      = 0x1654ae6b
	mkEntry       = 0xae
	mkNumber      = 0xd7
	mkUID         = 0x73c5
	mkType        = 0x83
	mkCodec       = 0x86
	mkPrivate     = 0x63a2
	mkVideo       = 0xe0
	mkWidth       = 0xb0
	mkHeight      = 0xba
	mkAudio       = 0xe1
	mkCluster     = 0x1f43b675
	mkTime        = 0xe7
	mkSimpleBlock = 0xa3
	mkEncodings   = 0x6d80
	mkEncoding    = 0x6240
	mkScope       = 0x5032
	mkKind        = 0x5033
	mkCompression = 0x5034
	mkAlgorithm   = 0x4254
	mkSettings    = 0x4255
	mkEncryption  = 0x5035
	mkVoid        = 0xec
	mkChapters    = 0x1043a770
	mkTags        = 0x1254c367
	mkAttachments = 0x1941a469
	mkAttached    = 0x61a7
)

// webm is a Matroska file of VP8 that is made from nothing.
type webm struct {
	info   []byte // more of Info
	entry  []byte // more of the track
	size   [2]uint64
	track  []byte   // more tracks
	middle []byte   // between Tracks and the first Cluster
	frames [][]byte // of VP8
	times  []int64  // of the frames, in ms; 40 ms apart when nil
	kind   string   // document type; webm when empty
}

// head is the header of EBML.
func (w webm) head() []byte {
	kind := w.kind
	if kind == "" {
		kind = "webm"
	}
	return ebml(0x1a45dfa3, ebmlUint(0x4286, 1), ebmlUint(0x42f7, 1), ebmlUint(0x42f2, 4), ebmlUint(0x42f3, 8),
		ebml(0x4282, []byte(kind)), ebmlUint(0x4287, 4), ebmlUint(0x4285, 2))
}

// parts are what is in the segment.
func (w webm) parts() []byte {
	size := w.size
	if size == [2]uint64{} {
		size = [2]uint64{320, 180}
	}
	entry := ebml(mkEntry, ebmlUint(mkNumber, 1), ebmlUint(mkUID, 1), ebmlUint(mkType, 1),
		ebml(mkCodec, []byte("V_VP8")), ebml(mkVideo, ebmlUint(mkWidth, size[0]), ebmlUint(mkHeight, size[1])),
		w.entry)
	var clusters []byte
	for i, f := range w.frames {
		at := int64(i) * 40
		if w.times != nil {
			at = w.times[i]
		}
		block := cat([]byte{0x81, 0, 0, 0x80}, f)
		clusters = append(clusters, ebml(mkCluster, ebmlUint(mkTime, uint64(at)), ebml(mkSimpleBlock, block))...)
	}
	return cat(ebml(mkInfo, ebmlUint(mkScale, 1_000_000), w.info), ebml(mkTracks, entry, w.track), w.middle,
		clusters)
}

func (w webm) bytes() []byte { return cat(w.head(), ebml(mkSegment, w.parts())) }

// ivfFrames returns the frames of an IVF file.
func ivfFrames(ivf []byte) (frames [][]byte, err error) {
	for at := 32; at+12 <= len(ivf); {
		n := int(binary.LittleEndian.Uint32(ivf[at:]))
		if at+12+n > len(ivf) {
			return nil, fmt.Errorf("IVF: a frame of %d bytes at %d", n, at)
		}
		frames, at = append(frames, ivf[at+12:at+12+n]), at+12+n
	}
	return frames, nil
}

// ofVP8 makes a file from the frames of the first input, an IVF file.
func ofVP8(change func(l lab, frames [][]byte) []byte) func(lab, [][]byte) ([]byte, error) {
	return func(l lab, in [][]byte) ([]byte, error) {
		frames, err := ivfFrames(in[0])
		if err != nil {
			return nil, err
		}
		return change(l, frames), nil
	}
}
