package pipeline

import (
	"context"
	"encoding/json"
)

// FetchStep is the step before the inspection of a video whose upload names a URL instead of sending a
// source. Its one job and the worker type of that job have the same name.
const FetchStep = "fetch"

// Fetch says where the source of an upload is to be fetched from. It is the Part of the fetch job, too.
type Fetch struct {
	// URL is http or https. Its path and its parameters may be a secret, such as a signature: the log and the
	// queue need all of it, and nothing else shows more than its host.
	URL      string `json:"url"`
	Filename string `json:"filename,omitempty"` // as the user calls the file; empty: as its server does
	// MaxBytes is how large the source may be: the server's limit at the time of the upload. 0: unlimited.
	MaxBytes int64 `json:"max_bytes,omitempty"`
}

// fetchTimeout bounds one attempt to fetch a source, in seconds: long enough for 10 GiB at 500 kB/s.
const fetchTimeout = 6 * 60 * 60

// fetchDelays are the delays before further attempts, 21 minutes in all. An attempt goes on by itself when
// the connection breaks, so these are for servers that are down.
var fetchDelays = []Seconds{10, 60, 300, 900}

// fetch is step 1 of a video that has a URL in place of a source: it gets its fetch job.
func (c *Coordinator) fetch(ctx context.Context, v *Video) error {
	if v.Upload.Fetch == nil || !v.Fetch.fresh() || v.Finished.Sequence != 0 {
		return nil // its worker loop looks after a job that has begun
	}
	return c.Tasks.Enqueue(ctx, v.task(v.fetchJob(), v.Fetch.Last, v.Uploaded))
}

// fetchJob returns the job that fetches the source. Nobody waits for it before the video's own priority says
// so.
func (v *Video) fetchJob() Job {
	part, _ := json.Marshal(v.Upload.Fetch) // strings and numbers always have JSON
	return Job{
		Name: FetchStep, Step: FetchStep, Worker: FetchStep, Part: part, Timeout: fetchTimeout, Retry: fetchDelays,
	}
}

// source returns the source of the video: that of the upload, or what the fetch job stored. ok is false until
// there is one.
func (v *Video) source() (o Object, ok bool) {
	if v.Upload.Fetch == nil {
		return v.Upload.Source, true
	}
	if r := v.Fetch.Data.Result; v.Fetch.State == StateJobCompleted && r != nil && r.Source != nil {
		return *r.Source, r.Source.Key != ""
	}
	return Object{}, false
}

// sourced returns the event with which the source was there.
func (v *Video) sourced() Event {
	if v.Upload.Fetch == nil {
		return v.Uploaded
	}
	return v.Fetch.Last
}

// unfetched returns why the video will never have a source; nil if it has one or may still get it.
func (v *Video) unfetched() *Problem {
	switch _, ok := v.source(); {
	case v.Fetch.State == StateJobErrored:
		return v.Fetch.Data.Problem
	case v.Fetch.State == StateJobCompleted && !ok: // the worker made a mistake
		return ProblemOf(Fail(CodeInternal, "the fetch job has stored no source"))
	}
	return nil
}
