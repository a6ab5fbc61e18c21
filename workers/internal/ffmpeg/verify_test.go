package ffmpeg

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wantCheck checks which rule failed; "" means that all passed.
func wantCheck(t testing.TB, err error, check string) {
	t.Helper()
	var v *VerifyError
	switch {
	case check == "" && err != nil:
		t.Errorf("refused: %v", err)
	case check != "" && (!errors.As(err, &v) || !strings.Contains("|"+check+"|", "|"+v.Check+"|")):
		t.Errorf("got %v, want it to fail %q", err, check)
	case v != nil && strings.Contains(v.Error(), os.TempDir()):
		t.Errorf("path in %q", v)
	}
}

func TestVerifyFile(t *testing.T) {
	good := Expect{
		Duration: 8 * time.Second, Width: 160, Height: 90, VideoCodec: "h264", AudioCodec: "aac",
		HasVideo: Present, HasAudio: Present,
	}
	src := video(t, "out.mp4", 8)
	tests := []struct {
		name   string
		check  string
		expect func(e *Expect)
		spoil  func(path string)
	}{
		{"good", "", nil, nil},
		{"good, all of it", "", func(e *Expect) { e.FullDecode = true }, nil},
		{"no opinion", "", func(e *Expect) { *e = Expect{} }, nil},
		{"missing", "missing", nil, func(p string) { _ = os.Remove(p) }},
		{"empty", "empty", nil, func(p string) { truncate(t, p, 0) }},
		{"garbage", "probe", nil, func(p string) { _ = os.WriteFile(p, []byte(strings.Repeat("x", 5000)), 0o600) }},
		{"truncated tail", "decode|frames", nil, func(p string) { truncate(t, p, 0.8) }},
		{"just cut", "decode|frames", nil, func(p string) { truncate(t, p, 0.93) }},
		{"hole at the end", "decode|frames", nil, func(p string) { blank(t, p, 0.85, 0.95) }},
		{"hole in the middle, all of it", "decode|frames", func(e *Expect) { e.FullDecode = true },
			func(p string) { blank(t, p, 0.5, 0.6) }},
		{"wrong size", "dimensions", func(e *Expect) { e.Width = 162 }, nil},
		{"wrong codec", "video_codec", func(e *Expect) { e.VideoCodec = "hevc" }, nil},
		{"wrong audio", "audio_codec", func(e *Expect) { e.AudioCodec = "opus" }, nil},
		{"audio unwanted", "streams", func(e *Expect) { e.HasAudio = Absent }, nil},
		{"short", "duration", func(e *Expect) { e.Duration = 9 * time.Second }, nil},
		{"short but tolerated", "", func(e *Expect) { e.Duration, e.Tolerance = 9*time.Second, 2*time.Second }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.mp4")
			copyFile(t, src, path)
			e := good
			if tt.expect != nil {
				tt.expect(&e)
			}
			if tt.spoil != nil {
				tt.spoil(path)
			}
			_, err := Tools{}.VerifyFile(testContext(t), path, e)
			wantCheck(t, err, tt.check)
		})
	}
}

// TestVerifyFileBlamesTheRightOne: a failure that is not the file's fault is not a VerifyError.
func TestVerifyFileBlamesTheRightOne(t *testing.T) {
	path := video(t, "out.mp4", 1)
	var v *VerifyError
	broken := Tools{FFprobe: script(t, "kill -KILL $$").FFprobe}
	if _, err := broken.VerifyFile(testContext(t), path, Expect{}); err == nil || errors.As(err, &v) {
		t.Errorf("killed probe: %#v", err)
	}
	full := Tools{FFmpeg: script(t, "echo No space left on device >&2; exit 1").FFmpeg}
	if _, err := full.VerifyFile(testContext(t), path, Expect{}); err == nil || errors.As(err, &v) {
		t.Errorf("full disk: %#v", err)
	}
	torn := Tools{FFmpeg: script(t, "echo 'av_interleaved_write_frame(): Input/output error' >&2; exit 1").FFmpeg}
	if _, err := torn.VerifyFile(testContext(t), path, Expect{}); err == nil || errors.As(err, &v) {
		t.Errorf("broken disk: %#v", err)
	}
	silent := Tools{FFmpeg: script(t, "exit 0").FFmpeg} // exit code 0 without any output
	_, err := silent.VerifyFile(testContext(t), path, Expect{})
	wantCheck(t, err, "frames")
}

