package pipeline_test

import (
	"math"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		pipeline.SourceKey("v1", "original.mp4"):                    "videos/v1/source/original.mp4",
		pipeline.JobPrefix("v1", "transcode-0003"):                  "videos/v1/transcode-0003/",
		pipeline.AttemptPrefix("v1", "transcode-0003", 42):          "videos/v1/transcode-0003/42/",
		pipeline.AttemptPrefix("v1", "j", math.MaxUint64) + "a.m4s": "videos/v1/j/18446744073709551615/a.m4s",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := storage.ValidPrefix(got); err != nil {
			t.Error(err)
		}
	}
}

// TestLocate: a key says which video, job and attempt it belongs to. The janitor deletes by that, so a key
// that it does not understand must not pass for another.
func TestLocate(t *testing.T) {
	type where = pipeline.Location
	for key, want := range map[string]where{
		pipeline.SourceKey("v1", "original.mp4"):           {Video: "v1"},
		pipeline.AttemptPrefix("v1", "j", 42) + "a.mp4":    {Video: "v1", Job: "j", Token: 42},
		pipeline.AttemptPrefix("v1", "j", 42) + "source/a": {Video: "v1", Job: "j", Token: 42},
		pipeline.JobPrefix("v1", "j") + "x/a.mp4":          {Video: "v1", Job: "j"},
		pipeline.JobPrefix("v1", "j") + "-1/a.mp4":         {Video: "v1", Job: "j"},
		"videos/v1/x": {Video: "v1"},
		pipeline.AttemptPrefix("v1", "source", 7) + "a.mp4": {Video: "v1", Job: "source", Token: 7},
		pipeline.AttemptPrefix("v1", "j", 1<<63) + "720p/x": {Video: "v1", Job: "j", Token: 1 << 63},
	} {
		if got, ok := pipeline.Locate(key); !ok || got != want {
			t.Errorf("%s: %+v, %v, want %+v", key, got, ok, want)
		}
	}
	for _, key := range []string{"", "videos", "videos/v1", "video/v1/source/a", "videos/./source/a", "x/videos/v1/source/a"} {
		if got, ok := pipeline.Locate(key); ok {
			t.Errorf("%q: %+v", key, got)
		}
	}
}
