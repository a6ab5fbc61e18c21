package audio

import (
	"bytes"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestSeams: a track encoded in chunks has the same frames as one encoded in one go, and is as close to the
// source at the seams as elsewhere.
func TestSeams(t *testing.T) {
	const seconds = 44
	sound := sweep(t, seconds)
	for _, c := range pipelinetest.Sweep([]struct {
		name, container string
		track           pipeline.AudioTrack
		args            []string
	}{
		{"opus.webm", "matroska", pipeline.AudioTrack{Codec: "opus"}, []string{"-c:a", "libopus", "-b:a", "192k"}},
		{"mp3.mp4", "mov", pipeline.AudioTrack{Codec: "mp3"}, []string{"-c:a", "libmp3lame", "-b:a", "192k"}},
		{"mp3.mkv", "matroska", pipeline.AudioTrack{Codec: "mp3"}, []string{"-c:a", "libmp3lame", "-b:a", "192k"}},
		{"vorbis.mkv", "matroska", pipeline.AudioTrack{Codec: "vorbis"}, []string{"-c:a", "libvorbis", "-q:a", "6"}},
		{"pcm.mov", "mov", pipeline.AudioTrack{Codec: "pcm_s16le"}, []string{"-c:a", "pcm_s16le"}},
	}, 2) {
		t.Run(c.name, func(t *testing.T) {
			video := slices.Concat(x264, []string{"-g", "30"})
			if filepath.Ext(c.name) == ".webm" {
				video = []string{"-c:v", "libvpx", "-deadline", "realtime", "-g", "30"}
			}
			source := workertest.Clip(t, c.name, slices.Concat(workertest.Pattern("64x64", "5", "44"),
				[]string{"-i", sound}, video, c.args)...)
			c.track.Stream, c.track.Duration = 1, seconds
			m := pipeline.Media{Container: c.container, Duration: seconds, Audio: []pipeline.AudioTrack{c.track}}
			chunked, whole := render(t, layout{1, 4}, source, m), render(t, layout{1000, 4}, source, m)
			if len(chunked.results) != 4 || len(whole.results) != 1 {
				t.Fatalf("%d and %d jobs", len(chunked.results), len(whole.results))
			}
			compare(t, samplesOf(t, source), chunked, whole)
		})
	}
}

// compare compares a track in chunks with one encoded in one go, and both with the source's samples.
func compare(t *testing.T, source []float32, chunked, whole rendered) {
	t.Helper()
	a, b := chunked.joined(t, "audio-und"), whole.joined(t, "audio-und")
	packets, head := packetsOf(t, a)
	reference, headOfWhole := packetsOf(t, b)
	if len(packets) != len(reference) || !bytes.Equal(head.config, headOfWhole.config) {
		t.Errorf("%d packets in chunks, %d in one go", len(packets), len(reference))
	}
	compareTracks(t, chunked, whole)
	got, want := samplesOf(t, a), samplesOf(t, b)
	if file := samplesOf(t, filepath.Join(chunked.root, "audio.m4a")); !slices.Equal(file, got) {
		t.Errorf("audio.m4a has other sound than the segments: %d and %d samples", len(file), len(got))
	}
	for _, track := range chunked.index(t)[1:] {
		seam := border(track.First, encodedForm.rate) * frameSamples
		// Check the eight frames around the seam together, and each alone: a click would be in one of them.
		const around = 4 * frameSamples
		here, there := noise(source, got, seam-around, seam+around), noise(source, want, seam-around, seam+around)
		if here > 2*there { // 3 dB
			t.Errorf("seam at %.3f s: noise %.1f dB, %.1f dB in one go",
				float64(seam)/float64(encodedForm.rate), db(here), db(there))
		}
		for at := seam - around; at < seam+around; at += frameSamples {
			if one := noise(source, got, at, at+frameSamples); one > 5*there { // 7 dB
				t.Errorf("%.3f s from the seam at %.3f s: noise %.1f dB, %.1f dB around it in one go",
					float64(at-seam)/float64(encodedForm.rate), float64(seam)/float64(encodedForm.rate), db(one), db(there))
			}
		}
	}
	third := len(source) / 3
	if here, there := noise(source, got, third, 2*third), noise(source, want, third, 2*third); here > 1.3*there {
		t.Errorf("noise of the middle third: %.1f dB, %.1f dB in one go", db(here), db(there))
	}
}

// compareTracks compares the indexes, and checks that all chunks have the same header.
func compareTracks(t *testing.T, chunked, whole rendered) {
	t.Helper()
	all, one := chunked.index(t), whole.index(t)[0]
	var durations []float64
	for _, track := range all {
		if track.First != len(durations) || track.Header != one.Header || track.InitSize != one.InitSize ||
			track.Timescale != encodedForm.rate || track.Codecs != codecs {
			t.Errorf("track %+v", track)
		}
		durations = append(durations, track.Durations()...)
	}
	if !slices.Equal(durations, one.Durations()) {
		t.Errorf("segments of %v in chunks, %v in one go", durations, one.Durations())
	}
	lasts := 0
	for _, r := range chunked.results {
		for _, o := range r.Outputs {
			if s := o.Segments; s != nil && s.Last {
				lasts++
			}
		}
	}
	if lasts != 1 {
		t.Errorf("%d runs are the last", lasts)
	}
}

// noise returns the mean square of the difference between samples and the source's.
func noise(source, made []float32, from, to int) float64 {
	var sum float64
	for i := from; i < to; i++ {
		d := float64(source[i]) - float64(made[i])
		sum += d * d
	}
	return sum / float64(to-from)
}

func db(power float64) float64 { return 10 * math.Log10(power) }
