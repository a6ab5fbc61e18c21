package pipeline

// Progress reports how far an attempt is. It is published at most twice a second, and is not in the log: the
// queue keeps the last one of each job, for a while.
type Progress struct {
	Video    string  `json:"video"`
	Job      string  `json:"job"`
	Attempt  int     `json:"attempt"`
	Fraction float64 `json:"fraction"`        // 0 to 1; never falls within an attempt
	Speed    float64 `json:"speed,omitempty"` // seconds of video per second
	// Bytes is how much of the source a fetch job has, and Total its size; 0: unknown.
	Bytes int64  `json:"bytes,omitempty"`
	Total int64  `json:"total,omitempty"`
	Note  string `json:"note,omitempty"`

	// Project is that of the video, where it is known. It is not part of the document.
	Project string `json:"-"`
}
