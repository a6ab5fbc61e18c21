package pipeline

// Progress reports how far an attempt is. It is published at most twice a second, and is not in the log: the
// queue keeps the last one of each job, for a while.
type Progress struct {
	Video    string  `json:"video"`
	Job      string  `json:"job"`
	Attempt  int     `json:"attempt"`
	Fraction float64 `json:"fraction"`        // 0 to 1; never falls within an attempt
	Speed    float64 `json:"speed,omitempty"` // seconds of video per second
	Note     string  `json:"note,omitempty"`
}
