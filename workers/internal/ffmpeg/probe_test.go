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

	"github.com/google/go-cmp/cmp"
)

func probe(t testing.TB, path string, o ProbeOptions) ProbeResult {
	t.Helper()
	r, err := Tools{}.Probe(testContext(t), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProbeFacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.mp4")
	generate(t, "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30000/1001:d=2", "-f", "lavfi", "-i", "sine=r=48000:d=2",
		"-vf", "setsar=4/3", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-color_range", "tv",
		"-colorspace", "bt709", "-color_trc", "bt709", "-color_primaries", "bt709", "-c:a", "aac", "-ac", "2",
		"-metadata:s:a:0", "language=swe", path)
	r := probe(t, path, ProbeOptions{Demuxer: "mov", CountPackets: true})
	f := r.Format
	if !f.DurationKnown || math.Abs(f.Duration-2) > 0.1 || f.Size == 0 || f.BitRate == 0 || f.NbStreams != 2 ||
		f.Name != "mov,mp4,m4a,3gp,3g2,mj2" {
		t.Errorf("format %+v", f)
	}
	v := r.Videos()[0]
	want := Stream{
		ID: 1, CodecType: "video", CodecName: "h264", CodecTag: "avc1", Profile: "Constrained Baseline", Level: v.Level,
		Width: 320, Height: 180, PixFmt: "yuv420p", BitsPerRawSample: 8, SAR: Rational{4, 3}, DAR: Rational{64, 27},
		FieldOrder: "progressive", RFrameRate: Rational{30000, 1001}, AvgFrameRate: Rational{30000, 1001},
		Duration: v.Duration, NbFrames: 60, Packets: 60, BitRate: v.BitRate, Language: "und",
		ColorSpace: "bt709", ColorTransfer: "bt709", ColorPrimaries: "bt709", ColorRange: "tv",
		Disposition: Disposition{Default: true},
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("video (-want +got):\n%s", diff)
	}
	a := r.Audios()[0]
	if a.CodecName != "aac" || a.Channels != 2 || a.ChannelLayout != "stereo" || a.SampleRate != 48000 ||
		a.Language != "swe" || a.Index != 1 {
		t.Errorf("audio %+v", a)
	}
}

// TestProbeRotation tests the sign: Rotation must be what ffmpeg's own autorotate does.
func TestProbeRotation(t *testing.T) {
	plain := video(t, "plain.mp4", 1)
	for tag, want := range map[string]int{"0": 0, "90": 270, "180": 180, "270": 90} {
		path := filepath.Join(t.TempDir(), "rotated.mp4")
		generate(t, "-i", plain, "-c", "copy", "-metadata:s:v:0", "rotate="+tag, path)
		got := probe(t, path, ProbeOptions{}).Videos()[0]
		if got.RotationBad || got.Mirrored || got.Rotation != want {
			t.Errorf("rotate=%s: %+v", tag, got)
		}
		// Turning explicitly must give the same picture as autorotate.
		turn := map[int]string{0: "null", 90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[got.Rotation]
		byHand := frameHash(t, "-noautorotate", "-i", path, "-vf", turn)
		byItself := frameHash(t, "-i", path)
		if !bytes.Equal(byHand, byItself) {
			t.Errorf("rotate=%s: turning by %d clockwise is not what ffmpeg does", tag, got.Rotation)
		}
	}
}

func frameHash(t testing.TB, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "hash")
	generate(t, append(args, "-frames:v", "1", "-an", "-f", "framemd5", out)...)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestProbePictures(t *testing.T) {
	dir := t.TempDir()
	cover, song, withCover := filepath.Join(dir, "c.png"), filepath.Join(dir, "s.m4a"), filepath.Join(dir, "sc.m4a")
	generate(t, "-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", "1", cover)
	generate(t, "-f", "lavfi", "-i", "sine=d=1", song)
	generate(t, "-i", song, "-i", cover, "-map", "0", "-map", "1", "-c:a", "copy", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p",
		"-disposition:v:0", "attached_pic", withCover)

	if r := probe(t, song, ProbeOptions{}); len(r.Videos()) != 0 || len(r.Audios()) != 1 {
		t.Errorf("audio only: %+v", r.Streams)
	}
	r := probe(t, withCover, ProbeOptions{})
	if len(r.Videos()) != 0 || len(r.Audios()) != 1 || len(r.Streams) != 2 || !r.Streams[1].IsPicture() {
		t.Errorf("cover: %+v", r.Streams)
	}
	if _, err := (Tools{}).Probe(testContext(t), cover, ProbeOptions{}); err == nil {
		t.Error("an image passed for a video")
	}
	if r := probe(t, cover, ProbeOptions{Trusted: true}); len(r.Streams) != 1 || r.Streams[0].Width != 64 {
		t.Errorf("trusted image: %+v", r.Streams)
	}
}

func TestProbeBadInput(t *testing.T) {
	dir := t.TempDir()
	empty, text := filepath.Join(dir, "empty.mp4"), filepath.Join(dir, "text.mp4")
	for path, body := range map[string]string{empty: "", text: strings.Repeat("hello ", 1000)} {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{empty, text, filepath.Join(dir, "missing.mp4")} {
		_, err := Tools{}.Probe(testContext(t), path, ProbeOptions{})
		var e *Error
		if !errors.As(err, &e) || e.Program != "ffprobe" || strings.Contains(err.Error()+e.Tail, dir) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		} else if bad := path != filepath.Join(dir, "missing.mp4"); e.BadInput() != bad {
			t.Errorf("%s: bad input %v: %s", filepath.Base(path), e.BadInput(), e.Tail)
		}
	}
}

func TestProbeLimits(t *testing.T) {
	tests := []struct {
		name, body string
		timeout    time.Duration
		kind       Kind
		is         error
	}{
		{"endless answer", "yes", time.Hour, KindOutput, ErrOutput},
		{"no answer", "sleep 1000", time.Second, KindTimeout, ErrTimeout},
		{"busy", "while :; do :; done", time.Second, KindTimeout, ErrTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := script(t, tt.body).Probe(testContext(t), "in.mp4", ProbeOptions{Timeout: tt.timeout})
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.kind || !errors.Is(err, tt.is) {
				t.Errorf("%#v", err)
			}
		})
	}
}

// TestProbeZeroMatrix: a display matrix of zeros, which some muxers write, means no rotation.
func TestProbeZeroMatrix(t *testing.T) {
	path := video(t, "plain.mp4", 1)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("tkhd")) + 4 + 40 // ISO/IEC 14496-12, 8.3.2, version 0
	clear(data[at : at+36])
	zeroed := filepath.Join(t.TempDir(), "zeroed.mp4")
	if err := os.WriteFile(zeroed, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got := probe(t, zeroed, ProbeOptions{}).Videos()[0]
	if got.RotationBad || got.Mirrored || got.Rotation != 0 {
		t.Errorf("%+v", got)
	}
	if !bytes.Equal(frameHash(t, "-i", zeroed), frameHash(t, "-i", path)) {
		t.Error("ffmpeg shows it otherwise")
	}
}

func TestParseProbeHostile(t *testing.T) {
	r, err := parseProbe([]byte(`{"streams":[{"index":0,"codec_type":"video","codec_name":"h\u001b[31m264\n\ud800",
		"width":"x","height":99999999999999999999,"sample_aspect_ratio":"1:0","r_frame_rate":"1/-3","start_time":"nan",
		"tags":{"language":"` + strings.Repeat("é", 1000) + `"},
		"side_data_list":[{"side_data_type":"Display Matrix","rotation":-9223372036854775808,"displaymatrix":"x: 1"}]}],
		"format":{"duration":"inf","size":null}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := r.Streams[0]
	want := Stream{CodecType: "video", CodecName: "h[31m264 ?", SAR: Rational{0, 1}, DAR: Rational{0, 1},
		RFrameRate: Rational{0, 1}, AvgFrameRate: Rational{0, 1}, Language: strings.Repeat("é", 256), RotationBad: true}
	if diff := cmp.Diff(want, s); diff != "" || r.Format.DurationKnown {
		t.Errorf("%+v (-want +got):\n%s", r.Format, diff)
	}
}

func FuzzParseProbe(f *testing.F) {
	f.Add([]byte(`{"streams":[{"index":0,"level":-99,"side_data_list":[{"rotation":-90}]}],"format":{"duration":"1.5"}}`))
	f.Add([]byte(`{"streams":[{"disposition":{"default":1},"avg_frame_rate":"25/0"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseProbe(data)
		if err != nil {
			return
		}
		if d := r.Format.Duration; d < 0 || math.IsNaN(d) || math.IsInf(d, 0) {
			t.Fatalf("duration %v", d)
		}
		for _, s := range r.Streams {
			if s.Rotation < 0 || s.Rotation >= 360 || s.SAR.Den < 0 || len([]rune(s.CodecName)) > maxText {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func TestMirrored(t *testing.T) {
	for matrix, want := range map[string]bool{
		"\n00000000:        65536           0           0\n00000001:            0       65536           0\n": false,
		"\n00000000:       -65536           0           0\n00000001:            0       65536           0\n": true,
		"\n00000000:            0       65536           0\n00000001:       -65536           0           0\n": false,
		"garbage": false, "0: 1\n1: 2": false, "0: a b\n1: c d": false,
	} {
		if got := corner(matrix).mirrors(); got != want {
			t.Errorf("%q: %v", matrix, got)
		}
	}
}
