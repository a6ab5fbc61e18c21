package pipeline

// Usage is what a project uses: what it has now, and what it did in a range of time. It is a function of the
// events of its videos.
type Usage struct {
	Videos      int   `json:"videos" doc:"Videos that are not deleted"`
	StoredMS    int64 `json:"stored_ms" doc:"Milliseconds of video that are kept or made to be played; videos that ended before there was anything to play do not count"`
	SourceBytes int64 `json:"source_bytes" doc:"Bytes of the sources of these videos"`
	OutputBytes int64 `json:"output_bytes" doc:"Bytes of their outputs"`

	UsageOfTime
}

// UsageOfTime is what a project did in a range of time, by the times of the events. Deleting a video changes
// nothing of it.
type UsageOfTime struct {
	Uploads       int   `json:"uploads" doc:"Videos uploaded, or to be fetched"`
	UploadedBytes int64 `json:"uploaded_bytes" doc:"Bytes uploaded or fetched"`
	EncodedMS     int64 `json:"encoded_ms" doc:"Milliseconds of the videos whose plan was made, each once, however many renditions it has, and once more for each addition; what a quota refused does not count"`
}
