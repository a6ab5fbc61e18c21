package sampletable

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/Eyevinn/mp4ff/mp4"
)

// box is a box in memory: all of it, and its contents.
type box struct {
	name        string
	all, inside []byte
}

// boxes splits data into boxes, up to the first that does not fit.
func boxes(data []byte) iter.Seq2[box, error] {
	return func(yield func(box, error) bool) {
		for len(data) > 0 {
			name, start, length, err := header(data, int64(len(data)))
			if err != nil {
				yield(box{}, err)
				return
			}
			if !yield(box{name, data[:length], data[start:length]}, nil) {
				return
			}
			data = data[length:]
		}
	}
}

// decode reads a box with mp4ff.
func decode[T mp4.Box](b box) (decoded T, err error) {
	defer func() { // mp4ff panics on some damaged boxes
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged %s: %v", b.name, r)
		}
	}()
	read, err := mp4.DecodeBox(0, bytes.NewReader(b.all))
	if err != nil {
		return decoded, err
	}
	decoded, ok := read.(T)
	if !ok {
		return decoded, fmt.Errorf("%s was read as %s", b.name, read.Type())
	}
	return decoded, nil
}

func keep[T mp4.Box](to *T, b box) (err error) {
	*to, err = decode[T](b)
	return err
}

// track is what is known about one trak box (8.3.1).
type track struct {
	err    error // why the rest must not be used
	kind   string
	entry  entry
	header *mp4.TkhdBox // 8.3.2
	media  *mp4.MdhdBox // 8.4.2
	edits  *mp4.ElstBox // 8.6.6; nil: none
	times  *mp4.SttsBox // 8.6.1.2
	shown  *mp4.CttsBox // 8.6.1.3; nil: samples are shown in the order in which they are decoded
	keys   *mp4.StssBox // 8.6.2; nil: every sample is one
	sizes  *mp4.StszBox // 8.7.3.2
	runs   *mp4.StscBox // 8.7.4
	near   *mp4.StcoBox // 8.7.5: where chunks begin
	far    *mp4.Co64Box // the same, with 64 bits
}

func newTrack(trak box) *track {
	t := &track{}
	t.err = t.collect(trak, map[string]bool{})
	if t.err == nil && (t.header == nil || t.media == nil || t.media.Timescale == 0) {
		t.err = errors.New("incomplete track")
	}
	return t
}

// places are the boxes that matter, by parent and name, and where to store them; nil: search inside the
// box.
var places = map[string]func(t *track, b box) error{
	"trak/edts": nil, "trak/mdia": nil, "mdia/minf": nil, "minf/stbl": nil,
	"trak/tkhd": func(t *track, b box) error { return keep(&t.header, b) },
	"mdia/mdhd": func(t *track, b box) error { return keep(&t.media, b) },
	"mdia/hdlr": func(t *track, b box) error { return t.handler(b) },
	"edts/elst": func(t *track, b box) error { return keep(&t.edits, b) },
	"stbl/stsd": func(t *track, b box) error { return t.entry.read(b) },
	"stbl/stts": func(t *track, b box) error { return keep(&t.times, b) },
	"stbl/ctts": func(t *track, b box) error { return keep(&t.shown, b) },
	"stbl/stss": func(t *track, b box) error { return keep(&t.keys, b) },
	"stbl/stsz": func(t *track, b box) error { return keep(&t.sizes, b) },
	"stbl/stsc": func(t *track, b box) error { return keep(&t.runs, b) },
	"stbl/stco": func(t *track, b box) error { return keep(&t.near, b) },
	"stbl/co64": func(t *track, b box) error { return keep(&t.far, b) },
}

// collect reads the boxes that matter; a repeated box is an error.
func (t *track) collect(parent box, seen map[string]bool) error {
	for b, err := range boxes(parent.inside) {
		if err != nil {
			return fmt.Errorf("%s: %w", parent.name, err)
		}
		path := parent.name + "/" + b.name
		put, matters := places[path]
		if !matters {
			continue
		}
		if seen[path] {
			return fmt.Errorf("%s comes twice", path)
		}
		seen[path] = true
		if put == nil {
			err = t.collect(b, seen)
		} else {
			err = put(t, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// handler reads the media type of the track: vide, soun (8.4.3). QuickTime stores the name after it
// differently.
func (t *track) handler(b box) error {
	if len(b.inside) < 12 {
		return errors.New("short hdlr")
	}
	t.kind = string(b.inside[8:12])
	return nil
}

// timescale returns the track's ticks/s.
func (t *track) timescale() int64 { return int64(t.media.Timescale) }

// chunks returns the number of chunks.
func (t *track) chunks() int {
	if t.far != nil {
		return len(t.far.ChunkOffset)
	}
	return len(t.near.ChunkOffset)
}

// chunk returns where chunk i begins in the file; negative beyond any file.
func (t *track) chunk(i int) int64 {
	if t.far != nil {
		return int64(t.far.ChunkOffset[i])
	}
	return int64(t.near.ChunkOffset[i])
}

// find returns the only track with an id, which is not 0 (8.3.2.3).
func (f *File) find(id int64) (*track, error) {
	var found *track
	for _, t := range f.tracks {
		switch {
		case id == 0 || t.header == nil || int64(t.header.TrackID) != id:
		case found != nil:
			return nil, fmt.Errorf("two tracks %d", id)
		default:
			found = t
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no track %d", id)
	}
	return found, found.err
}
