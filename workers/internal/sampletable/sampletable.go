// Package sampletable reads the index of a progressive MP4 or QuickTime file. Without decoding, it reports
// where the keyframes of a track are, whether every sample is where the index says, and what the edit list
// does.
//
//  1. Read finds moov among the top-level boxes and reads the few boxes of each track that matter. mp4ff
//     decodes those; Read skips everything else in moov, so an odd tag does no harm.
//  2. File.Picture reads the samples of a video track once, in decoding order, and checks the NAL units of
//     H.264 and HEVC in the file itself.
//  3. File.Edits compares an edit list with the times of the samples.
//  4. File.Frames finds the frames of an AAC-LC track and File.Pictures the groups of an H.264 track, for
//     copying. File.Times returns when samples are shown.
//  5. FindProtected returns the encrypted tracks.
//
// The file is untrusted: the amount of reading and the time are limited, each size is checked before use, and
// a panic of mp4ff becomes an error. An error only means that the answer is unknown, not that the file is
// bad: ffmpeg reads many files whose tables contradict each other.
//
// File.Pictures ignores decode times, and computes its own from the times at which pictures are shown.
//
// The package does not read movie fragments, compressed headers (cmov) and compact sizes (stz2), and does
// not look inside slices: a damaged picture may have a perfect index.
//
// Sources: ISO/IEC 14496-12, with the section beside each box; 14496-15 for NAL units in samples; QuickTime
// File Format for its differences.
package sampletable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/Eyevinn/mp4ff/mp4"
)

// Limits of reading.
const (
	maxMoov     = 64 << 20 // bytes
	maxTopLevel = 1 << 20  // boxes before moov; encrypted tracks must not hide behind many
	maxTracks   = 64
	maxSamples  = 1 << 23 // of a track; 6 h at 240 frames/s are 5 million
)

// File is the index of one file. It is not safe for concurrent use.
type File struct {
	// Fragmented: samples are also in movie fragments (mvex, 8.8.1), which this package does not read.
	Fragmented bool

	window    window
	size      int64
	timescale uint32 // of edit lists: ticks/s of the movie
	tracks    []*track
}

// Read reads the index of a file of size bytes. File keeps reading from r later.
func Read(r io.ReaderAt, size int64) (*File, error) {
	moov, err := findMoov(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{window: window{r: r}, size: size}
	for b, err := range boxes(moov) {
		if err != nil {
			return nil, fmt.Errorf("moov: %w", err)
		}
		switch b.name {
		case "mvhd": // 8.2.2
			var h *mp4.MvhdBox
			if err = keep(&h, b); err == nil {
				f.timescale = h.Timescale
			}
		case "mvex":
			f.Fragmented = true
		case "trak":
			if len(f.tracks) == maxTracks {
				return nil, fmt.Errorf("more than %d tracks", maxTracks)
			}
			f.tracks = append(f.tracks, newTrack(b))
		}
		if err != nil {
			return nil, err
		}
	}
	if f.timescale == 0 {
		return nil, errors.New("no movie header")
	}
	return f, nil
}

// findMoov returns the contents of the first moov box (8.2.1).
func findMoov(r io.ReaderAt, size int64) ([]byte, error) {
	at := int64(0)
	for range maxTopLevel {
		var head [16]byte
		n, err := r.ReadAt(head[:min(16, max(0, size-at))], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		name, start, length, err := header(head[:n], size-at)
		if err != nil {
			return nil, fmt.Errorf("box at %d: %w", at, err)
		}
		if name != "moov" {
			at += length
			continue
		}
		if length > maxMoov {
			return nil, fmt.Errorf("moov has %d bytes", length)
		}
		data := make([]byte, length-start)
		if n, err := r.ReadAt(data, at+start); n < len(data) {
			return nil, fmt.Errorf("read moov: %w", err)
		}
		return data, nil
	}
	return nil, errors.New("no moov among the first boxes")
}

// header parses the header of a box. left is how many bytes there are from the box's start to the end of
// its parent. It returns where the contents start, and the length of the whole box. Source: 4.2.2.
func header(data []byte, left int64) (name string, start, length int64, err error) {
	if len(data) < 8 {
		return "", 0, 0, io.ErrUnexpectedEOF
	}
	name, start, length = string(data[4:8]), 8, int64(binary.BigEndian.Uint32(data))
	switch length {
	case 0: // to the end
		length = left
	case 1:
		if len(data) < 16 {
			return "", 0, 0, io.ErrUnexpectedEOF
		}
		start, length = 16, int64(min(binary.BigEndian.Uint64(data[8:]), 1<<62))
	}
	if length < start || length > left {
		return "", 0, 0, fmt.Errorf("%q has %d bytes, %d are left", name, length, left)
	}
	return name, start, length, nil
}