// TestVerifyFileOfAHeldFrame: frames must go up to the last one, however long it is held, and no further.
func TestVerifyFileOfAHeldFrame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mp4")
	plain := filepath.Join(t.TempDir(), "a.mp4")
	generate(t, "-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=8", "-c:v", "libx264", "-bf", "0", plain)
	generate(t, "-i", plain, "-c", "copy", "-movflags", "+faststart",
		"-bsf:v", "setts=pts=PTS:dts=DTS:duration='if(eq(NEXT_DTS,NOPTS),6/TB,DURATION)'", path)
	e := Expect{Duration: 13900 * time.Millisecond, FrameRate: 10, HasVideo: Present}
	_, err := Tools{}.VerifyFile(testContext(t), path, e)
	wantCheck(t, err, "")
	blank(t, path, 0.85, 0.95)
	_, err = Tools{}.VerifyFile(testContext(t), path, e)
	wantCheck(t, err, "decode|frames")
}

func TestVerifyFileAudioOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.m4a")
	generate(t, "-f", "lavfi", "-i", "sine=d=7", "-movflags", "+faststart", path)
	e := Expect{Duration: 7 * time.Second, AudioCodec: "aac", HasVideo: Absent, HasAudio: Present}
	_, err := Tools{}.VerifyFile(testContext(t), path, e)
	wantCheck(t, err, "")
	truncate(t, path, 0.8)
	_, err = Tools{}.VerifyFile(testContext(t), path, e)
	wantCheck(t, err, "decode|frames")
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// blank overwrites part of a file with zeros, as a crash on some file systems does.
func blank(t testing.TB, path string, from, to float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := float64(len(data))
	clear(data[int(from*n):int(to*n)])
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// hlsDir makes a VOD playlist of four fMP4 segments of two seconds.
func hlsDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	generate(t, "-i", video(t, "in.mp4", 8), "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod",
		"-hls_segment_type", "fmp4", filepath.Join(dir, "p.m3u8"))
	return dir
}

