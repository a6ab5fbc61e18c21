package manifest

import "github.com/reelmill/reelmill/pipeline"

// Names of a track's files in its folder.
const (
	InitName     = "init.mp4"
	SegmentName  = "seg_" + pipeline.SegmentVerb + ".m4s"
	PlaylistName = "index.m3u8"
)

// SegmentSeconds is the planned length of a segment, and FragmentSeconds that of its fragments, each of
// which begins with a keyframe. A copied track has the source's groups of pictures instead.
const (
	SegmentSeconds  = 6
	FragmentSeconds = 2
)

// Track is one rendition's media, or a run of consecutive segments of it.
type Track struct {
	Codecs string `json:"codecs"` // RFC 6381
	// Header identifies a decoder setup: runs with equal Header play one after the other with the init
	// section of any of them.
	Header    string `json:"header"`
	Timescale int    `json:"timescale"`        // ticks/s; every duration is a whole number of them
	Width     int    `json:"width,omitempty"`  // pixels, of video
	Height    int    `json:"height,omitempty"` // pixels, of video
	// FrameRateNum and FrameRateDen are the frame rate of video as a fraction; 0 when it is not known as one.
	FrameRateNum int       `json:"frame_rate_num,omitempty"`
	FrameRateDen int       `json:"frame_rate_den,omitempty"`
	InitSize     int64     `json:"init_size"`
	First        int       `json:"first"` // number of the first segment
	Segments     []Segment `json:"segments"`
}

// Segment is one numbered file of a track.
type Segment struct {
	Duration float64 `json:"duration"`       // seconds
	Size     int64   `json:"size"`           // bytes
	Keys     []Key   `json:"keys,omitempty"` // of video, in order
}

// Key is a keyframe in a segment: Size bytes from Offset on contain the header of its fragment and the
// frame itself.
type Key struct {
	Offset   int64   `json:"offset"`
	Size     int64   `json:"size"`
	Duration float64 `json:"duration"` // seconds, until the next keyframe or the end of the segment
}

// Duration returns the length of the whole track, in seconds.
func (t Track) Duration() float64 {
	var sum float64
	for _, s := range t.Segments {
		sum += s.Duration
	}
	return sum
}

// Durations returns the lengths of the segments, in seconds.
func (t Track) Durations() []float64 {
	all := make([]float64, len(t.Segments))
	for i, s := range t.Segments {
		all[i] = s.Duration
	}
	return all
}

// Size returns the bytes of all segments.
func (t Track) Size() int64 {
	var sum int64
	for _, s := range t.Segments {
		sum += s.Size
	}
	return sum
}
