package sampletable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Limits of a group, which is kept in memory.
const (
	maxGroup  = 128 << 20 // bytes: 10 s at 100 Mbit/s
	maxFrames = 1 << 16   // pictures of a group
)

// Pictures is a video track of H.264 whose groups can be copied one by one. A group begins when its keyframe
// is shown. The sorted times at which its pictures are shown are their decode times, too; those in the file
// are not used.
type Pictures struct {
	Timescale     int     // ticks/s
	Width, Height int     // pixels, by the sample description
	Config        []byte  // AVCDecoderConfigurationRecord (14496-15, 5.3.3.1)
	Starts        []int64 // when the groups begin, in ticks; the first is 0
	End           int64   // ticks: when the last picture ends; the caller may set it to hold that longer
	// Delay is how many ticks later all pictures must be shown, so that none is shown before it is decoded; 0 if
	// the decoding order is the order of display.
	Delay int64

	file  *File
	track *track
	first int64 // composition time of the first picture
	lead  int64 // ticks from time 0 to first
}

// Group is a keyframe and the pictures up to the next keyframe, in decoding order.
type Group struct {
	Start    int64 // decode time in ticks; 0 for the first group
	Pictures []Coded
	Data     []byte // the pictures, one after the other; valid until the next call

	shown []int64
}

// Coded is one picture.
type Coded struct {
	Size   uint32 // bytes
	Length uint32 // ticks
	Shift  int32  // ticks from decoding to display, including Delay; not negative
}

// Pictures reads the samples of a video track. Time 0 is lead seconds before the first picture, which is
// shown from time 0 on. The error says why the pictures cannot be copied: they are not H.264 with one
// configuration, a group is not closed, a sample is empty or lies outside of the file, or two are shown at
// once. File.Picture checks whether keyframes are IDR pictures.
func (f *File) Pictures(ctx context.Context, id int64, lead float64) (*Pictures, error) {
	t, err := f.find(id)
	switch {
	case err != nil:
		return nil, err
	case f.Fragmented:
		return nil, errors.New("its samples lie in movie fragments")
	case !t.entry.alone || t.entry.codec != "avc1" || len(t.entry.config) == 0:
		return nil, errors.New("the header does not have exactly one configuration of H.264")
	}
	p := &Pictures{
		Timescale: int(t.timescale()), Width: t.entry.width, Height: t.entry.height,
		Config: t.entry.config, file: f, track: t,
		lead: int64(math.Round(lead * float64(t.timescale()))),
	}
	g := groups{Pictures: p}
	n := 0
	err = t.samples(func(one sample) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return g.add(one)
	})
	if err == nil {
		err = g.finish()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// groups is the state of one pass.
type groups struct {
	*Pictures
	bytes  int64   // of the current group
	all    int64   // bytes of all groups
	shown  []int64 // shown times of the current group, in decoding order
	sorted []int64
	length int64 // of the last picture
}

func (g *groups) add(one sample) error {
	if len(g.Starts) == 0 {
		g.first = one.shown
	}
	g.all += one.size
	switch {
	case one.size == 0:
		return errors.New("a picture is empty")
	case one.size > maxGroup || one.offset+one.size > g.file.size || g.all > g.file.size:
		return errTables
	case !one.key && len(g.Starts) == 0:
		return errOpen
	}
	at := g.place(one.shown)
	if one.key {
		if err := g.close(at); err != nil {
			return err
		}
		g.Starts, g.bytes, g.shown = append(g.Starts, at), 0, g.shown[:0]
	}
	if g.bytes += one.size; g.bytes > maxGroup || len(g.shown) == maxFrames {
		return fmt.Errorf("a group has more than %d bytes or %d pictures", maxGroup, maxFrames)
	}
	g.shown, g.length = append(g.shown, at), one.length
	return nil
}

// place converts a composition time to ticks from time 0.
func (p *Pictures) place(shown int64) int64 {
	if shown == p.first {
		return 0
	}
	return shown - p.first + p.lead
}

var errOpen = errors.New("a group of pictures is open")

// close checks the current group, which ends at that tick.
func (g *groups) close(end int64) error {
	if len(g.shown) == 0 {
		return nil
	}
	g.sorted = append(g.sorted[:0], g.shown...)
	slices.Sort(g.sorted)
	if g.sorted[0] < g.shown[0] || g.sorted[len(g.sorted)-1] > end {
		return errOpen
	}
	for n, decoded := range g.sorted {
		next := end
		if n+1 < len(g.sorted) {
			next = g.sorted[n+1]
		}
		switch {
		case next == decoded:
			return errors.New("two pictures are shown at once")
		case next-decoded > math.MaxInt32 || end-g.sorted[0] > math.MaxInt32:
			return fmt.Errorf("a group is shown for %d ticks", end-g.sorted[0])
		}
		g.Delay = max(g.Delay, decoded-g.shown[n])
	}
	return nil
}

// finish checks the last group.
func (g *groups) finish() error {
	if len(g.shown) == 0 {
		return errors.New("it has no pictures")
	}
	g.End = slices.Max(g.shown) + max(1, g.length)
	return g.close(g.End)
}

// Each calls visit for the groups [from, to), by number.
func (p *Pictures) Each(ctx context.Context, from, to int, visit func(Group) error) error {
	var g Group
	n := -1 // number of the current group
	flush := func() error {
		if n < from || n >= to {
			return nil
		}
		g.order(p, p.end(n))
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
			g.Start, g.Pictures, g.Data, g.shown = p.Starts[n], g.Pictures[:0], g.Data[:0], g.shown[:0]
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

// end returns the tick at which group n ends.
func (p *Pictures) end(n int) int64 {
	if n+1 < len(p.Starts) {
		return p.Starts[n+1]
	}
	return p.End
}

// order sets the times of the group's pictures; the group ends at tick end.
func (g *Group) order(p *Pictures, end int64) {
	decoded := slices.Sorted(slices.Values(g.shown))
	for i := range g.Pictures {
		next := end
		if i+1 < len(decoded) {
			next = decoded[i+1]
		}
		g.Pictures[i].Length = uint32(next - decoded[i])
		g.Pictures[i].Shift = int32(g.shown[i] - decoded[i] + p.Delay)
	}
}

// read adds a picture, without parameter sets that the configuration also has.
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
	size := p.strip(g.Data[start:])
	g.Data = g.Data[:start+size]
	g.Pictures = append(g.Pictures, Coded{Size: uint32(size)})
	g.shown = append(g.shown, p.place(one.shown))
	return nil
}

// strip removes from a sample the units that are among the configuration's parameter sets, and returns the
// remaining size. A sample that does not consist of whole units stays unchanged.
func (p *Pictures) strip(data []byte) (size int) {
	var kept [][2]int
	for at := 0; at < len(data); {
		body := at + p.track.entry.prefix
		length := 0
		for _, b := range data[at:min(body, len(data))] {
			length = length<<8 | int(b)
		}
		end := body + length
		if length == 0 || end > len(data) {
			return len(data)
		}
		if !p.track.entry.has(data[body:end]) {
			kept = append(kept, [2]int{at, end})
		}
		at = end
	}
	for _, k := range kept {
		size += copy(data[size:], data[k[0]:k[1]])
	}
	if size == 0 {
		return len(data)
	}
	return size
}
