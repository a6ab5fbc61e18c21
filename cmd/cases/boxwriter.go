package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// boxed writes a box (ISO/IEC 14496-12, 4.2).
func boxed(name string, parts ...[]byte) []byte {
	inside := cat(parts...)
	return cat(be32(uint32(len(inside)+8)), []byte(name), inside)
}

// fullBox writes a box with version and flags.
func fullBox(name string, version byte, flags uint32, parts ...[]byte) []byte {
	return boxed(name, be32(uint32(version)<<24|flags), cat(parts...))
}

// sizedBox writes a box header that claims a size.
func sizedBox(name string, size uint32, parts ...[]byte) []byte {
	return cat(be32(size), []byte(name), cat(parts...))
}

// atom is a box of a file that is being changed.
type atom struct {
	name   string
	data   []byte
	inside []*atom // of a container, in place of data
}

// movie is an MP4 that is being changed. The first fault is kept, so that edits need no check.
type movie struct {
	atom
	err error
}

// containers are the boxes that are parsed.
var containers = []string{
	"moov", "trak", "mdia", "minf", "stbl", "edts", "dinf", "udta", "mvex", "moof", "traf", "mfra",
}

func parseMovie(file []byte) *movie {
	m := &movie{}
	m.inside, m.err = parseAtoms(file)
	return m
}

func parseAtoms(data []byte) (all []*atom, err error) {
	for len(data) >= 8 {
		size := int(binary.BigEndian.Uint32(data))
		if size < 8 || size > len(data) {
			return nil, fmt.Errorf("%w: size %d of %q", errBox, size, data[4:8])
		}
		a := &atom{name: string(data[4:8])}
		if slices.Contains(containers, a.name) {
			if a.inside, err = parseAtoms(data[8:size]); err != nil {
				return nil, err
			}
		} else {
			a.data = bytes.Clone(data[8:size])
		}
		all, data = append(all, a), data[size:]
	}
	return all, nil
}

// at follows a path such as "moov/trak/mdia". trak/2 would be a child; "trak.1" is the second trak.
func (m *movie) at(path string) *atom {
	a := &m.atom
	for _, step := range strings.Split(path, "/") {
		name, skip := step, 0
		if before, n, ok := strings.Cut(step, "."); ok {
			name, skip = before, int(n[0]-'0')
		}
		var found *atom
		for _, child := range a.inside {
			if child.name == name {
				if skip--; skip < 0 {
					found = child
					break
				}
			}
		}
		if found == nil {
			m.err = fmt.Errorf("%w: %s", errBox, path)
			return &atom{data: make([]byte, 256)}
		}
		a = found
	}
	return a
}

// set replaces the contents of a box.
func (a *atom) set(parts ...[]byte) { a.data, a.inside = cat(parts...), nil }

// put overwrites bytes at an offset.
func (a *atom) put(offset int, b []byte) { copy(a.data[offset:], b) }

// add appends a finished box to a container.
func (a *atom) add(box []byte) {
	a.inside = append(a.inside, &atom{name: string(box[4:8]), data: box[8:]})
}

// drop removes the boxes with a name from a container.
func (a *atom) drop(name string) {
	a.inside = slices.DeleteFunc(a.inside, func(c *atom) bool { return c.name == name })
}

func (a *atom) contents() []byte {
	if a.data != nil {
		return a.data
	}
	var b []byte
	for _, c := range a.inside {
		b = append(b, boxed(c.name, c.contents())...)
	}
	return b
}

// bytes returns the file, or the first fault.
func (m *movie) bytes() ([]byte, error) { return m.contents(), m.err }

// edited changes a movie.
func edited(change func(l lab, m *movie)) func(lab, [][]byte) ([]byte, error) {
	return func(l lab, in [][]byte) ([]byte, error) {
		m := parseMovie(in[0])
		change(l, m)
		return m.bytes()
	}
}

// Paths of the tables of the first track, which is the video.
const (
	firstTable  = "moov/trak/mdia/minf/stbl/"
	secondTable = "moov/trak.1/mdia/minf/stbl/"
)

// reel is a track of a movie that is made from nothing.
type reel struct {
	handler          string // vide or soun; vide when empty
	entry            []byte // sample description
	timescale, delta uint32 // ticks/s; ticks per sample
	samples          [][]byte
	count            uint32 // samples in the tables; as many as there are, when 0
	track            []byte // more boxes of the trak
}

// film makes a movie.
func film(reels ...reel) []byte {
	ftyp := boxed("ftyp", []byte("isom"), be32(512), []byte("isomiso2mp41"))
	var data []byte
	at := len(ftyp) + 8
	var traks []byte
	for i, r := range reels {
		traks = append(traks, r.trak(uint32(i+1), uint32(at+len(data)))...)
		data = append(data, cat(r.samples...)...)
	}
	mvhd := fullBox("mvhd", 0, 0, be32(0, 0, 1000, 1000, 0x10000, 0x1000000, 0, 0), identity(),
		make([]byte, 24), be32(uint32(len(reels)+1)))
	return cat(ftyp, boxed("mdat", data), boxed("moov", mvhd, traks))
}

// identity is the matrix that changes nothing.
func identity() []byte { return be32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000) }

func (r reel) trak(id, offset uint32) []byte {
	handler, header := r.handler, fullBox("vmhd", 0, 1, make([]byte, 8))
	if handler == "" {
		handler = "vide"
	}
	if handler == "soun" {
		header = fullBox("smhd", 0, 0, be32(0))
	}
	count := r.count
	if count == 0 {
		count = uint32(len(r.samples))
	}
	sizes := be32(0, uint32(len(r.samples)))
	for _, s := range r.samples {
		sizes = append(sizes, be32(uint32(len(s)))...)
	}
	stbl := boxed("stbl",
		fullBox("stsd", 0, 0, be32(1), r.entry),
		fullBox("stts", 0, 0, be32(1, count, r.delta)),
		fullBox("stsc", 0, 0, be32(1, 1, count, 1)),
		fullBox("stsz", 0, 0, sizes),
		fullBox("stco", 0, 0, be32(1, offset)))
	length := count * r.delta
	dinf := boxed("dinf", fullBox("dref", 0, 0, be32(1), fullBox("url ", 0, 1)))
	mdia := boxed("mdia",
		fullBox("mdhd", 0, 0, be32(0, 0, r.timescale, length, 0x55c40000)),
		fullBox("hdlr", 0, 0, be32(0), []byte(handler), make([]byte, 13)),
		boxed("minf", header, dinf, stbl))
	tkhd := fullBox("tkhd", 0, 3, be32(0, 0, id, 0, 1000, 0, 0, 0, 0), identity(), be32(320<<16, 180<<16))
	return boxed("trak", tkhd, mdia, r.track)
}

// visual writes a sample description of video.
func visual(codec string, width, height uint16, more ...[]byte) []byte {
	return boxed(codec, make([]byte, 6), be16(1), make([]byte, 16), be16(width, height),
		be32(0x480000, 0x480000, 0), be16(1), make([]byte, 32), be16(24, 0xffff), cat(more...))
}

// audial writes a sample description of audio. rate is in 1/65536 of a sample a second.
func audial(codec string, channels, bits uint16, rate uint32) []byte {
	return boxed(codec, make([]byte, 6), be16(1), make([]byte, 8), be16(channels, bits, 0, 0), be32(rate))
}

// repeated returns a slice n times.
func repeated(sample []byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = sample
	}
	return all
}
