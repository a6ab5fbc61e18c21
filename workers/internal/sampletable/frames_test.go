package sampletable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/workers/workertest"
)

// tone returns a file of that name with 4 s of video and AAC.
func tone(t testing.TB, name string, more ...string) string {
	t.Helper()
	return workertest.Clip(t, name, slices.Concat(workertest.Pattern("64x64", "10", "4"), workertest.Tone("4"),
		[]string{"-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ar", "48000", "-ac", "2"}, more)...)
}

// TestFrames: the frames are those that ffmpeg copies from the file, except for the priming.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name           string
		rate, channels int
		args           []string
	}{
		{"a.mp4", 48000, 2, nil},
		{"a.mp4", 44100, 1, []string{"-ar", "44100", "-ac", "1"}},
		{"a.mp4", 48000, 2, []string{"-movflags", "+faststart"}},
		{"a.mov", 48000, 2, nil}, // the entry has version 1, and the configuration is in a wave box
	} {
		path := tone(t, c.name, c.args...)
		s, err := open(t, path).Frames(t.Context(), 2, 0)
		if err != nil || s.Rate != c.rate || s.Channels != c.channels || len(s.Config) < 2 {
			t.Errorf("%s %v: %+v, %v", c.name, c.args, s, err)
			continue
		}
		want := adts(t, path)[1:]
		if got := take(t, s, 0, s.Count); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s %v: %d frames, want %d", c.name, c.args, len(got), len(want))
		}
		if got := take(t, s, 7, 19); !slices.EqualFunc(got, want[7:19], bytes.Equal) {
			t.Errorf("%s %v: %d frames of 7 to 19", c.name, c.args, len(got))
		}
	}
}

