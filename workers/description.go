package workers

// Description says what a planned job is to do. Programs that estimate or show work need it, because only the
// worker can read the part of a job. An attempt may do otherwise, such as encode what it could not copy.
type Description struct {
	// Kind names what the job does, such as chunk, copy or file. Two worker types may use the same word. Empty:
	// the worker does not say.
	Kind string
	// Start and End bound the part of the source that the outputs show, in seconds from the start of the video.
	// Equal: the job reads nothing of the source, or the worker does not say.
	Start, End float64
	// Pixels is how many pixels the job encodes for all its renditions: width by height by frames. It may be a
	// fraction, because the length of a video need not be a whole number of frames. 0: it encodes none.
	Pixels float64
	// Bytes is about how many bytes the job stores as outputs. 0: unknown.
	Bytes int64
	// Renditions are the video renditions that the job makes, whole or in part, largest first.
	Renditions []Rendition
}

// Rendition is a planned rendition of the video.
type Rendition struct {
	Name          string // 720p
	Width, Height int    // pixels
	FrameRateNum  int    // frames/s, as a fraction
	FrameRateDen  int
	Maxrate       int // bits/s, at most
}
