package sampletable

import (
	"context"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// Picture summarises the samples of a video track.
type Picture struct {
	Samples int64
	Bytes   int64
	Length  float64 // seconds from the first frame to the end of the last, before edits
	Groups  pipeline.Groups
	// Whole: every sample lies in the file, none overlap, and each consists of whole NAL units. It is false
	// without deep, and for codecs other than H.264 and HEVC.
	Whole bool
}

// Grid says where the frames of outputs are, for the choice of borders. The zero Grid chooses none.
type Grid struct {
	Low  float64 // frames/s of the smallest rungs: borders lie near their frames
	Rate float64 // frames/s of the source, a multiple of Low; less than half a frame of it is near
	Lead float64 // seconds from the start of the video to the first frame, which is shown from then on
}

// Picture reads the samples of a track. It reads the first units of each keyframe, and with deep those of
// every sample. In a fragmented file it only covers what is in moov, often nothing.
//
// Groups are Closed if the track begins with a keyframe, no picture decoded before a keyframe is shown
// after it or the other way round, and each keyframe lies in the file and begins with an IDR picture of
// H.264 or a random access picture of HEVC. With more than one sample description they are not Closed.
// Borders and the time between frames are only known for closed groups.
func (f *File) Picture(ctx context.Context, id int64, deep bool, grid Grid) (Picture, error) {
	t, err := f.find(id)
	if err != nil {
		return Picture{}, err
	}
	s := survey{
		file: f, entry: t.entry, closed: t.entry.alone && t.entry.known(), whole: deep && t.entry.units != 0,
		first: math.MaxInt64, end: math.MinInt64, newest: math.MinInt64, key: math.MinInt64,
		borders: newBorders(grid), timescale: float64(t.timescale()), lead: grid.Lead,
		spacing: spacing{least: math.MaxInt64},
	}
	err = t.samples(func(one sample) error {
		if s.samples%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.add(one)
	})
	if err != nil || s.samples == 0 {
		return Picture{}, err
	}
	return s.picture(), nil
}

// survey is the state of one pass. Times are ticks.
type survey struct {
	file  *File
	entry entry

	samples, keys, bytes int64
	first, end           int64 // of the shown time
	newest               int64 // latest shown time of the samples so far
	key                  int64 // latest shown time of the keyframes so far
	longest              int64
	closed, whole        bool
	borders              borders
	timescale            float64
	lead                 float64 // seconds
	changes              bool
	spacing              spacing
}

func (s *survey) add(one sample) error {
	s.samples++
	s.bytes += one.size
	inside := one.offset+one.size <= s.file.size && s.bytes <= s.file.size
	s.whole = s.whole && inside
	switch {
	case one.key:
		s.closed = s.closed && one.shown > s.newest
		if s.keys > 0 {
			s.longest = max(s.longest, one.shown-s.key)
		} else if s.samples > 1 {
			s.longest, s.closed = one.shown-s.first, false
		}
		s.keys++
		if s.closed {
			s.borders.add(s.at(one.shown))
			s.spacing.next()
		}
		s.key = max(s.key, one.shown)
	case one.shown < s.key, s.keys == 0:
		s.closed = false
	}
	s.first, s.newest = min(s.first, one.shown), max(s.newest, one.shown)
	s.end = max(s.end, one.shown+one.length)
	s.spacing.add(one.shown)
	wanted := s.whole || one.key && s.closed
	if s.entry.units == 0 || !wanted {
		return nil
	}
	if !inside {
		s.closed = false
		return nil
	}
	u, err := s.file.units(one, s.entry, s.whole)
	s.whole = s.whole && u.whole
	s.closed = s.closed && (u.opens || !one.key)
	s.changes = s.changes || u.changes
	return err
}

// at returns when a keyframe is shown, in seconds from the start of the video.
func (s *survey) at(shown int64) float64 {
	if s.keys <= 1 {
		return 0
	}
	return s.lead + float64(shown-s.first)/s.timescale
}

func (s *survey) picture() Picture {
	longest := s.end - s.first
	if s.keys > 0 {
		longest = max(s.longest, s.end-s.key)
	}
	length := float64(s.end-s.first) / s.timescale
	p := Picture{
		Samples: s.samples, Bytes: s.bytes, Length: length, Whole: s.whole,
		Groups: pipeline.Groups{
			Closed: s.closed, Longest: float64(longest) / s.timescale, Average: length / float64(max(1, s.keys)),
		},
	}
	if s.closed {
		p.Groups.Borders, p.Groups.Changes = s.borders.end(s.lead+length), s.changes
		least, most := s.spacing.end()
		p.Groups.FrameLeast, p.Groups.FrameMost = float64(least)/s.timescale, float64(most)/s.timescale
	}
	return p
}

// spacing measures the time between successively shown frames, one closed group after the other. Times are
// ticks.
type spacing struct {
	group       []int64 // shown times of the current group
	last        int64   // last shown time before the group
	begun       bool    // last is set
	least, most int64
}

// add adds the next frame, in decoding order. It ignores the frames beyond a limit in a very long group.
func (s *spacing) add(shown int64) {
	if len(s.group) < maxFrames {
		s.group = append(s.group, shown)
	}
}

// next ends the current group.
func (s *spacing) next() {
	slices.Sort(s.group)
	for _, at := range s.group {
		if s.begun {
			s.least, s.most = min(s.least, at-s.last), max(s.most, at-s.last)
		}
		s.last, s.begun = at, true
	}
	s.group = s.group[:0]
}

// end returns the shortest and the longest time; zeros for a single frame.
func (s *spacing) end() (least, most int64) {
	s.next()
	return min(s.least, s.most), s.most
}
