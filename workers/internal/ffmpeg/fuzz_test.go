package ffmpeg

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// FuzzInit: an init section that a program in the cage wrote cannot make this process panic or take more
// memory than its size explains. An accepted one has a clock.
func FuzzInit(f *testing.F) {
	init, err := os.ReadFile(filepath.Join(hlsDir(f), "init.mp4"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(init)
	f.Add([]byte("\x00\x00\x00\x10moov\x00\x00\x00\x08mvex"))
	f.Add(append([]byte("\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"), init...))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tr tracks
		var err error
		if n := pipelinetest.Allocated(func() { tr, err = readInit(data) }); n > 8<<20+uint64(64*len(data)) {
			t.Fatalf("%d bytes of memory for %d bytes of boxes, %v", n, len(data), err)
		}
		if err == nil && tr.timescale == 0 {
			t.Errorf("%q has no clock", data)
		}
	})
}

// TestTimesBeyondAnyVideo reads times that a time.Duration cannot hold.
func TestTimesBeyondAnyVideo(t *testing.T) {
	for _, text := range []string{
		"#tb 0: 1/1\n0, 0, 5000000000, 9223372036854775807, 1, 0x1\n",
		"#tb 0: 1/1\n0, 0, -9223372036854775808, 1, 1, 0x1\n", "#tb 0: -1/1\n0, 0, 5, 1, 1, 0x1\n",
		"#tb 0: 1/1\n0, 0, 1, -1, 1, 0x1\n", // ends before it begins
	} {
		if d := readFrames(strings.NewReader(text))[0]; d.frames != 1 || d.end < 0 || d.begin > d.end || d.solid > d.end {
			t.Errorf("%q gave %+v", text, d)
		}
	}
}

// FuzzFrames: what is read of the frames that ffmpeg lists is in order, and within any video.
func FuzzFrames(f *testing.F) {
	f.Add("#tb 0: 1/25\n0, 0, 0, 1, 115200, 0x1\n0, 1, 1, 1, 115200, 0x1\n")
	f.Add("#tb 0: 1/1\n0, 0, 9223372036854775807, 9223372036854775807, 1, 0x1\n")
	f.Add("#tb 0: -9223372036854775808/1\n0,0,1,-1,1,1\n#tb 1: 1/0\n1,,,,,\n" + strings.Repeat("x", 70_000) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		for stream, d := range readFrames(strings.NewReader(text)) {
			if d.frames <= 0 || d.frames > int64(strings.Count(text, "\n")+1) || d.begin < 0 || d.begin > d.end ||
				d.solid < 0 || d.solid > d.end || d.end > century*time.Second {
				t.Fatalf("stream %d of %q: %+v", stream, text, d)
			}
		}
	})
}

// FuzzPlaylist: an accepted playlist declares the length that its text does, has no more segments than lines,
// and takes no more memory than its size explains.
func FuzzPlaylist(f *testing.F) {
	dir := hlsDir(f)
	names, err := filepath.Glob(filepath.Join(dir, "*.m3u8"))
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:99999999999999999999\n#EXTINF:nan,\n../../etc/passwd\n"))
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-MAP:URI=\"/etc/passwd\",BYTERANGE=\"-1@9\"\n#EXTINF:6\na\n"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(root, "p.m3u8")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var h *hls
		var err error
		n := pipelinetest.Allocated(func() { h, err = openHLS(file, Expect{}) })
		if n > 4<<20+uint64(2000*len(text)) {
			t.Fatalf("%d bytes of memory for %d of text", n, len(text))
		}
		if err != nil {
			return
		}
		defer h.root.Close()
		if d := h.result.TargetDuration; d == 0 || d > math.MaxInt32 || len(h.segments) > bytes.Count(text, []byte("\n"))+1 {
			t.Errorf("%q: %d s, %d segments", text, d, len(h.segments))
		}
	})
}

// TestPlaylistThatPanics: a playlist on which the library panics is an output that is refused.
func TestPlaylistThatPanics(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.m3u8")
	text := "#EXT-X-MAP:#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6\na\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := openHLS(file, Expect{})
	if e, ok := errors.AsType[*VerifyError](err); !ok || e.Check != "playlist" || h != nil {
		t.Errorf("%v, %v", h, err)
	}
}

// FuzzAgeOf: whatever ffmpeg calls its version, an old one has a remedy, and no other has.
func FuzzAgeOf(f *testing.F) {
	for _, word := range []string{"5.1.9-0+deb12u1", "n7.1", "4.4", "N-1-g2", "5.1.", "05.01", "5.1\n", "9999.9999", "99999.1"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if a := AgeOf(word); a.Old != (a.Remedy != "") || a.Old && a.Text == "" {
			t.Errorf("%q: %+v", word, a)
		}
	})
}
