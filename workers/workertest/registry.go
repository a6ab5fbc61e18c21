package workertest

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// Registry returns a registry of one worker.
func Registry[P any](name string, w workers.Worker[P]) *workers.Registry {
	r := workers.NewRegistry()
	workers.Add(r, name, w)
	return r
}

// Media returns the facts of an MP4 of H.264 without audio: its size in pixels, frames/s, and seconds.
func Media(width, height, rate int, seconds float64) pipeline.Media {
	return pipeline.Media{Container: "mov", Duration: seconds, Video: pipeline.VideoTrack{
		Codec: "h264", Width: width, Height: height, CodedWidth: width, CodedHeight: height,
		FrameRateNum: rate, FrameRateDen: 1,
	}}
}
