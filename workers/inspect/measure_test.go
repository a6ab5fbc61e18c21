package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// counted returns tools that write a line at each start of ffmpeg; starts counts the lines. A shell runs more
// before each start.
func counted(t *testing.T, more string) (tools ffmpeg.Tools, starts func() int) {
	t.Helper()
	real, err := ffmpeg.Find("", "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script, log := filepath.Join(dir, "ffmpeg"), filepath.Join(dir, "log")
	text := fmt.Sprintf("#!/bin/sh\necho start >>%s\n%s\nexec %s \"$@\"\n", log, more, real.FFmpeg)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	real.FFmpeg = script
	return real, func() int {
		data, _ := os.ReadFile(log) // no file: no start
		return bytes.Count(data, []byte("start"))
	}
}

// factsOf returns the facts of an accepted file, and how often ffmpeg was started for them.
func factsOf(t *testing.T, path string) (*pipeline.Media, int) {
	t.Helper()
	tools, starts := counted(t, "")
	m, err := New(tools, Limits{MaxBitrate: 1 << 40}).look(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return m, starts()
}

func TestIndex(t *testing.T) {
	in := []string{"-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "5", "-bf", "2", "-sc_threshold", "0", "-c:a", "aac"}
	good := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "2"), workertest.Tone("2"), in)...)
	m, starts := factsOf(t, good)
	v := m.Video
	if v.Groups == nil || !v.Groups.Closed || math.Abs(v.Groups.Longest-0.5) > 0.01 || math.Abs(v.Groups.Average-0.5) > 0.01 {
		t.Errorf("groups %+v", v.Groups)
	}
	if v.Edits != pipeline.EditsSimple || v.Bitrate < 10000 || v.Level != 12 || v.Mirrored {
		t.Errorf("video %+v", v)
	}
	if a := m.Audio[0]; a.Edits != pipeline.EditsSimple || a.Profile != "LC" || a.Bitrate < 10000 {
		t.Errorf("audio %+v", a)
	}
	if starts != 1 || m.Damaged || len(m.Warnings) > 0 {
		t.Errorf("%d starts of ffmpeg, %+v", starts, m)
	}
	for name, path := range map[string]string{
		"fragmented": workertest.Clip(t, "f.mp4", "-i", good, "-c", "copy", "-movflags", "frag_keyframe+empty_moov"),
		"matroska":   workertest.Clip(t, "m.mkv", "-i", good, "-c", "copy"),
	} {
		if m, _ := factsOf(t, path); m.Video.Groups == nil || !m.Video.Groups.Remuxed || m.Damaged || len(m.Audio) != 1 || math.Abs(m.Duration-2) > 0.25 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if m, _ := factsOf(t, mirror(t, good)); !m.Video.Mirrored {
		t.Errorf("mirrored: %+v", m.Video)
	}
}

// mirror flips the video of a file by the matrix in its first track header (ISO/IEC 14496-12, 8.3.2).
func mirror(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := int32(-1 << 16)
	binary.BigEndian.PutUint32(data[bytes.Index(data, []byte("tkhd"))+44:], uint32(flip))
	return save(t, "mirrored.mp4", data)
}

func save(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDamage: a complete index does not hide damage that reading the packets would show, and the warnings are
// the same each time.
func TestDamage(t *testing.T) {
	path := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "10"), workertest.Tone("10"), x264,
		[]string{"-g", "10", "-c:a", "aac", "-movflags", "+faststart"})...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	middle := len(data) / 2
	for name, damage := range map[string]func([]byte) []byte{
		"zeros":     func(d []byte) []byte { clear(d[middle : middle+len(d)/5]); return d },
		"a hole":    func(d []byte) []byte { return slices.Delete(d, middle, middle+1000) },
		"cut short": func(d []byte) []byte { return d[:len(d)-len(d)/10] },
	} {
		broken := save(t, "a.mp4", damage(bytes.Clone(data)))
		first, starts := factsOf(t, broken)
		if !first.Damaged || len(first.Warnings) == 0 || starts < 2 {
			t.Errorf("%s: %d starts, %+v", name, starts, first)
		}
		if again, _ := factsOf(t, broken); !slices.Equal(again.Warnings, first.Warnings) || again.Duration != first.Duration {
			t.Errorf("%s: first %+v, then %+v", name, first, again)
		}
	}
}

