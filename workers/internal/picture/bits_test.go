package picture

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestBitsFollowTheSource: no output has more than 1.3 times the source's bits, scaled by pixels and by the
// efficiency of the codec, if the source's bit rate is known.
func TestBitsFollowTheSource(t *testing.T) {
	film := func(codec string, rate int64, change func(m *pipeline.Media)) pipeline.Media {
		m := pipeline.Media{Duration: 100, Size: (rate + 128000) * 100 / 8, Audio: []pipeline.AudioTrack{{Bitrate: 128000}}}
		m.Video = pipeline.VideoTrack{Codec: codec, Width: 1920, Height: 1080, Bitrate: rate}
		if change != nil {
			change(&m)
		}
		return m
	}
	full, half := Size{1920, 1080}, Size{960, 540}
	for _, c := range []struct {
		name     string
		media    pipeline.Media
		size     Size
		encoders float64
		want     int
	}{
		{"its size", film("h264", 1708000, nil), full, 0, 2220},
		{"a quarter of the pixels", film("h264", 1708000, nil), half, 0, 555},
		{"what encoders begin with", film("h264", 1708000, nil), full, 10, 1881},
		{"the ceiling", film("h264", 20000000, nil), full, 0, 9000},
		{"the floor", film("h264", 20000, nil), full, 0, 150},
		{"the floor of a short clip", film("h264", 20000, func(m *pipeline.Media) { m.Duration, m.Size = 8, 20000 }), full, 2, 125},
		{"a still", film("h264", 144, nil), half, 0, 150},
		{"HEVC", film("hevc", 1000000, nil), full, 0, 2600},
		{"VP9", film("vp9", 1000000, nil), full, 0, 2600},
		{"AV1", film("av1", 1000000, nil), full, 0, 3900},
		{"MJPEG", film("mjpeg", 30000000, nil), full, 0, 9000},
		{"the file less its audio", film("h264", 1708000, func(m *pipeline.Media) { m.Video.Bitrate = 0 }), full, 0, 2220},
		{"a fact that cannot be", film("h264", 1708000, func(m *pipeline.Media) { m.Video.Bitrate = 50000 }), full, 0, 2220},
		{"an unknown rate", film("h264", 0, func(m *pipeline.Media) { m.Size = 0 }), full, 0, 9000},
		{"audio that has more than the file", film("h264", 0, func(m *pipeline.Media) { m.Audio[0].Bitrate = 1e9 }), full, 0, 9000},
		{"an unknown length", film("h264", 1708000, func(m *pipeline.Media) { m.Duration = 0 }), full, 0, 9000},
	} {
		if got := Cap(c.media, c.size, 9000, c.encoders); got != c.want {
			t.Errorf("%s: %d kbit/s, want %d", c.name, got, c.want)
		}
	}
}
