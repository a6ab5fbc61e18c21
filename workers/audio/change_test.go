package audio

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestFormatThatChanges: if channels or rate change in mid-stream, as in television between programmes, the
// audio before and after the change has the right pitch and the right time.
func TestFormatThatChanges(t *testing.T) {
	for _, c := range pipelinetest.Sweep([]struct {
		name          string // of the file
		codec, format string // format is also the extension of the bare stream
		first, second string // rate and layout
	}{
		{"channels.ts", "ac3", "ac3", "48000 stereo", "48000 5.1(side)"},
		{"rate.ts", "aac", "adts", "44100 stereo", "48000 stereo"},
		{"rate.mkv", "ac3", "ac3", "48000 stereo", "32000 5.1(side)"},
		{"fewer.ts", "ac3", "ac3", "48000 5.1(side)", "48000 stereo"},
		{"both.ts", "mp2", "mp2", "44100 mono", "48000 stereo"},
		{"mono.mkv", "mp2", "mp2", "48000 stereo", "48000 mono"},
	}, 3) {
		t.Run(c.name, func(t *testing.T) {
			source := joinedSource(t, c.name, 3, 6,
				bareSound(t, c.codec, c.format, c.first, 440, 3), bareSound(t, c.codec, c.format, c.second, 880, 3))
			m := changing(c.name, 6)
			heard := samplesOf(t, render(t, standard, source, m).joined(t, "audio-und"))
			expectTones(t, heard, 3, 6)
		})
	}
}

// TestFormatThatChangesInParts: a part that begins after the change, and is read by seeking, continues the
// one before.
func TestFormatThatChangesInParts(t *testing.T) {
	source := joinedSource(t, "a.mkv", 10, 40, bareSound(t, "ac3", "ac3", "48000 stereo", 440, 10),
		bareSound(t, "ac3", "ac3", "48000 5.1(side)", 880, 30))
	out := render(t, layout{1, 4}, source, changing("a.mkv", 40))
	if len(out.results) != 4 {
		t.Errorf("%d jobs", len(out.results))
	}
	packetsOf(t, out.joined(t, "audio-und"))
	expectTones(t, samplesOf(t, out.joined(t, "audio-und")), 10, 40)
}

// changing returns the facts of a file whose audio header describes its first part.
func changing(name string, seconds float64) pipeline.Media {
	container := map[string]string{".ts": "mpegts", ".mkv": "matroska"}[filepath.Ext(name)]
	return pipeline.Media{Container: container, Duration: seconds, Audio: []pipeline.AudioTrack{
		{Stream: 1, Codec: "ac3", Channels: 2, SampleRate: 48000, Duration: seconds},
	}}
}

// bareSound returns a file of a tone without a container; form is rate and layout.
func bareSound(t *testing.T, codec, format, form string, hertz, seconds int) []byte {
	t.Helper()
	rate, layout, _ := strings.Cut(form, " ")
	data, err := os.ReadFile(workertest.Clip(t, "bare", "-f", "lavfi", "-i",
		fmt.Sprintf("sine=f=%d:r=%s:d=%d,aformat=channel_layouts=%s", hertz, rate, seconds, layout),
		"-c:a", codec, "-f", format))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// joinedSource returns a file with one tone after the other, the second from a second on.
func joinedSource(t *testing.T, name string, change, seconds int, first, second []byte) string {
	t.Helper()
	var args []string
	for i, data := range [][]byte{first, second} {
		bare := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(bare, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-i", bare)
	}
	// Each tone becomes a file with its own times. The muxer that joins them sees one stream.
	parts := make([]string, 2)
	for i := range parts {
		parts[i] = workertest.Clip(t, fmt.Sprintf("%d.ts", i), slices.Concat(args[2*i:2*i+2],
			[]string{"-c", "copy", "-muxdelay", "0", "-output_ts_offset", fmt.Sprint(i * change)})...)
	}
	data, err := os.ReadFile(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "whole.ts")
	if err := os.WriteFile(whole, slices.Concat(data, more), 0o600); err != nil {
		t.Fatal(err)
	}
	return workertest.Clip(t, name, slices.Concat(workertest.Pattern("64x64", "5", fmt.Sprint(seconds)),
		[]string{"-i", whole, "-map", "0", "-map", "1"}, x264, []string{"-g", "25", "-c:a", "copy"})...)
}

// expectTones expects 440 Hz up to the change and 880 Hz from there to the end, in seconds.
func expectTones(t *testing.T, samples []float32, change, end float64) {
	t.Helper()
	if long := float64(len(samples)) / 48000; math.Abs(long-end) > 0.1 {
		t.Errorf("%.3f s of sound, want %g", long, end)
	}
	const step = 0.05
	for at := step; at < end-3*step; at += step {
		want := 440.0
		if at > change {
			want = 880
		}
		near := math.Abs(at+step/2-change) < 2*step
		from := int(at * 48000)
		if len(samples) < from+2400 {
			return
		}
		got, level := pitch(samples[from : from+2400])
		if !near && (math.Abs(got-want) > 25 || level < 0.02) {
			t.Errorf("at %.2f s: %.0f Hz, rms %.3f, want %.0f Hz", at, got, level, want)
		}
	}
}

// pitch returns the frequency of a tone, by its zero crossings, and its RMS.
func pitch(samples []float32) (hertz, rms float64) {
	crossings, sum := 0, 0.0
	for i, s := range samples {
		if i > 0 && (s < 0) != (samples[i-1] < 0) {
			crossings++
		}
		sum += float64(s) * float64(s)
	}
	return float64(crossings) / 2 / float64(len(samples)) * 48000, math.Sqrt(sum / float64(len(samples)))
}
