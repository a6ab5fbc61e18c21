package sampletable

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// Protected is a track whose samples are encrypted.
type Protected struct {
	Track  int    // its place among the tracks, from 0: ffmpeg's stream index
	Entry  string // type of the sample description: encv, enca, drmi, drms
	Scheme string // such as cenc and cbcs; empty if unknown
}

// protectedEntries are the sample descriptions of encrypted video and audio (8.12, ISO/IEC 23001-7), and
// those of FairPlay.
var protectedEntries = []string{"encv", "enca", "drmi", "drms"}

// FindProtected returns the tracks that have a sample description, first or later, of encrypted samples.
// size is that of the file in bytes. The samples may be in movie fragments.
func FindProtected(r io.ReaderAt, size int64) ([]Protected, error) {
	moov, err := findMoov(r, size)
	if err != nil {
		return nil, err
	}
	var found []Protected
	track := 0
	for b, err := range boxes(moov) {
		switch {
		case err != nil:
			return found, err
		case b.name != "trak":
			continue
		}
		if p, ok := protected(b); ok {
			p.Track = track
			found = append(found, p)
		}
		track++
	}
	return found, nil
}

// protected searches the sample descriptions of a trak. It skips boxes that do not fit.
func protected(trak box) (Protected, bool) {
	stsd, ok := inside(trak, "mdia", "minf", "stbl", "stsd")
	if !ok || len(stsd.inside) < 8 {
		return Protected{}, false
	}
	for e, err := range boxes(stsd.inside[8:]) {
		if err != nil {
			break
		}
		if slices.Contains(protectedEntries, e.name) {
			return Protected{Entry: e.name, Scheme: scheme(e)}, true
		}
	}
	return Protected{}, false
}

// inside follows a path of boxes.
func inside(b box, path ...string) (box, bool) {
	for _, name := range path {
		found := false
		for child, err := range boxes(b.inside) {
			if err != nil {
				break
			}
			if child.name == name {
				b, found = child, true
				break
			}
		}
		if !found {
			return box{}, false
		}
	}
	return b, true
}

// scheme finds schm (8.12.5) anywhere in the entry, since the length of the fields before the boxes depends
// on the codec.
func scheme(entry box) string {
	_, behind, found := bytes.Cut(entry.inside, []byte("schm"))
	if !found || len(behind) < 8 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return -1
		}
		return r
	}, string(behind[4:8]))
}