func TestVerifyHLS(t *testing.T) {
	src := hlsDir(t)
	edit := func(old, new string) func(dir string) {
		return func(dir string) {
			p := filepath.Join(dir, "p.m3u8")
			data, err := os.ReadFile(p)
			if err != nil || !bytes.Contains(data, []byte(old)) {
				t.Fatalf("%v: no %q in\n%s", err, old, data)
			}
			data = bytes.Replace(data, []byte(old), []byte(new), 1)
			if err := os.WriteFile(p, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name string, f func(path string)) func(dir string) {
		return func(dir string) { f(filepath.Join(dir, name)) }
	}
	tests := []struct {
		name, check string
		spoil       func(dir string)
		expect      func(e *Expect)
	}{
		{"good", "", nil, nil},
		{"good, all of it", "", nil, func(e *Expect) { e.FullDecode = true }},
		{"no playlist", "missing", file("p.m3u8", func(p string) { _ = os.Remove(p) }), nil},
		{"missing segment", "missing", file("p1.m4s", func(p string) { _ = os.Remove(p) }), nil},
		{"empty segment", "empty", file("p2.m4s", func(p string) { truncate(t, p, 0) }), nil},
		{"empty init", "empty", file("init.mp4", func(p string) { truncate(t, p, 0) }), nil},
		{"broken init", "segment", file("init.mp4", func(p string) { truncate(t, p, 0.5) }), nil},
		{"truncated segment", "segment", file("p1.m4s", func(p string) { truncate(t, p, 0.9) }), nil},
		{"truncated last", "segment", file("p3.m4s", func(p string) { truncate(t, p, 0.5) }), nil},
		{"zeroed last", "decode|frames", file("p3.m4s", func(p string) { blank(t, p, 0.3, 1) }), nil},
		{"the same segment twice", "segment", edit("p2.m4s", "p1.m4s"), nil},
		{"no end", "playlist", edit("#EXT-X-ENDLIST\n", ""), nil},
		{"no map", "playlist", edit("#EXT-X-MAP:URI=\"init.mp4\"\n", ""), nil},
		{"no playlist at all", "playlist", edit("#EXTM3U", "hello"), nil},
		{"target too low", "playlist", edit("TARGETDURATION:2", "TARGETDURATION:1"), nil},
		{"lie about a segment", "timing", edit("#EXTINF:2.000000", "#EXTINF:1.500000"), nil},
		{"outside by dots", "missing", edit("p1.m4s", "../../p1.m4s"), nil},
		{"outside by root", "playlist", edit("p1.m4s", "/etc/passwd"), nil},
		{"outside by URL", "playlist", edit("p1.m4s", "http://127.0.0.1/p1.m4s"), nil},
		{"outside by link", "missing", file("p1.m4s", func(p string) {
			_ = os.Remove(p)
			_ = os.Symlink(filepath.Join(src, "p1.m4s"), p)
		}), nil},
		{"encrypted", "playlist", edit("#EXTINF", "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF"), nil},
		{"a gap", "playlist", edit("#EXTINF", "#EXT-X-GAP\n#EXTINF"), nil},
		{"another map", "playlist", edit("p0.m4s\n", "p0.m4s\n#EXT-X-MAP:URI=\"other.mp4\"\n"), nil},
		{"a segment as map", "segment", edit("init.mp4", "p0.m4s"), nil},
		{"the map as a segment", "segment", edit("p1.m4s", "init.mp4"), nil},
		{"a folder as a segment", "missing", edit("p1.m4s", "."), nil},
		{"target 0", "playlist", edit("TARGETDURATION:2", "TARGETDURATION:0"), nil},
		{"no target", "playlist", edit("#EXT-X-TARGETDURATION:2\n", ""), nil},
		{"a segment of no time", "playlist", edit("#EXTINF:2.000000", "#EXTINF:0.000000"), nil},
		{"a range beyond the end", "segment", edit("p1.m4s", "#EXT-X-BYTERANGE:99999999@0\np1.m4s"), nil},
		{"a range of part", "segment", edit("p1.m4s", "#EXT-X-BYTERANGE:100@0\np1.m4s"), nil},
		{"a list of lists", "playlist", file("p.m3u8", func(p string) {
			_ = os.WriteFile(p, []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nq.m3u8\n"), 0o600)
		}), nil},
		{"short", "duration", nil, func(e *Expect) { e.Duration = 10 * time.Second }},
		{"no video", "streams", nil, func(e *Expect) { e.HasVideo = Absent }},
		{"wrong size", "dimensions", nil, func(e *Expect) { e.Height = 92 }},
		{"wrong codec", "video_codec", nil, func(e *Expect) { e.VideoCodec = "hevc" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
				t.Fatal(err)
			}
			if tt.spoil != nil {
				tt.spoil(dir)
			}
			e := Expect{Duration: 8 * time.Second, Width: 160, Height: 90, VideoCodec: "h264", Scratch: t.TempDir()}
			if tt.expect != nil {
				tt.expect(&e)
			}
			r, err := Tools{}.VerifyHLS(testContext(t), filepath.Join(dir, "p.m3u8"), e)
			wantCheck(t, err, tt.check)
			if err == nil {
				checkHLSResult(t, dir, r)
			}
			if left, _ := os.ReadDir(e.Scratch); len(left) != 0 {
				t.Errorf("left in scratch: %v", left)
			}
		})
	}
}

func checkHLSResult(t *testing.T, dir string, r HLSResult) {
	t.Helper()
	if len(r.Segments) != 4 || r.Duration != 8 || r.InitSize == 0 || r.TargetDuration != 2 ||
		len(r.Probe.Videos()) != 1 {
		t.Fatalf("%+v", r)
	}
	for _, s := range r.Segments {
		info, err := os.Stat(filepath.Join(dir, s.URI))
		if err != nil || info.Size() != s.Size || s.Duration != 2 {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func FuzzSegmentBoxes(f *testing.F) {
	dir := hlsDir(f)
	init, err := os.ReadFile(filepath.Join(dir, "init.mp4"))
	if err != nil {
		f.Fatal(err)
	}
	seg, err := os.ReadFile(filepath.Join(dir, "p0.m4s"))
	if err != nil {
		f.Fatal(err)
	}
	tr, err := readInit(init)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seg[:min(len(seg), 2000)])
	f.Add([]byte("\x00\x00\x00\x08moof\x00\x00\x00\x08mdat"))
	f.Fuzz(func(t *testing.T, data []byte) {
		one := tr
		if d, err := one.segment(sectionOf(data)); err == nil && !(d > 0) {
			t.Fatalf("%v seconds", d)
		}
	})
}

func sectionOf(data []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
}
