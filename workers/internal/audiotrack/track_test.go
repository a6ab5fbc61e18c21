package audiotrack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// heard decodes the track to samples, interleaved.
func heard(t *testing.T, track Track) []float32 {
	t.Helper()
	var out bytes.Buffer
	if _, err := track.play(t.Context(), &out, nil); err != nil {
		t.Fatal(err)
	}
	samples := make([]float32, out.Len()/4)
	for i := range samples {
		samples[i] = math.Float32frombits(binary.LittleEndian.Uint32(out.Bytes()[4*i:]))
	}
	return samples
}

// trackOf returns the only track of a file, with output in stereo at 48 kHz.
func trackOf(file, demuxer string, channels int) Track {
	return Track{
		Input: ffmpeg.Input{Path: file, Demuxer: demuxer}, Source: pipeline.AudioTrack{Channels: channels},
		Rate: 48000, Channels: 2,
	}
}

// levels returns the RMS of each side.
func levels(samples []float32) (left, right float64) {
	for i := 0; i < len(samples); i += 2 {
		left += float64(samples[i]) * float64(samples[i])
		right += float64(samples[i+1]) * float64(samples[i+1])
	}
	n := float64(len(samples) / 2)
	return math.Sqrt(left / n), math.Sqrt(right / n)
}

// TestLevels: a tone in one channel of any layout is heard on the right side, at the right level.
func TestLevels(t *testing.T) {
	const half, third = math.Sqrt2 / 2, 0.5 // 3 and 6 dB lower
	for _, c := range []struct {
		layout      string
		channel     int
		left, right float64 // as fractions of the channel's level
	}{
		{"mono", 0, 1, 1},
		{"stereo", 0, 1, 0}, {"stereo", 1, 0, 1},
		{"2.1", 1, 0, 1}, {"2.1", 2, 0.178, 0.178},
		{"3.0", 2, half, half},
		{"quad", 0, 1, 0}, {"quad", 2, half, 0}, {"quad", 3, 0, half},
		{"4.0", 3, third, third},
		{"5.1", 2, half, half}, {"5.1", 3, 0.178, 0.178}, {"5.1", 4, half, 0}, {"5.1(side)", 5, 0, half},
		{"6.1", 0, 1, 0}, {"6.1", 4, third, third}, {"6.1", 5, half, 0},
		{"7.1", 4, half, 0}, {"7.1", 5, 0, half}, {"7.1", 6, half, 0}, {"7.1", 7, 0, half},
	} {
		gains := make([]string, 0, 8)
		channels := map[string]int{"mono": 1, "stereo": 2, "2.1": 3, "3.0": 3, "quad": 4, "4.0": 4, "6.1": 7, "7.1": 8}[c.layout]
		for i := range max(channels, 6*(1-min(1, channels))) {
			gain := 0.0
			if i == c.channel {
				gain = 0.5
			}
			gains = append(gains, fmt.Sprintf("%g*sin(2*PI*300*t)", gain))
		}
		file := workertest.Clip(t, "a.mkv", "-f", "lavfi", "-i",
			"aevalsrc="+strings.Join(gains, "|")+":s=48000:d=0.5:c="+c.layout, "-c:a", "flac")
		left, right := levels(heard(t, trackOf(file, "matroska", len(gains))))
		if level := 0.5 * half; math.Abs(left-level*c.left) > 0.004 || math.Abs(right-level*c.right) > 0.004 {
			t.Errorf("channel %d of %s: %.3f and %.3f, want %.3f and %.3f", c.channel, c.layout,
				left/level, right/level, c.left, c.right)
		}
	}
}

// TestLayoutsWithoutAName: all channels are heard, up to 16, even if the file does not say their order.
func TestLayoutsWithoutAName(t *testing.T) {
	for _, channels := range []int{3, 4, 5, 6, 7, 8, 9, 10, 12, 16} {
		tones := strings.TrimSuffix(strings.Repeat("0.05*sin(2*PI*300*t)|", channels), "|")
		raw := workertest.Clip(t, "a.raw", "-f", "lavfi", "-i", "aevalsrc="+tones+":s=48000:d=0.3", "-f", "s16le")
		file := workertest.Clip(t, "a.mkv", "-f", "s16le", "-ar", "48000", "-ac", fmt.Sprint(channels), "-i", raw, "-c", "copy")
		samples := heard(t, trackOf(file, "matroska", channels))
		left, right := levels(samples)
		if len(samples) != 2*14400 || min(left, right) < 0.035 {
			t.Errorf("%d channels: %d samples of %.3f and %.3f", channels, len(samples), left, right)
		}
	}
}

// TestTrackOfOneSide: a track of one channel is heard on both sides, even if it is labelled left or right.
func TestTrackOfOneSide(t *testing.T) {
	for _, side := range []string{"FL", "FR", "FC"} {
		file := workertest.Clip(t, "a.mov", "-f", "lavfi", "-i",
			"aevalsrc=0.5*sin(2*PI*300*t):s=48000:d=0.5:c="+side, "-c:a", "pcm_s16le")
		track := trackOf(file, "mov", 1)
		probe, err := ffmpeg.Tools{}.Probe(t.Context(), file, ffmpeg.ProbeOptions{Demuxer: "mov"})
		if err != nil {
			t.Fatal(err)
		}
		track.Source.Layout = probe.Audios()[0].ChannelLayout
		left, right := levels(heard(t, track))
		if want := math.Sqrt2 / 4; math.Abs(left-want) > 0.004 || math.Abs(right-want) > 0.004 {
			t.Errorf("%s (%s): %.3f and %.3f, want %.3f", side, track.Source.Layout, left, right, want)
		}
	}
}

