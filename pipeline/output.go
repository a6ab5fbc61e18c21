package pipeline

// OutputKind says what an output is for.
type OutputKind string

// The kinds of output. A worker type may add its own.
const (
	KindManifest       OutputKind = "manifest"        // what a player opens: master.m3u8
	KindPlaylist       OutputKind = "playlist"        // an HLS media playlist
	KindRendition      OutputKind = "rendition"       // the video segments of one rung
	KindAudioRendition OutputKind = "audio_rendition" // the audio segments of one track
	KindInit           OutputKind = "init"            // a CMAF header (EXT-X-MAP)
	KindIndex          OutputKind = "index"           // what a worker wrote for a later job
	KindAudio          OutputKind = "audio"           // a progressive audio file
	KindVideo          OutputKind = "video"           // a progressive video file
	KindPoster         OutputKind = "poster"
	KindStoryboard     OutputKind = "storyboard"
)

// Output is something that a completed job left in the store, verified before the job completed.
type Output struct {
	Name string     `json:"name"` // for people, and to tell outputs of a kind apart: 720p, poster, audio-eng
	Kind OutputKind `json:"kind"`
	// Path is where the output plays, below the video: master.m3u8, 720p/init.mp4. With Segments it holds
	// SegmentVerb, as in 720p/seg_%05d.m4s.
	Path string `json:"path"`
	// Key is the key of the object. It holds SegmentVerb where Path does.
	Key         string    `json:"key"`
	ContentType string    `json:"content_type"`
	Size        int64     `json:"size"`               // bytes, of all segments together
	SHA256      string    `json:"sha256,omitempty"`   // hex; of the one object, empty with Segments
	Segments    *Segments `json:"segments,omitempty"` // set when the output is a run of numbered objects

	Duration         float64 `json:"duration,omitempty"` // seconds
	Width            int     `json:"width,omitempty"`
	Height           int     `json:"height,omitempty"`
	FrameRate        float64 `json:"frame_rate,omitempty"`
	Codecs           string  `json:"codecs,omitempty"`            // RFC 6381
	Bandwidth        int64   `json:"bandwidth,omitempty"`         // bits/s, peak over segments
	AverageBandwidth int64   `json:"average_bandwidth,omitempty"` // bits/s
	Language         string  `json:"language,omitempty"`          // BCP 47 or ISO 639, und when unknown
	Channels         int     `json:"channels,omitempty"`
}

// Segments is a run of numbered objects. Several jobs may each make a run of one rendition: their outputs
// have the same Path, and their runs do not overlap.
type Segments struct {
	First int `json:"first"`
	Count int `json:"count"`
	// Durations are the lengths of the segments in seconds. They are empty where no playlist lists segments
	// before all of them exist.
	Durations []float64 `json:"durations,omitempty"`
	Last      bool      `json:"last,omitempty"` // the run ends the rendition
	// Longest is the length in seconds of the longest segment of the rendition in any run: a playlist must
	// declare it from its first version on. 0: the longest of Durations.
	Longest float64 `json:"longest,omitempty"`
	// Header identifies the setup of the decoder. Runs of a rendition with equal headers share an init section.
	Header string `json:"header,omitempty"`
}

// SegmentVerb stands for the number of a segment in the path and key of an output with Segments.
const SegmentVerb = "%05d"
