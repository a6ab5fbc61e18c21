package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Report is what a webhook endpoint gets about an event: the body of Standard Webhooks (type, timestamp,
// data).
type Report struct {
	Type      EventType       `json:"type"`
	Timestamp time.Time       `json:"timestamp"` // of the event
	Data      json.RawMessage `json:"data"`      // a VideoView, a JobView, a Gone, or that of the event of a quota
}

// Gone is the data of the report that a video is deleted.
type Gone struct {
	ID      string `json:"id"`
	Project string `json:"project"`
}

// ReportOf returns the report of an event of the log: with the video just after the event for an event of a
// video, and with the job for an event of a job. A video that is deleted has only its id. The event of a
// quota is reported with its own data. URLs begin with
// public, as in VideoView.AddURLs.
//
// Of a video whose events are removed meanwhile, the report has what the event itself says.
func ReportOf(ctx context.Context, log Log, e Event, public string) (Report, error) {
	if slices.Contains(QuotaEventTypes, e.Type) {
		return Report{Type: e.Type, Timestamp: e.Time, Data: e.Data}, nil
	}
	project, video, job, err := Address(e.Subject)
	if err != nil {
		return Report{}, err
	}
	var data any
	switch {
	case e.Type == VideoDeleted || e.Type == VideoPurged:
		data = Gone{ID: video, Project: project}
	case job != "":
		data, err = jobAt(ctx, log, project, video, e)
	default:
		data, err = videoAt(ctx, log, project, video, e, public)
	}
	if err != nil {
		return Report{}, fmt.Errorf("report %s: %w", e.ID, err)
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return Report{}, fmt.Errorf("report %s: %w", e.ID, err)
	}
	return Report{Type: e.Type, Timestamp: e.Time, Data: raw}, nil
}

// jobAt returns a job just after an event of it.
func jobAt(ctx context.Context, log Log, project, video string, e Event) (JobView, error) {
	planner := InspectedSubject(project, video)
	if n := AdditionOf(e.Subject); n > 0 {
		planner = ExtendedSubject(project, video, n)
	}
	events, err := log.Last(ctx, planner)
	if err != nil {
		return JobView{}, err
	}
	var view JobView
	if events[0].Sequence != 0 {
		planned, err := PlannedJobs(events[0])
		if err != nil {
			return JobView{}, err
		}
		for _, j := range planned {
			if JobSubject(project, video, j.Name) == e.Subject {
				view = j
			}
		}
	}
	_, err = view.Apply(e)
	return view, err
}

// videoAt returns a video just after an event of it.
func videoAt(ctx context.Context, log Log, project, video string, e Event, public string) (VideoView, error) {
	v, err := Fold(ctx, log, project, video)
	if err != nil {
		return VideoView{}, err
	}
	if v.Uploaded.Sequence == 0 && e.Type != VideoUploaded { // its events are removed
		view := VideoView{ID: video, Project: project, Metadata: map[string]string{}, Warnings: []Problem{}}
		return view, view.Apply(e)
	}
	view, err := v.upTo(e).viewAt(e)
	view.AddURLs(public)
	return view, err
}

// upTo returns the video with e as the last event of its subject, and without the events after e of which a
// chain keeps no earlier one.
func (v *Video) upTo(e Event) *Video {
	w := *v
	switch e.Type {
	case VideoUploaded:
		w.Uploaded = e
	case VideoInspected:
		w.Inspected = e
	case VideoPlayable:
		w.Playable = e
	case VideoChanged:
		w.Changed = e
	case VideoReady, VideoErrored, VideoRejected, VideoCanceled, VideoReopened:
		w.Finished = e
	case VideoOutputsAdded, VideoOutputsFailed, VideoOutputsReopened:
		w.Additions = slices.Clone(v.Additions)
		if n := AdditionOf(e.Subject); n <= len(w.Additions) {
			w.Additions[n-1].Last = e
		}
	case VideoHeld, VideoReleased:
		w.HeldBy = e
	case VideoSourceDeleted, VideoSourcePurged:
		w.SourceDeleted = e
	}
	if w.Inspected.Sequence > e.Sequence {
		w.Inspected = Event{}
	}
	return &w
}