// TestAudioAfterThePicture: audio after the end of the video track counts, even in containers that cannot be
// sought there, or that do not say how long a track is.
func TestAudioAfterThePicture(t *testing.T) {
	both := args(workertest.Pattern("64x48", "25", "2"), workertest.Tone("5"))
	for name, clip := range map[string][]string{
		"a.flv": args(x264, []string{"-c:a", "aac"}),
		"a.ts":  args(x264, []string{"-c:a", "aac"}),
		"a.mpg": {"-c:v", "mpeg2video", "-c:a", "mp2"},
	} {
		m, _ := factsOf(t, workertest.Clip(t, name, args(both, clip)...))
		if math.Abs(m.Duration-5) > 0.1 || math.Abs(m.Video.End-2) > 0.1 || len(m.Warnings) > 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// TestZerosAreNoPicture: if a file got its length before it was written, only the written part counts.
func TestZerosAreNoPicture(t *testing.T) {
	for _, codec := range [][]string{{"-c:v", "mpeg4", "-g", "5"}, x264} {
		path := workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x48", "10", "10"), codec, []string{"-movflags", "+faststart"})...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[len(data)*6/10:])
		m, _ := factsOf(t, save(t, "a.mp4", data))
		if m.Duration < 4 || m.Duration > 8 || !m.Damaged {
			t.Errorf("%v: %+v", codec, m)
		}
	}
	black := workertest.Clip(t, "b.avi", "-f", "lavfi", "-i", "color=black:s=64x48:r=10:d=2", "-c:v", "rawvideo", "-pix_fmt", "bgr24")
	if m, _ := factsOf(t, black); math.Abs(m.Duration-2) > 0.1 || m.Damaged {
		t.Errorf("black samples: %+v", m)
	}
}

// TestLastFrameIsHeld: the last frame lasts as long as the others if frames are further apart than in any
// output.
func TestLastFrameIsHeld(t *testing.T) {
	path := workertest.Clip(t, "a.webm", args(workertest.Pattern("64x48", "1/3", "9"), []string{"-c:v", "libvpx"})...)
	if m, _ := factsOf(t, path); math.Abs(m.Duration-9) > 0.05 || m.Damaged {
		t.Errorf("%+v", m)
	}
}

// TestLastFrameStands: Theora has no packets while nothing moves.
func TestLastFrameStands(t *testing.T) {
	still := []string{"-vf", "tpad=stop_mode=clone:stop_duration=24", "-c:v", "libtheora", "-g", "1000"}
	for name, clip := range map[string][]string{
		"silent": args(workertest.Pattern("64x48", "25", "6"), still),
		"sound":  args(workertest.Pattern("64x48", "25", "6"), workertest.Tone("10"), still, []string{"-c:a", "libvorbis"}),
	} {
		m, _ := factsOf(t, workertest.Clip(t, "a.ogv", clip...))
		if math.Abs(m.Duration-30) > 1.5 || m.Duration-m.Video.Held > 10 || m.Damaged || len(m.Warnings) > 0 {
			t.Errorf("%s: held for %g s, %+v", name, m.Video.Held, m)
		}
	}
}

// claims returns a copy of an AVI of 600 frames, whose header claims another number of frames. Source:
// AVISTREAMHEADER, dwLength, 32 bytes after the four letters of the type.
func claims(t *testing.T, avi []byte, frames uint32) []byte {
	t.Helper()
	data := bytes.Clone(avi)
	at := bytes.Index(data, []byte("vids")) + 32
	if binary.LittleEndian.Uint32(data[at:]) != 600 {
		t.Fatal("no length in the header")
	}
	binary.LittleEndian.PutUint32(data[at:], frames)
	return data
}

// TestLength: a length that is wrong by more than half a second is corrected, in long and short videos.
func TestLength(t *testing.T) {
	avi, err := os.ReadFile(workertest.Clip(t, "a.avi", args(workertest.Pattern("64x64", "4", "150"),
		[]string{"-c:v", "mpeg4", "-g", "8", "-bf", "0"})...))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		claim   uint32
		want    float64
		damaged bool
	}{{600, 150, false}, {602, 150.5, false}, {604, 150, true}, {640, 150, true}} {
		m, _ := factsOf(t, save(t, "a.avi", claims(t, avi, c.claim)))
		if math.Abs(m.Duration-c.want) > 0.3 || m.Damaged != c.damaged {
			t.Errorf("%d frames claimed: %+v", c.claim, m)
		}
	}
}

// TestLengthIsThatOfTheLongestTrack, and the facts also have the end of the video track.
func TestLengthIsThatOfTheLongestTrack(t *testing.T) {
	for _, c := range []struct {
		picture, sound string
		length, end    float64
	}{{"2", "5", 5, 2}, {"4", "1", 4, 4}} {
		m, _ := factsOf(t, workertest.Clip(t, "a.mp4",
			args(workertest.Pattern("64x48", "10", c.picture), workertest.Tone(c.sound), x264, []string{"-c:a", "aac"})...))
		if math.Abs(m.Duration-c.length) > 0.1 || math.Abs(m.Video.End-c.end) > 0.1 {
			t.Errorf("video %s s, audio %s s: %.3f s, the video ends at %.3f", c.picture, c.sound, m.Duration, m.Video.End)
		}
	}
}

// TestLengthIsWhatDecodes: if a container has no lengths of its tracks, or wrong
// ones, each track is as long as what can be decoded of it.
func TestLengthIsWhatDecodes(t *testing.T) {
	windows := []string{"-c:v", "wmv2", "-c:a", "wmav2"}
	for _, c := range []struct {
		name, picture, sound string
		codecs               []string
		length, end          float64
	}{
		{"sound on.wmv", "2", "5", windows, 5, 2},
		{"picture on.wmv", "5", "2", windows, 5, 5},
		{"a bit more sound.wmv", "4", "4.3", windows, 4.3, 4},
		{"B-frames.mpg", "4", "3", []string{"-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"}, 4, 4},
		// A packet has several frames, and the time of the first one.
		{"one frame.mpg", "0.04", "3", []string{"-c:v", "mpeg2video", "-c:a", "mp2"}, 3, 0.04},
		{"small frames.vob", "1", "1", []string{"-c:v", "mpeg2video", "-bf", "2", "-q:v", "31", "-g", "100", "-c:a", "mp2"}, 1, 1},
	} {
		path := workertest.Clip(t, c.name, args(workertest.Pattern("64x48", "25", c.picture), workertest.Tone(c.sound), c.codecs)...)
		m, _ := factsOf(t, path)
		first := m.Video.Start - m.Origin() // sound that begins before is part of the video
		if math.Abs(m.Duration-c.length-first) > 0.07 || math.Abs(m.Video.End-c.end-first) > 0.07 || len(m.Warnings) > 0 {
			t.Errorf("%s: %.3f s, the video ends at %.3f, want %g and %g: %+v", c.name, m.Duration, m.Video.End, c.length, c.end, m)
		}
	}
}

// TestFramesOfAVIAreCounted: in AVI only B-frames have times, and the header may be wrong.
func TestFramesOfAVIAreCounted(t *testing.T) {
	path := workertest.Clip(t, "a.avi", args(workertest.Pattern("64x48", "25", "4"), []string{"-c:v", "mpeg4", "-bf", "2"})...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(data[bytes.Index(data, []byte("vids"))+32:], 0)
	if m, _ := factsOf(t, save(t, "a.avi", data)); math.Abs(m.Duration-4) > 0.05 {
		t.Errorf("%+v", m)
	}
}

// TestSoundOfAVIIsWhatIsThere, even if the header says less.
func TestSoundOfAVIIsWhatIsThere(t *testing.T) {
	path := workertest.Clip(t, "a.avi", args(workertest.Pattern("64x48", "10", "2"), workertest.Tone("5"),
		[]string{"-c:v", "mpeg4", "-c:a", "mp3"})...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("auds")) + 32
	binary.LittleEndian.PutUint32(data[at:], binary.LittleEndian.Uint32(data[at:])/2)
	if m, _ := factsOf(t, save(t, "a.avi", data)); math.Abs(m.Duration-5) > 0.1 || m.Damaged {
		t.Errorf("%+v", m)
	}
}

// TestWindowsMediaIsDamagedWhenAllIsShort: the header has one length for all tracks, so a short video track
// alone is no damage.
func TestWindowsMediaIsDamagedWhenAllIsShort(t *testing.T) {
	path := workertest.Clip(t, "a.wmv", args(workertest.Pattern("64x48", "25", "6"), workertest.Tone("6"),
		[]string{"-c:v", "wmv2", "-c:a", "wmav2"})...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := factsOf(t, path); m.Damaged || math.Abs(m.Duration-6) > 0.1 || len(m.Warnings) > 0 {
		t.Errorf("whole: %+v", m)
	}
	m, _ := factsOf(t, save(t, "a.wmv", data[:len(data)/2]))
	if !m.Damaged || m.Duration < 2 || m.Duration > 4 || len(m.Warnings) == 0 {
		t.Errorf("cut: %+v", m)
	}
	// Source: Advanced Systems Format, 3.2: the play duration in units of 100 ns, 64 bytes after the start.
	properties := bytes.Index(data, []byte("\xa1\xdc\xab\x8c\x47\xa9\xcf\x11"))
	play := data[properties+64:]
	binary.LittleEndian.PutUint64(play, binary.LittleEndian.Uint64(play)+40_000_000)
	m, _ = factsOf(t, save(t, "a.wmv", data))
	if !m.Damaged || math.Abs(m.Duration-6) > 0.1 || len(m.Warnings) != 1 {
		t.Errorf("it claims 10 s: %+v", m)
	}
	binary.LittleEndian.PutUint64(play, math.MaxInt64)
	if m, _ = factsOf(t, save(t, "a.wmv", data)); math.Abs(m.Duration-6) > 0.1 {
		t.Errorf("it claims 29,000 years: %+v", m)
	}
}

// TestLengthOfLarge: of a file above 1 GiB only the end is read, and the file is believed if that is about
// where it claims.
func TestLengthOfLarge(t *testing.T) {
	data, err := os.ReadFile(workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "4", "150"),
		[]string{"-c:v", "mpeg4", "-bf", "0"})...)) // H.264 is read whole, for its index
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		claim, want float64
		damaged     bool
		starts      int
	}{{150, 150, false, 2}, {151.5, 151.5, false, 2}, {160, 150, true, 3}} {
		m, starts := factsOf(t, large(t, data, c.claim))
		if math.Abs(m.Duration-c.want) > 0.3 || m.Damaged != c.damaged || starts != c.starts {
			t.Errorf("%g s claimed: %d starts, %+v", c.claim, starts, m)
		}
	}
}

