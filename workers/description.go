package workers

// Description says what a planned job is to do, for those who estimate, compare or show work: what a job's
// part says, only its worker knows. An attempt may have to do otherwise, such as encode what it was to copy.
type Description struct {
	// Kind names what the job does, in the worker's words: chunk, copy, file. Another type may use the same
	// word. Empty: the worker does not say.
	Kind string
	// Start and End are the part of the source that the job reads for its outputs, in seconds of the video.
	// Equal: it reads nothing of the source, or the worker does not say.
	Start, End float64
	// Pixels is how many pixels of renditions the job encodes: width by height by frames, in all of them. It
	// is a fraction where the video is no whole number of frames long. 0: it encodes none.
	Pixels float64
	// Bytes is how many bytes of outputs the job stores, about. 0: unknown.
	Bytes int64
	// Renditions are those of the picture that the job makes, or makes a part of, largest first.
	Renditions []Rendition
}

// Rendition is a rendition of the picture, as planned.
type Rendition struct {
	Name          string // 720p
	Width, Height int    // pixels
	FrameRateNum  int    // frames/s, as a fraction
	FrameRateDen  int
	Maxrate       int // bits/s, at most
}
