package sampletable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// maxGroup bounds what is held of a track at once: 10 s at 100 Mbit/s.
const maxGroup = 128 << 20 // bytes

// Pictures is a picture track of H.264 in groups that can be taken out one by one.
type Pictures struct {
	Timescale     int     // ticks/s
	Width, Height int     // pixels, as the sample description has them
	Config        []byte  // AVCDecoderConfigurationRecord (14496-15, 5.3.3.1)
	Colour        []byte  // primaries, transfer and matrix, two bytes each (12.1.5); nil: not told
	Starts        []int64 // decode times of the keyframes that groups begin with, in ticks; the first is 0
	End           int64   // ticks: decode time of what would follow on the last picture

	file  *File
	track *track
	zero  int64 // composition time of the first picture
}

// Group is a keyframe and what follows on it up to the next, in decoding order.
type Group struct {
	Start    int64 // decode time in ticks; that of the first group is 0
	Pictures []Coded
	Data     []byte // of the pictures, one after the other; it holds until the next call
}

// Coded is one picture.
type Coded struct {
	Size   uint32 // bytes
	Length uint32 // ticks
	Shift  int32  // ticks from when it is decoded to when it is shown, if the first of all is shown at once
}

// Pictures goes through the samples of a picture track. The error says why they cannot be taken as they
// are: they are not of H.264 with one configuration for all, the groups are not closed, a sample is empty
// or lies outside of the file, they overlap, or a group is decoded more than 3 ms before or after it is
// shown. Whether keyframes are IDR pictures is for File.Picture to tell.
func (f *File) Pictures(ctx context.Context, id int64) (*Pictures, error) {
	t, err := f.find(id)
	switch {
	case err != nil:
		return nil, err
	case f.Fragmented:
		return nil, errors.New("its samples lie in movie fragments")
	case !t.entry.alone || t.entry.codec != "avc1" || len(t.entry.config) == 0:
		return nil, errors.New("the header has no one configuration of H.264")
	}
	p := &Pictures{
		Timescale: int(t.timescale()), Width: t.entry.width, Height: t.entry.height,
		Config: t.entry.config, Colour: t.entry.colour, file: f, track: t,
	}
	g := groups{Pictures: p, newest: math.MinInt64, jitter: int64(maxJitter * float64(t.timescale()))}
	n := 0
	err = t.samples(func(one sample) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return g.add(one)
	})
	if err != nil {
		return nil, err
	}
	if len(p.Starts) == 0 || p.End <= 0 {
		return nil, errors.New("it has no pictures")
	}
	return p, nil
}

// groups is the state of one pass.
type groups struct {
	*Pictures
	bytes  int64 // of the group at hand
	all    int64 // bytes of all groups
	key    int64 // when it is shown
	newest int64 // shown last of all so far
	jitter int64
}

func (g *groups) add(one sample) error {
	if len(g.Starts) == 0 {
		g.zero = one.shown
	}
	shift := one.shown - g.zero - one.decoded
	g.all += one.size
	switch {
	case one.size == 0:
		return errors.New("a picture is empty")
	case one.size > maxGroup || one.offset+one.size > g.file.size || g.all > g.file.size:
		return errTables
	case shift > math.MaxInt32 || shift < math.MinInt32:
		return fmt.Errorf("a picture is shown %d ticks after it is decoded", shift)
	case one.key && one.shown <= g.newest, !one.key && (len(g.Starts) == 0 || one.shown < g.key):
		return errors.New("a group of pictures is open")
	case one.key && (shift > g.jitter || shift < -g.jitter):
		return fmt.Errorf("a group is shown %d ticks after it is decoded", shift)
	case one.key:
		g.Starts, g.key, g.bytes = append(g.Starts, one.decoded), one.shown, 0
	}
	if g.bytes += one.size; g.bytes > maxGroup {
		return fmt.Errorf("a group has more than %d bytes", maxGroup)
	}
	g.newest, g.End = max(g.newest, one.shown), one.decoded+one.length
	return nil
}

// Each calls visit for the groups [from, to), by their number.
func (p *Pictures) Each(ctx context.Context, from, to int, visit func(Group) error) error {
	var g Group
	n := -1 // number of the group at hand
	flush := func() error {
		if n < from || n >= to {
			return nil
		}
		return visit(g)
	}
	err := p.track.samples(func(one sample) error {
		if one.key {
			if err := flush(); err != nil {
				return err
			}
			if n++; n == to {
				return errEnough
			}
			g.Start, g.Pictures, g.Data = one.decoded, g.Pictures[:0], g.Data[:0]
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if n < from {
			return nil
		}
		return g.read(p, one)
	})
	if err == nil {
		err = flush()
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// read adds a picture.
func (g *Group) read(p *Pictures, one sample) error {
	start := len(g.Data)
	g.Data = slices.Grow(g.Data, int(one.size))[:start+int(one.size)]
	n, err := p.file.window.r.ReadAt(g.Data[start:], one.offset)
	if int64(n) < one.size {
		if err == nil || errors.Is(err, io.EOF) {
			err = errTables
		}
		return err
	}
	g.Pictures = append(g.Pictures, Coded{
		Size: uint32(one.size), Length: uint32(one.length), Shift: int32(one.shown - p.zero - one.decoded),
	})
	return nil
}
