package pipeline

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
	Damaged   bool         `json:"damaged,omitempty"` // parts of it cannot be read; what can is used
	// Warnings name what of the source is not used, and why: tracks, and parts that cannot be read.
	Warnings []string `json:"warnings,omitempty"`
	// Before is how many seconds before Origin tracks begin that are not used: readers count from there.
	Before float64 `json:"before,omitempty"`
	// Late says that a track begins so late that readers have to look for it in more of the file than usual.
	Late bool `json:"late,omitempty"`
	// NoCopy says that the picture of the source must not be published bit for bit: the pipeline has a step that
	// hides the source (Traits.HidesSource), such as a watermark. Other steps publish what they encode of it.
	NoCopy bool `json:"no_copy,omitempty"`
}

// forTask returns what tasks hold of the facts: all but Borders, which may be thousands.
func (m *Media) forTask() *Media {
	if m == nil || m.Video.Groups == nil || m.Video.Groups.Borders == nil {
		return m
	}
	short, groups := *m, *m.Video.Groups
	groups.Borders, short.Video.Groups = nil, &groups
	return &short
}

// problems returns the warnings as those of the video; m may be nil.
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

// VideoTrack is the one picture track that is used.
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
	// FrameRateNum and FrameRateDen are the rate in frames/s at which frames follow on each other, pauses left
	// out; where there is one frame, what the container declares.
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
	// End is when the last frame ends by itself, in seconds from Origin; 0: when the video does. It is held
	// from there to the end of the video (Media.Length).
	End float64 `json:"end,omitempty"`
	// Held is for how many seconds up to End the last frame is shown, where that is long: its packet may speak
	// of less. 0: about as long as the frame rate says.
	Held     float64 `json:"held,omitempty"`
	Bitrate  int64   `json:"bitrate,omitempty"`  // bits/s, of this track; 0: unknown
	Level    int     `json:"level,omitempty"`    // as the codec writes it: 41 is 4.1 of H.264
	Mirrored bool    `json:"mirrored,omitempty"` // the display matrix flips the picture
	// Groups tells of the groups of pictures; nil where that is not known without decoding.
	Groups *Groups `json:"groups,omitempty"`
	Edits  Edits   `json:"edits,omitempty"`
}

// Groups is how the keyframes of a track stand, as its index has it.
type Groups struct {
	Closed  bool    `json:"closed"`  // every keyframe is an IDR picture that nothing before it is shown after
	Longest float64 `json:"longest"` // seconds between keyframes, at most
	Average float64 `json:"average"` // seconds
	// FrameLeast and FrameMost are the times between frames that are shown one after the other, in seconds; 0
	// when the groups are not closed.
	FrameLeast float64 `json:"frame_least,omitempty"`
	FrameMost  float64 `json:"frame_most,omitempty"`
	// Changes says that parameter sets among the pictures are not those of the header.
	Changes bool `json:"changes,omitempty"`
	// Remuxed says that the container has no index of them, and that they were seen after remuxing it.
	Remuxed bool `json:"remuxed,omitempty"`
	// Borders are keyframes that segments of the track as it is can begin with: seconds from the start of the
	// video, with 0. Empty when the groups are not closed. Tasks go without, as plans are made of them.
	Borders []float64 `json:"borders,omitempty"`
}

// Edits is what an MP4's edit list does to a track.
type Edits string

// The values of Edits. The zero value means that there is none, or that the container has no such thing.
const (
	// EditsSimple shifts the track in time, and hides no more than what a decoder needs to begin: the priming
	// of a sound, the delay of reordered frames.
	EditsSimple Edits = "simple"
	// EditsComplex hides, repeats or reorders parts, or plays them at another speed.
	EditsComplex Edits = "complex"
)

// Origin is the time of the source that is time 0 of all outputs: when the first of the tracks that are used
// begins.
func (m Media) Origin() float64 {
	first := m.Video.Start
	for _, a := range m.Audio {
		first = min(first, a.Start)
	}
	return first
}

// Length is how long the video is, in seconds: to the end of the longest of its tracks, counted from Origin.
// Before the first frame of the picture and behind its last these are shown, and audio that begins later or
// ends earlier is silent there, so all outputs are as long.
func (m Media) Length() float64 {
	longest := m.PictureEnd()
	for _, a := range m.Audio {
		longest = max(longest, a.Start-m.Origin()+a.Duration)
	}
	return longest
}

// PictureEnd is when the last frame of the picture ends by itself, in seconds from Origin.
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

// AudioTrack is one sound track.
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
	// Frames is how many frames of AAC-LC follow on each other from time 0 on, without a hole, as the index
	// of an MP4 has it; 0: not known.
	Frames int `json:"frames,omitempty"`
}