// TestForms: at rates from 8 to 192 kHz and with all sample formats, pitch, length and level stay the same.
// Samples above full scale are not clipped.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		codec string
		rate  int
		level float64
	}{
		{"pcm_s24le", 96000, 0.5}, {"pcm_s16le", 192000, 0.5}, {"pcm_u8", 8000, 0.5}, {"pcm_alaw", 8000, 0.5},
		{"pcm_s32le", 44100, 1}, {"pcm_f32le", 48000, 1}, {"pcm_f32le", 48000, 4}, {"pcm_f64le", 96000, 3},
	} {
		file := workertest.Clip(t, "a.wav", "-f", "lavfi", "-i",
			fmt.Sprintf("aevalsrc=%g*sin(2*PI*300*t)|%g*sin(2*PI*300*t):s=%d:d=1", c.level, c.level, c.rate), "-c:a", c.codec)
		samples := heard(t, trackOf(file, "wav", 2))
		middle := samples[2*12000 : 2*36000]
		left, right := levels(middle)
		want := min(c.level, 1) * math.Sqrt2 / 2
		if c.level > 1 {
			want = ceiling * math.Sqrt2 / 2
		}
		if math.Abs(left-want) > 0.02 || math.Abs(right-want) > 0.02 || math.Abs(float64(len(samples)-96000)) > 100 {
			t.Errorf("%s at %d Hz: %d samples of %.3f and %.3f, want %.3f", c.codec, c.rate, len(samples), left, right, want)
		}
		if peak := slices.Max(samples); peak > 1.001 {
			t.Errorf("%s at %d Hz: a peak of %.3f", c.codec, c.rate, peak)
		}
		crossings := 0
		for i := 2; i < len(middle); i += 2 {
			if (middle[i] < 0) != (middle[i-2] < 0) {
				crossings++
			}
		}
		if crossings < 298 || crossings > 302 {
			t.Errorf("%s at %d Hz: %d crossings in half a second", c.codec, c.rate, crossings)
		}
	}
}

// TestPartsAreLimitedAsTheWhole: a part of a loud mix has the same samples as the whole, from its first on.
func TestPartsAreLimitedAsTheWhole(t *testing.T) {
	file := workertest.Clip(t, "a.wav", "-f", "lavfi", "-i",
		"aevalsrc="+strings.TrimSuffix(strings.Repeat("(1+sin(2*PI*0.7*t))*0.5*sin(2*PI*220*t+3*sin(2*PI*3*t))|", 6), "|")+
			":s=48000:c=5.1:d=6", "-c:a", "pcm_s16le")
	track := trackOf(file, "wav", 6)
	whole := heard(t, track)
	track.First, track.End = 4*48000, 5*48000
	part := heard(t, track)
	if len(part) != 2*48000 || len(whole) != 2*6*48000 {
		t.Fatalf("%d samples of %d", len(part), len(whole))
	}
	for i, s := range part {
		if want := whole[2*4*48000+i]; math.Abs(float64(s-want)) > 1e-6 {
			t.Fatalf("sample %d of the part is %g, of the whole %g", i, s, want)
		}
	}
	if peak := float64(slices.Max(whole)); peak > ceiling+1e-3 || peak < 0.9*ceiling {
		t.Errorf("a peak of %.3f", peak)
	}
}

// TestPacketsOfManyFrames: packets of AMR in 3GP usually have five frames. All of them are heard.
func TestPacketsOfManyFrames(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	frames := []byte("#!AMR\n")
	for range 100 { // 2 s
		frames = append(frames, 0x3c) // 12.2 kbit/s, 31 bytes follow
		for range 31 {
			frames = append(frames, byte(random.Uint32()))
		}
	}
	bare := filepath.Join(t.TempDir(), "a.amr")
	if err := os.WriteFile(bare, frames, 0o600); err != nil {
		t.Fatal(err)
	}
	file := workertest.Clip(t, "a.mov", "-f", "amr", "-i", bare, "-c", "copy", "-brand", "3gp4")
	packInFives(t, file)
	track := trackOf(file, "mov", 1)
	track.Dir, track.Source.Codec, track.Begin = t.TempDir(), "amr_nb", 0.5
	samples := heard(t, track)
	quiet := 0
	for at := 24000; at+480 < len(samples)/2; at += 480 {
		if left, _ := levels(samples[2*at : 2*(at+480)]); left < 1e-4 {
			quiet++
		}
	}
	if left, _ := levels(samples[:2*23900]); left > 0 || len(samples)/2 < 2.45*48000 || len(samples)/2 > 2.55*48000 || quiet > 5 {
		t.Errorf("%.3f s of sound, %d times 10 ms of silence in it; %.4f before it begins",
			float64(len(samples)/2)/48000, quiet, left)
	}
}

// packInFives changes the track of a file, in place, from packets of one frame of 32 bytes to packets of five
// frames. Source of the boxes: ISO/IEC 14496-12, 8.6.1.2, 8.7.3 and 8.7.4.
func packInFives(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(box string, offset int, by func(uint32) uint32) {
		at := bytes.Index(data, []byte(box))
		if at < 0 {
			t.Fatalf("no %s", box)
		}
		field := data[at+4+offset:]
		binary.BigEndian.PutUint32(field, by(binary.BigEndian.Uint32(field)))
	}
	less, more := func(n uint32) uint32 { return n / 5 }, func(n uint32) uint32 { return 5 * n }
	change("stts", 8, less)
	change("stts", 12, more)
	change("stsz", 4, more)
	change("stsz", 8, less)
	entries := binary.BigEndian.Uint32(data[bytes.Index(data, []byte("stsc"))+8:])
	for i := range int(entries) {
		change("stsc", 8+12*i+4, less)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