// large returns a Matroska file with another claimed length, in seconds, and a void element of 1 GiB at its
// end. That is a hole, which takes no disk space. Source: RFC 9559, 5.1.2.10 (Duration, in milliseconds
// here); RFC 8794, 11.3.2 (Void).
func large(t *testing.T, data []byte, claim float64) string {
	t.Helper()
	data = bytes.Clone(data)
	at := bytes.Index(data, []byte{0x44, 0x89, 0x88})
	binary.BigEndian.PutUint64(data[at+3:], math.Float64bits(claim*1000))
	data = binary.BigEndian.AppendUint64(append(data, 0xec), 1<<56|wholeSize)
	segment := data[bytes.Index(data, []byte{0x18, 0x53, 0x80, 0x67})+4:]
	binary.BigEndian.PutUint64(segment, binary.BigEndian.Uint64(segment)+9+wholeSize)
	path := save(t, "a.mkv", data)
	if err := os.Truncate(path, int64(len(data))+wholeSize); err != nil {
		t.Fatal(err)
	}
	return path
}

// Audio that cannot be decoded is dropped; the rest of the file is not affected.
func TestSoundLeftOut(t *testing.T) {
	path := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "1"), workertest.Tone("1"), workertest.Tone("1"),
		[]string{"-map", "0", "-map", "1", "-map", "2"}, x264, []string{"-c:a", "flac"})...)
	tools, starts := counted(t, `case "$*" in *":2 "*) echo "Error while opening decoder" >&2; exit 1;; esac`)
	m, err := New(tools, Limits{}).look(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Audio) != 1 || m.Audio[0].Stream != 1 || m.Damaged || !slices.Equal(m.Warnings,
		[]string{"audio stream 2 (flac) is not used: it cannot be decoded"}) {
		t.Errorf("%d starts, %+v", starts(), m)
	}
}
