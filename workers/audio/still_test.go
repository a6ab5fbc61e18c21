package audio

import (
	"math"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestSoundBehindTheEndOfThePicture: ffmpeg seeks by the video track. After its end, reading begins long
// before the chunk, but the chunk is still complete.
func TestSoundBehindTheEndOfThePicture(t *testing.T) {
	const seconds = 70
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("64x64", "5", "2"), workertest.Tone("70"), x264,
		[]string{"-c:a", "flac"})...)
	m := pipeline.Media{Container: "matroska", Duration: seconds, Audio: []pipeline.AudioTrack{
		{Stream: 1, Codec: "flac", Channels: 1, SampleRate: 44100, Duration: seconds},
	}}
	heard := samplesOf(t, render(t, layout{1, 4}, source, m).joined(t, "audio-und"))
	second := len(heard) / seconds
	for at := 0; at+second <= len(heard); at += second {
		sum := 0.0
		for _, s := range heard[at : at+second] {
			sum += float64(s) * float64(s)
		}
		if level := math.Sqrt(sum / float64(second)); level < 0.08 || level > 0.1 {
			t.Errorf("second %d: %.3f, want 0.088", at/second, level)
		}
	}
}
