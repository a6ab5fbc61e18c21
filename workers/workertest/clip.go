package workertest

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline/manifest"
)

// Clip makes a file with ffmpeg's own test sources and returns its path: Clip(t, "a.mp4", "-f", "lavfi",
// "-i", "testsrc2=d=1:s=320x180:r=10"). It is only for trusted inputs of tests; workers run ffmpeg through
// workers/internal/ffmpeg.
func Clip(t testing.TB, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	all := append([]string{"-nostdin", "-v", "error", "-threads", "1"}, args...)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(all, path)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("make %s: %v\n%s", name, err, stderr.String())
	}
	return path
}

// Pattern returns Clip's arguments for a moving test pattern: its size such as 320x180, frames/s, and
// seconds.
func Pattern(size, rate, seconds string) []string {
	return []string{"-f", "lavfi", "-i", "testsrc2=s=" + size + ":r=" + rate + ":d=" + seconds}
}

// Tone returns Clip's arguments for a tone.
func Tone(seconds string) []string { return []string{"-f", "lavfi", "-i", "sine=f=440:d=" + seconds} }

// Rotate writes a quarter turn, in degrees clockwise, into the first track of an MP4. Source: ISO/IEC
// 14496-12, 8.3.2: the matrix lies 40 bytes into a version 0 track header.
func Rotate(t testing.TB, path string, degrees int) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("tkhd"))
	if at < 0 || data[at+4] != 0 {
		t.Fatalf("%s has no track header of version 0", path)
	}
	turn := map[int][4]int32{
		0: {1, 0, 0, 1}, 90: {0, 1, -1, 0}, 180: {-1, 0, 0, -1}, 270: {0, -1, 1, 0},
	}[degrees]
	for i, offset := range []int{0, 4, 12, 16} {
		binary.BigEndian.PutUint32(data[at+44+offset:], uint32(turn[i]<<16))
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Concat writes the files one after the other into a new one and returns its path.
func Concat(t testing.TB, name string, files ...string) string {
	t.Helper()
	var all []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Joined returns one playable file of the rendition in the folder dir: its header and then all its segments.
func Joined(t testing.TB, dir string) string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "seg_*.m4s"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments in %s: %q, %v", dir, segments, err)
	}
	return Concat(t, "joined.mp4", append([]string{filepath.Join(dir, manifest.InitName)}, segments...)...)
}
