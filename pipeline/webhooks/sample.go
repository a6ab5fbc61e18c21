package webhooks

import (
	"errors"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Sample returns made-up data of a message of a type, for tests. URLs begin with public, as in
// pipeline.VideoView.AddURLs. An unknown type is an error that lists the known ones.
func Sample(kind, project, public string) (any, error) {
	return SampleAt(kind, project, public, time.Now().UTC().Truncate(time.Microsecond))
}

// SampleAt is Sample at a time.
func SampleAt(kind, project, public string, at time.Time) (any, error) {
	video := "vid_" + strings.Repeat("0", 25) + "1"
	switch t := pipeline.EventType(kind); t {
	case TypeTest, TypeDisabled:
		return map[string]string{"message": "This is a test of a webhook endpoint of ReelMill."}, nil
	case pipeline.VideoDeleted, pipeline.VideoPurged:
		return pipeline.Gone{ID: video, Project: project}, nil
	default:
		switch {
		case !known(t):
			types := append(eventTypes(), TypeTest, TypeDisabled)
			return nil, errors.New(pipeline.Unknown("type of event", kind, types))
		case strings.HasPrefix(kind, "job."):
			return pipeline.JobView{
				ID: video + "/transcode-0000", Video: video, Name: "transcode-0000", Step: "transcode",
				Worker: "transcode", Status: pipeline.JobStateOf(t), After: []string{}, Weight: 1, Attempt: 1,
				CreatedAt: at,
			}, nil
		case strings.HasPrefix(kind, "quota."):
			return sampleQuota(project, at), nil
		}
		return sampleVideo(t, video, project, public, at), nil
	}
}

// sampleQuota returns the data of an event of a quota, as package access writes it.
func sampleQuota(project string, at time.Time) map[string]any {
	return map[string]any{
		"project": project, "quota": "upload_bytes_per_day", "limit": 1000, "used": 1000, "percent": 100,
		"period": at.Format(time.DateOnly), "renews_at": at.Truncate(24 * time.Hour).Add(24 * time.Hour),
		"message": "A test: the project has used all of a quota.",
	}
}

// sampleVideo returns a video as it could be just after an event.
func sampleVideo(t pipeline.EventType, video, project, public string, at time.Time) pipeline.VideoView {
	v := pipeline.VideoView{
		ID: video, Project: project, Status: pipeline.StateVideoProcessing, Pipeline: pipeline.DefaultPipeline,
		Filename: "test.mp4", Title: "A test of ReelMill", Metadata: map[string]string{},
		Warnings: []pipeline.Problem{}, CreatedAt: at,
	}
	switch t {
	case pipeline.VideoUploaded:
		v.Status = pipeline.StateVideoQueued
	case pipeline.VideoReady:
		v.Status, v.Progress, v.ReadyAt, v.FinishedAt = pipeline.StateVideoReady, 100, &at, &at
	case pipeline.VideoErrored, pipeline.VideoRejected:
		v.Status, v.FinishedAt = pipeline.StateVideoErrored, &at
		if t == pipeline.VideoRejected {
			v.Status = pipeline.StateVideoRejected
		}
		v.Problem = pipeline.ProblemOf(pipeline.Fail(pipeline.CodeMalformed, "a test"))
	case pipeline.VideoCanceled:
		v.Status, v.FinishedAt = pipeline.StateVideoCanceled, &at
	}
	switch t {
	case pipeline.VideoHeld:
		v.Hold = &pipeline.Hold{Reason: "a test", By: pipeline.ActorAnonymous, Since: at}
	case pipeline.VideoSourceDeleted, pipeline.VideoSourcePurged:
		v.Status, v.FinishedAt, v.SourceDeletedAt = pipeline.StateVideoReady, &at, &at
	}
	if t == pipeline.VideoPlayable || t == pipeline.VideoReady {
		v.Playable, v.PlayableAt, v.Manifest = true, &at, "master.m3u8"
	}
	v.AddURLs(public)
	return v
}

func eventTypes() []string {
	var all []string
	for _, t := range pipeline.HookEventTypes() {
		all = append(all, string(t))
	}
	return all
}

func known(t pipeline.EventType) bool { return selected(eventTypes(), string(t)) }
