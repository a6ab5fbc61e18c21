package pipeline

import "math"

// Object is one object in the store.
type Object struct {
	Key         string `json:"key"`
	Size        int64  `json:"size"` // bytes
	SHA256      string `json:"sha256,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Filename    string `json:"filename,omitempty"` // as the user called it; never part of a path
}

// Verdict is what inspection says of a video.
type Verdict string

// The verdicts.
const (
	VerdictAccept Verdict = "accept"
	VerdictReject Verdict = "reject"
)

// Inspection is the finding of the inspect job.
type Inspection struct {
	Verdict Verdict  `json:"verdict"`
	Reason  *Problem `json:"reason,omitempty"` // why it is rejected
	Media   *Media   `json:"media,omitempty"`  // what it is; nil when it could not be read
}

// Media holds the facts about a source that plans are made of. Strings in it are printable and short.
type Media struct {
	Container string       `json:"container"` // ffmpeg's demuxer: mov, matroska, avi, mpegts, ...
	Duration  float64      `json:"duration"`  // seconds, of the longest track that is played (Length)
	Bitrate   int64        `json:"bitrate"`   // bits/s, of the whole file
	Size      int64        `json:"size"`      // bytes
	Video     VideoTrack   `json:"video"`
	Audio     []AudioTrack `json:"audio"`
	Damaged   bool         `json:"damaged,omitempty"` // parts of it cannot be read; the rest is used
	// Warnings say which tracks and unreadable parts of the source are not used, and why.
	Warnings []string `json:"warnings,omitempty"`
	// Before is how many seconds before Origin the first unused track begins; readers count time from there.
	Before float64 `json:"before,omitempty"`
	// Late says that a track begins so late that readers must search more of the file for it than usual.
	Late bool `json:"late,omitempty"`
	// NoCopy says that the picture of the source must not be published bit for bit: the pipeline has a step that
	// hides the source (Traits.HidesSource), such as a watermark. Other steps publish only what they encode.
	NoCopy bool `json:"no_copy,omitempty"`
}

// forTask returns the facts that tasks hold: all but Borders, of which there may be thousands.
func (m *Media) forTask() *Media {
	if m == nil || m.Video.Groups == nil || m.Video.Groups.Borders == nil {
		return m
	}
	short, groups := *m, *m.Video.Groups
	groups.Borders, short.Video.Groups = nil, &groups
	return &short
}

// Milliseconds returns the length of the video, as quotas count it; m may be nil.
func (m *Media) Milliseconds() int64 {
	if m == nil || !(m.Duration > 0) || m.Duration > maxDuration {
		return 0
	}
	return int64(math.Ceil(m.Duration * 1000))
}

// maxDuration is the longest video that Milliseconds counts, in seconds: a century.
const maxDuration = 100 * 366 * 24 * 3600

// problems returns the warnings as problems of the video; m may be nil.
func (m *Media) problems() []Problem {
	all := []Problem{}
	if m == nil {
		return all
	}
	for _, w := range m.Warnings {
		p := ProblemOf(Fail(CodePartlyUsed, "%s", w))
		p.Step = InspectStep
		all = append(all, *p)
	}
	return all
}

// VideoTrack is the one video track that is used.
type VideoTrack struct {
	Stream      int     `json:"stream"`       // ffmpeg's stream index
	ID          int64   `json:"id,omitempty"` // of the track in its container; 0: it has none
	Codec       string  `json:"codec"`
	Profile     string  `json:"profile,omitempty"`
	PixelFormat string  `json:"pixel_format"`
	BitDepth    int     `json:"bit_depth"`
	CodedWidth  int     `json:"coded_width"` // pixels, as stored
	CodedHeight int     `json:"coded_height"`
	Width       int     `json:"width"` // pixels, as shown: square and upright
	Height      int     `json:"height"`
	SampleRatio float64 `json:"sample_aspect_ratio"` // width of a stored pixel by its height
	Rotation    int     `json:"rotation"`            // degrees clockwise to turn it: 0, 90, 180, 270
	// FrameRateNum and FrameRateDen are the frame rate in frames/s, without counting pauses; for a single frame,
	// the rate that the container declares.
	FrameRateNum int     `json:"frame_rate_num"`
	FrameRateDen int     `json:"frame_rate_den"`
	Variable     bool    `json:"variable_frame_rate,omitempty"` // some frame is off by more than half an interval
	Interlaced   bool    `json:"interlaced,omitempty"`
	HDR          string  `json:"hdr,omitempty"` // hdr10, hlg, or empty
	Alpha        bool    `json:"alpha,omitempty"`
	Primaries    string  `json:"color_primaries,omitempty"`
	Transfer     string  `json:"color_transfer,omitempty"`
	Matrix       string  `json:"color_matrix,omitempty"`
	Range        string  `json:"color_range,omitempty"`
	Start        float64 `json:"start"` // seconds, presentation time of the first frame
	// End is when the last frame ends by its own duration, in seconds from Origin; 0: at the end of the video.
	// The frame is held until the end of the video (Media.Length).
	End float64 `json:"end,omitempty"`
	// Held is how long the last frame is shown until End, in seconds, if that is unusually long; its packet may
	// declare less. 0: about as long as the frame rate says.
	Held     float64 `json:"held,omitempty"`
	Bitrate  int64   `json:"bitrate,omitempty"`  // bits/s, of this track; 0: unknown
	Level    int     `json:"level,omitempty"`    // as the codec writes it: 41 is 4.1 of H.264
	Mirrored bool    `json:"mirrored,omitempty"` // the display matrix flips the picture
	// Groups describes the groups of pictures; nil where they are unknown without decoding.
	Groups *Groups `json:"groups,omitempty"`
	Edits  Edits   `json:"edits,omitempty"`
}

// Groups describes the keyframes of a track, by its index.
type Groups struct {
	Closed  bool    `json:"closed"`  // every keyframe is an IDR picture, and no earlier picture is shown after it
	Longest float64 `json:"longest"` // seconds between keyframes, at most
	Average float64 `json:"average"` // seconds
	// FrameLeast and FrameMost are the least and most time from one shown frame to the next, in seconds; 0 when
	// the groups are not closed.
	FrameLeast float64 `json:"frame_least,omitempty"`
	FrameMost  float64 `json:"frame_most,omitempty"`
	// Changes says that parameter sets among the pictures differ from those in the header.
	Changes bool `json:"changes,omitempty"`
	// Remuxed says that the container has no index, so the groups were read from a remuxed copy.
	Remuxed bool `json:"remuxed,omitempty"`
	// Borders are the keyframes at which segments can begin when the track is copied: seconds from the start of
	// the video, with 0. Empty when the groups are not closed. Tasks do not hold them, since only plans need
	// them.
	Borders []float64 `json:"borders,omitempty"`
}

// Edits is what an MP4's edit list does to a track.
type Edits string

// The values of Edits. The zero value means that the track has no edit list.
const (
	// EditsSimple shifts the track in time, and hides no more than what a decoder needs to begin: audio priming,
	// or the delay of reordered frames.
	EditsSimple Edits = "simple"
	// EditsComplex hides, repeats or reorders parts, or plays them at another speed.
	EditsComplex Edits = "complex"
)

// Origin is the source's time that becomes time 0 of all outputs: the start of the first track in use.
func (m Media) Origin() float64 {
	first := m.Video.Start
	for _, a := range m.Audio {
		first = min(first, a.Start)
	}
	return first
}

// Length is the length of the video in seconds, from Origin to the end of its longest track. All outputs have
// this length: the first and last frames are held where the picture begins later or ends earlier, and the
// audio is silent where it does.
func (m Media) Length() float64 {
	longest := m.PictureEnd()
	for _, a := range m.Audio {
		longest = max(longest, a.Start-m.Origin()+a.Duration)
	}
	return longest
}

// PictureEnd is when the last frame of the picture ends by its own duration, in seconds from Origin.
func (m Media) PictureEnd() float64 {
	if m.Video.End > 0 {
		return m.Video.End
	}
	return m.Duration
}

// FrameRate returns frames per second; 0 when unknown.
func (v VideoTrack) FrameRate() float64 {
	if v.FrameRateDen == 0 {
		return 0
	}
	return float64(v.FrameRateNum) / float64(v.FrameRateDen)
}

// AudioTrack is one audio track.
type AudioTrack struct {
	Stream     int     `json:"stream"`       // ffmpeg's stream index
	ID         int64   `json:"id,omitempty"` // of the track in its container; 0: it has none
	Codec      string  `json:"codec"`
	Profile    string  `json:"profile,omitempty"` // LC, HE-AAC, ...
	Channels   int     `json:"channels"`
	Layout     string  `json:"layout,omitempty"` // of the channels, as ffmpeg names it: mono, 5.1(side); empty: unknown
	SampleRate int     `json:"sample_rate"`      // Hz
	Language   string  `json:"language"`         // ISO 639, und when unknown
	Default    bool    `json:"default,omitempty"`
	Start      float64 `json:"start"`             // seconds, presentation time of the first sample
	Duration   float64 `json:"duration"`          // seconds; the media's when the track does not say
	Bitrate    int64   `json:"bitrate,omitempty"` // bits/s; 0: unknown
	Edits      Edits   `json:"edits,omitempty"`
	// Frames is the number of consecutive AAC-LC frames from time 0 on, without a gap, by the index of an MP4;
	// 0: unknown.
	Frames int `json:"frames,omitempty"`
}
