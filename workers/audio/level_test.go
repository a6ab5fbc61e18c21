package audio

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

// encodedSound encodes a source whose only audio track is not copied, and returns its audio.m4a.
func encodedSound(t *testing.T, name string, channels, seconds int, sound ...string) (source, file string) {
	t.Helper()
	source = workertest.Clip(t, name, slices.Concat(workertest.Pattern("64x64", "5", fmt.Sprint(seconds)),
		[]string{"-f", "lavfi", "-i"}, sound[:1], x264, sound[1:])...)
	m := pipeline.Media{Container: "mov", Duration: float64(seconds), Audio: []pipeline.AudioTrack{
		{Stream: 1, Codec: "pcm_s16le", Channels: channels, SampleRate: 48000, Duration: float64(seconds)},
	}}
	return source, filepath.Join(render(t, layout{1000, 40}, source, m).root, "audio.m4a")
}

// sides decodes a file to both channels.
func sides(t *testing.T, file string) (left, right []float32) {
	t.Helper()
	for i, side := range []*[]float32{&left, &right} {
		*side = samplesOf(t, workertest.Clip(t, "side.wav", "-i", file, "-vn",
			"-af", fmt.Sprintf("pan=mono|c0=c%d", i), "-c:a", "pcm_f32le"))
	}
	return left, right
}

func decibels(samples []float32) float64 {
	_, rms := pitch(samples)
	return 20 * math.Log10(rms)
}

// TestMonoKeepsItsLevel: mono has its own level on both sides, quiet or loud.
func TestMonoKeepsItsLevel(t *testing.T) {
	for _, sound := range []string{
		"aevalsrc=0.25*sin(2*PI*(200*t+40*t*t))+0.1*(random(0)-0.5):s=48000:d=4", "aevalsrc=0.7*sin(2*PI*440*t):s=48000:d=4",
	} {
		source, file := encodedSound(t, "a.mov", 1, 4, sound, "-c:a", "pcm_s16le")
		want := decibels(samplesOf(t, source))
		left, right := sides(t, file)
		for _, side := range [][]float32{left, right} {
			if got := decibels(side); math.Abs(got-want) > 0.3 {
				t.Errorf("%s: %.2f dB, the source has %.2f dB", sound, got, want)
			}
		}
	}
}

// TestOneSideStaysThere: a channel on the left is heard on the left only.
func TestOneSideStaysThere(t *testing.T) {
	_, file := encodedSound(t, "a.mov", 8, 2,
		"aevalsrc=0|0|0|0|0.4*sin(2*PI*500*t)|0|0|0:s=48000:c=7.1:d=2", "-c:a", "pcm_s16le")
	left, right := sides(t, file)
	if l, r := decibels(left), decibels(right); l < -20 || r > -60 {
		t.Errorf("%.1f dB on the left, %.1f dB on the right", l, r)
	}
}

// TestLoudMixDoesNotClip: the decoded mix does not clip, even between samples, and every channel is heard.
func TestLoudMixDoesNotClip(t *testing.T) {
	const tone = "0.9*sin(2*PI*220*t)"
	for layout, sound := range map[string]string{
		"5.1": tone + "|" + tone + "|" + tone + "|0.9*sin(2*PI*50*t)|" + tone + "|" + tone,
		"7.1": tone + "|0.9*sin(2*PI*330*t)|" + tone + "|0|" + tone + "|" + tone + "|0.9*(random(0)-0.5)|0.9*(random(1)-0.5)",
	} {
		_, file := encodedSound(t, "a.mov", 6, 4, "aevalsrc="+sound+":s=48000:d=4:c="+layout, "-c:a", "pcm_s16le")
		// Oversampling by 4 shows the peaks between samples.
		data, err := os.ReadFile(workertest.Clip(t, "peaks.raw", "-i", file, "-vn", "-af", "aresample=192000", "-f", "f32le"))
		if err != nil {
			t.Fatal(err)
		}
		peak := 20 * math.Log10(float64(slices.Max(floats(data))))
		left, right := sides(t, file)
		if peak > -1 || min(decibels(left), decibels(right)) < -15 {
			t.Errorf("%s: a peak of %.2f dBFS, %.1f and %.1f dB", layout, peak, decibels(left), decibels(right))
		}
		if bass := decibels(samplesOf(t, workertest.Clip(t, "bass.wav", "-i", file, "-vn",
			"-af", "lowpass=f=70:p=2,lowpass=f=70:p=2,lowpass=f=70:p=2", "-c:a", "pcm_f32le"))); layout == "5.1" && bass < -36 {
			t.Errorf("the LFE channel has %.1f dB", bass)
		}
	}
}

// TestFilmKeepsItsLoudness: the limiter does not change the loudness of a mix with a usual level.
func TestFilmKeepsItsLoudness(t *testing.T) {
	source, file := encodedSound(t, "a.mov", 6, 8, "anoisesrc=c=pink:a=0.15:d=8:s=1:r=48000[a];"+
		"anoisesrc=c=pink:a=0.15:d=8:s=2:r=48000[b];anoisesrc=c=pink:a=0.4:d=8:s=3:r=48000,tremolo=f=3:d=0.7[c];"+
		"aevalsrc=0.2*sin(2*PI*45*t)*lt(mod(t\\,4)\\,1):d=8:s=48000[d];anoisesrc=c=brown:a=0.1:d=8:s=5:r=48000[e];"+
		"anoisesrc=c=brown:a=0.1:d=8:s=6:r=48000[f];[a][b][c][d][e][f]join=inputs=6:channel_layout=5.1", "-c:a", "pcm_s16le")
	want := loudness(t, source, "pan=stereo|c0=FL+0.7071*FC+0.7071*BL|c1=FR+0.7071*FC+0.7071*BR,")
	if got := loudness(t, file, ""); math.Abs(got-want) > 0.5 {
		t.Errorf("%.2f LUFS, %.2f LUFS by the matrix", got, want)
	}
}

// loudness returns the integrated loudness of a file by EBU R128.
func loudness(t *testing.T, file, filter string) float64 {
	t.Helper()
	lines := filepath.Join(t.TempDir(), "loudness")
	workertest.Clip(t, "none", "-i", file, "-vn", "-af",
		filter+"ebur128=metadata=1,ametadata=print:key=lavfi.r128.I:file="+lines, "-f", "null")
	data, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndexByte(data, '=')
	value, err := strconv.ParseFloat(string(bytes.TrimSpace(data[at+1:])), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
