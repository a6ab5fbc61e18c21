package inspect

import (
	"math"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Limits are the largest values that a source may have. A zero field means the default beside it.
type Limits struct {
	Size        int64         // bytes; 10 GiB
	Duration    time.Duration // 6 h
	Long, Short int           // pixels of a frame's edges, as stored; 8192 and 4320
	FrameRate   float64       // frames/s, measured; 240
	Streams     int           // of any kind; 32
	Channels    int           // of one audio track; 16
	MaxBitrate  int64         // bits/s of the whole file; 1,000,000,000
	SampleRatio float64       // longer edge of a pixel to the shorter; 16
	Pixels      float64       // of all frames together; those of 6 h of 3840x2160 at 30 frames/s, 5.4e12
}

// mostPixels is the default of Limits.Pixels. Frames that only repeat others take a dozen bytes each, however
// large they are, but decoding and scaling them takes as long as any. Without this limit, a file of 5 MB with
// 6 hours of 8192x4320 would keep a machine busy for days.
const mostPixels = 6 * 60 * 60 * 30 * 3840 * 2160

func (l Limits) withDefaults() Limits {
	return Limits{
		Size: or(l.Size, 10<<30), Duration: or(l.Duration, 6*time.Hour),
		Long: or(l.Long, 8192), Short: or(l.Short, 4320), FrameRate: or(l.FrameRate, 240),
		Streams: or(l.Streams, 32), Channels: or(l.Channels, 16),
		MaxBitrate: or(l.MaxBitrate, 1e9), SampleRatio: or(l.SampleRatio, 16),
		Pixels: or(l.Pixels, mostPixels),
	}
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func (l Limits) checkSize(size int64) error {
	switch {
	case size == 0:
		return pipeline.Fail(pipeline.CodeNotVideo, "the file is empty")
	case size > l.Size:
		return pipeline.Fail(pipeline.CodeTooLarge, "%d bytes; at most %d are accepted", size, l.Size)
	}
	return nil
}

// checkProbe checks what the container declares.
func (l Limits) checkProbe(r ffmpeg.ProbeResult) error {
	if n := max(r.Format.NbStreams, len(r.Streams)); n > l.Streams {
		return pipeline.Fail(pipeline.CodeLimits, "%d streams; at most %d are accepted", n, l.Streams)
	}
	for _, a := range r.Audios() {
		if a.Channels > l.Channels {
			return pipeline.Fail(pipeline.CodeLimits, "%d audio channels; at most %d are accepted",
				a.Channels, l.Channels)
		}
	}
	return nil
}

// checkVideo checks the chosen video track. oversized: some frames had too many pixels for ffprobe.
func (l Limits) checkVideo(s ffmpeg.Stream, oversized bool) error {
	long, short := max(s.Width, s.Height), min(s.Width, s.Height)
	sar := sampleRatio(s)
	switch {
	case short <= 0 && oversized:
		return pipeline.Fail(pipeline.CodeLimits, "the frames have more pixels than are accepted, %dx%d",
			l.Long, l.Short)
	case short <= 0: // only frames have the size, and none was found (late.go)
		return pipeline.Fail(pipeline.CodeMalformed,
			"no frame was found in the first 10 minutes or 128 MB of the file")
	case long > l.Long || short > l.Short:
		return pipeline.Fail(pipeline.CodeLimits, "%dx%d pixels; at most %dx%d are accepted",
			s.Width, s.Height, l.Long, l.Short)
	case sar > l.SampleRatio || sar < 1/l.SampleRatio:
		return pipeline.Fail(pipeline.CodeLimits, "the pixel aspect is %s; at most 1:%g either way is accepted",
			s.SAR, l.SampleRatio)
	case s.RotationBad:
		return pipeline.Fail(pipeline.CodeLimits, "the rotation is not a number")
	}
	return nil
}

// farthest is when a video may begin, in seconds: recordings of streams may count from 1970. ffmpeg cannot
// shift times by much more.
const (
	year     = 365 * 24 * 60 * 60
	farthest = 100 * year
)

// offRate is the share of the limit by which a rate may exceed it, since clocks are coarse.
const offRate = 0.05

// checkMedia checks what is only known after measuring: frames is how many were found, and fps their rate, 0
// for a single frame. There is no lowest bit rate, since a still needs nearly none.
func (l Limits) checkMedia(m *pipeline.Media, frames int64, fps float64) error {
	// A single frame has nearly no length, so its bit rate would be huge.
	bitrate := int64(float64(m.Size*8) / math.Max(1, m.Duration))
	all := math.Max(float64(frames), m.Duration*m.Video.FrameRate()) // pauses are filled with frames
	pixels := all * float64(m.Video.CodedWidth*m.Video.CodedHeight)
	switch {
	case math.Abs(m.Origin()) > farthest:
		return pipeline.Fail(pipeline.CodeMalformed, "the video begins %.3g years from its time 0",
			m.Origin()/year)
	case m.Duration > l.Duration.Seconds():
		return pipeline.Fail(pipeline.CodeTooLong, "%.0f seconds; at most %.0f are accepted",
			m.Duration, l.Duration.Seconds())
	case fps > (1+offRate)*l.FrameRate:
		return pipeline.Fail(pipeline.CodeLimits, "%.4g frames/s; at most %g are accepted", fps, l.FrameRate)
	case bitrate > l.MaxBitrate:
		return pipeline.Fail(pipeline.CodeLimits, "%d bits/s; at most %d are accepted",
			bitrate, l.MaxBitrate)
	case pixels > l.Pixels:
		return pipeline.Fail(pipeline.CodeLimits,
			"%.0f frames of %dx%d have %.3g pixels together; at most %.3g are accepted",
			all, m.Video.CodedWidth, m.Video.CodedHeight, pixels, l.Pixels)
	}
	return nil
}
