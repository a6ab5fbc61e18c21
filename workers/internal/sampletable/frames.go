package sampletable

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/Eyevinn/mp4ff/aac"
)

// FrameSamples is how many samples an AAC-LC frame has.
const FrameSamples = 1024

// Limits for frames that can be copied.
const (
	maxFrame  = len(window{}.block) // bytes; an AAC-LC frame of two channels has less than half
	maxJitter = 0.003               // seconds; clocks of 1 ms round, some twice
)

// Frames is an audio track of consecutive AAC-LC frames, without the priming before time 0.
type Frames struct {
	Rate     int    // samples/s
	Channels int    // 1 or 2
	Config   []byte // AudioSpecificConfig (14496-3, 1.6.2.1)
	Count    int    // number of frames

	file    *File
	track   *track
	priming int // frames before the first one
}

// Seconds returns how long n frames play.
func (s *Frames) Seconds(n int) float64 { return float64(n) * FrameSamples / float64(s.Rate) }

// Frames reads the samples of an audio track. The error says why they cannot be copied: they are not AAC-LC
// frames with 1 or 2 channels, one lies outside of the file or is empty, some overlap, there is a gap or an
// overlap of more than 3 ms, or the first one begins more than a frame after time 0, which is second origin
// of the movie. The first frame is the one nearest to time 0. An edit list must be simple (File.Edits).
func (f *File) Frames(ctx context.Context, id int64, origin float64) (*Frames, error) {
	t, err := f.find(id)
	switch {
	case err != nil:
		return nil, err
	case f.Fragmented:
		return nil, errors.New("its samples lie in movie fragments")
	case !t.entry.alone || len(t.entry.config) == 0:
		return nil, errors.New("the header has no AAC configuration")
	}
	s := &Frames{Config: t.entry.config, file: f, track: t}
	if s.Rate, s.Channels, err = parseConfig(s.Config); err != nil {
		return nil, err
	}
	line := timeline{rate: s.Rate}
	zero, n, perTick, bytes := f.zero(t, origin), 0, float64(s.Rate)/float64(t.timescale()), int64(0)
	err = t.samples(func(one sample) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		bytes += one.size
		keep, err := line.place(int64(math.Round((float64(one.shown) - zero) * perTick)))
		switch {
		case err != nil:
			return err
		case !keep:
			s.priming++
		case one.size == 0:
			return errors.New("a packet is empty")
		case one.size > int64(maxFrame) || one.offset+one.size > f.size || bytes > f.size:
			return errTables
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.Count = line.frames; s.Count == 0 {
		return nil, errors.New("it has no packets")
	}
	return s, nil
}

// zero returns the tick of the track that is shown at second origin of the movie (8.6.6).
func (f *File) zero(t *track, origin float64) float64 {
	at := origin
	if t.edits == nil || len(t.edits.Entries) == 0 {
		return at * float64(t.timescale())
	}
	edit := t.edits.Entries[0]
	if edit.MediaTime == -1 && len(t.edits.Entries) > 1 {
		at -= float64(edit.SegmentDuration) / float64(f.timescale)
		edit = t.edits.Entries[1]
	}
	return float64(edit.MediaTime) + at*float64(t.timescale())
}

// Each calls visit with the bytes of the frames [from, to), which are valid until the next call.
func (s *Frames) Each(ctx context.Context, from, to int, visit func(data []byte) error) error {
	n := -s.priming
	err := s.track.samples(func(one sample) error {
		at := n
		n++
		switch {
		case at < from:
			return nil
		case at >= to:
			return errEnough
		case at%1024 == 0 && ctx.Err() != nil:
			return context.Cause(ctx)
		}
		data, err := s.file.window.peek(one.offset, int(one.size))
		if err == nil && int64(len(data)) < one.size {
			err = errTables
		}
		if err != nil {
			return err
		}
		return visit(data)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a pass.
var errEnough = errors.New("enough")

// timeline checks that packets follow each other.
type timeline struct {
	rate   int
	start  int64 // time of the first kept packet, in samples
	frames int
}

// place reports whether to keep the packet at time. The first kept packet is the one nearest to 0; earlier
// ones are priming. Each further one must be a frame later.
func (t *timeline) place(time int64) (keep bool, err error) {
	if t.frames == 0 {
		if time < -FrameSamples/2 {
			return false, nil
		}
		t.start = time
	}
	jitter := int64(maxJitter * float64(t.rate))
	if t.start > FrameSamples+jitter {
		return false, fmt.Errorf("it begins at %.3f s", float64(t.start)/float64(t.rate))
	}
	want := t.start + int64(t.frames)*FrameSamples
	if gap := time - want; gap > jitter || gap < -jitter {
		return false, fmt.Errorf("the packet at %.3f s is off by %.3f s",
			float64(want)/float64(t.rate), float64(gap)/float64(t.rate))
	}
	t.frames++
	return true, nil
}

// parseConfig parses an AudioSpecificConfig. It returns an error unless that is AAC-LC in frames of 1,024
// samples with 1 or 2 channels. Source: ISO/IEC 14496-3, 1.6.2.1 and 4.4.1.
func parseConfig(b []byte) (rate, channels int, err error) {
	if len(b) < 2 {
		return 0, 0, errors.New("its configuration is too short")
	}
	v := binary.BigEndian.Uint16(b)
	rate, channels = aac.FrequencyTable[byte(v>>7&15)], int(v>>3&15)
	switch {
	case v>>11 != aac.AAClc:
		err = fmt.Errorf("its object type is %d, not AAC-LC", v>>11)
	case rate == 0:
		err = errors.New("it has a sample rate of its own")
	case channels != 1 && channels != 2:
		err = fmt.Errorf("its channel configuration is %d", channels)
	case v&7 != 0:
		err = errors.New("its frames do not have 1024 samples")
	case len(b) >= 5 && binary.BigEndian.Uint16(b[2:])>>5 == 0x2b7 && b[4]&0x80 != 0:
		err = errors.New("it is HE-AAC")
	}
	return rate, channels, err
}