func take(t *testing.T, s *Frames, from, to int) (all [][]byte) {
	t.Helper()
	err := s.Each(t.Context(), from, to, func(data []byte) error {
		all = append(all, bytes.Clone(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// adts returns the frames that ffmpeg copies from the file, without the headers of 7 bytes that it adds.
func adts(t *testing.T, path string) (all [][]byte) {
	t.Helper()
	data, err := os.ReadFile(workertest.Clip(t, "a.aac", "-i", path, "-vn", "-c:a", "copy", "-copypriorss", "1"))
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 7 {
		size := int(data[3]&3)<<11 | int(data[4])<<3 | int(data[5])>>5
		all, data = append(all, data[7:size]), data[size:]
	}
	return all
}

// TestFramesThatCannotBeTaken: the error says what is wrong with the track.
func TestFramesThatCannotBeTaken(t *testing.T) {
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good := read(tone(t, "a.mp4"))
	damaged := func(change func(data []byte, sizes int)) []byte {
		data := bytes.Clone(good)
		change(data, bytes.LastIndex(data, []byte("stsz"))+4) // 8.7.3.2: flags, size, count, sizes
		return data
	}
	gap := "setts=ts=PTS+if(gt(N\\,100)\\," + strconv.Itoa(19200) + "\\,0)"
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"a gap", "is off by 0.400 s", read(tone(t, "a.mp4", "-bsf:a", gap))},
		{"surround", "channel configuration is 6", read(tone(t, "a.mp4", "-ac", "6"))},
		{"MP3", "no AAC configuration", read(tone(t, "a.mp4", "-c:a", "libmp3lame"))},
		{"fragments", "movie fragments", read(tone(t, "a.mp4", "-movflags", "frag_keyframe+empty_moov"))},
		{"an empty frame", "is empty", damaged(func(data []byte, sizes int) {
			binary.BigEndian.PutUint32(data[sizes+12+4*50:], 0)
		})},
		{"a frame behind the end", "do not agree", damaged(func(data []byte, sizes int) {
			binary.BigEndian.PutUint32(data[sizes+12+4*50:], 1<<30)
		})},
		{"cut short", "do not agree", read(tone(t, "a.mp4", "-movflags", "+faststart"))},
	} {
		if c.name == "cut short" {
			c.data = c.data[:len(c.data)-3000]
		}
		s, err := parse(t, c.data).Frames(t.Context(), 2, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", c.name, s, err)
		}
	}
	if s, err := parse(t, good).Frames(t.Context(), 2, -0.3); err == nil || !strings.Contains(err.Error(), "begins at 0.279") {
		t.Errorf("late: %+v, %v", s, err)
	}
	for _, id := range []int64{0, 1, 3} { // 1 is the video
		if s, err := parse(t, good).Frames(t.Context(), id, 0); err == nil {
			t.Errorf("track %d: %+v", id, s)
		}
	}
}

func TestPlacement(t *testing.T) {
	for _, c := range []struct {
		name  string
		times []int64
		kept  int
		sound bool
	}{
		{"from 0", []int64{0, 1024, 2048}, 3, true},
		{"priming", []int64{-1024, 0, 1024}, 2, true},
		{"priming of Apple", []int64{-2112, -1088, -64, 960}, 2, true},
		{"a clock of milliseconds", []int64{0, 1008, 2064, 3072}, 4, true},
		{"a frame late", []int64{1024, 2048}, 2, true},
		{"later", []int64{2048, 3072}, 0, false},
		{"a gap", []int64{0, 1024, 4096}, 2, false},
		{"an overlap", []int64{0, 1024, 1500}, 2, false},
		{"frames of HE-AAC", []int64{0, 2048, 4096}, 1, false},
		{"a drift", []int64{0, 1074, 2148, 3222, 4296}, 3, false},
	} {
		line, sound := timeline{rate: 48000}, true
		for _, at := range c.times {
			if _, err := line.place(at); err != nil {
				sound = false
				break
			}
		}
		if line.frames != c.kept || sound != c.sound {
			t.Errorf("%s: %d kept, sound %v", c.name, line.frames, sound)
		}
	}
}

func TestParseConfig(t *testing.T) {
	for _, c := range []struct {
		name           string
		config         []byte
		rate, channels int
		sound          bool
	}{
		{"48 kHz stereo", []byte{0x11, 0x90}, 48000, 2, true},
		{"no SBR", []byte{0x11, 0x90, 0x56, 0xe5, 0x00}, 48000, 2, true},
		{"44.1 kHz mono", []byte{0x12, 0x08}, 44100, 1, true},
		{"SBR", []byte{0x11, 0x90, 0x56, 0xe5, 0x80}, 48000, 2, false},
		{"HE-AAC", []byte{0x2b, 0x11, 0x88, 0x00}, 0, 0, false},
		{"5.1", []byte{0x11, 0xb0}, 48000, 6, false},
		{"960 samples", []byte{0x11, 0x94}, 48000, 2, false},
		{"another rate", []byte{0x17, 0x80}, 0, 0, false},
		{"nothing", nil, 0, 0, false},
	} {
		rate, n, err := parseConfig(c.config)
		if (err == nil) != c.sound || c.sound && (rate != c.rate || n != c.channels) {
			t.Errorf("%s: %d Hz, %d channels, %v", c.name, rate, n, err)
		}
	}
}

// TestOverlappingFrames: frames that overlap cannot add up to more than the file has. A megabyte of tables would
// otherwise be hours of audio.
func TestOverlappingFrames(t *testing.T) {
	const size, frames = 100, 1000
	one := &track{
		entry:  entry{codec: "mp4a", config: []byte{0x11, 0x90}, alone: true}, // AAC-LC, 48 kHz, stereo
		header: &mp4.TkhdBox{TrackID: 1}, media: &mp4.MdhdBox{Timescale: 48000},
		times: &mp4.SttsBox{SampleCount: []uint32{frames}, SampleTimeDelta: []uint32{FrameSamples}},
		sizes: &mp4.StszBox{SampleUniformSize: size, SampleNumber: frames},
		runs:  &mp4.StscBox{Entries: []mp4.StscEntry{{FirstChunk: 1, SamplesPerChunk: 1}}},
		near:  &mp4.StcoBox{ChunkOffset: make([]uint32, frames)},
	}
	f := &File{size: size * frames, timescale: 1000, tracks: []*track{one}}
	f.window.r = bytes.NewReader(make([]byte, f.size))
	if s, err := f.Frames(t.Context(), 1, 0); err != nil || s.Count != frames {
		t.Errorf("in a file that is large enough: %+v, %v", s, err)
	}
	f.size--
	if s, err := f.Frames(t.Context(), 1, 0); !errors.Is(err, errTables) {
		t.Errorf("in a smaller file: %+v, %v", s, err)
	}
}
