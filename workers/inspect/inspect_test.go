package inspect

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

func registry(l Limits) *workers.Registry {
	return workertest.Registry("inspect", New(ffmpeg.Tools{}, l))
}

func look(t *testing.T, l Limits, path string) pipeline.Inspection {
	t.Helper()
	return workertest.Inspect(t, registry(l), workertest.NewStore(t), path)
}

func args(lists ...[]string) []string { return slices.Concat(lists...) }

var x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

// clip returns an ordinary video: 320x180, 10 frames/s, 1.5 s, with audio.
func clip(t *testing.T, more ...string) string {
	t.Helper()
	return workertest.Clip(t, "clip.mp4", args(workertest.Pattern("320x180", "10", "1.5"), workertest.Tone("1.5"),
		x264, []string{"-c:a", "aac", "-metadata:s:a:0", "language=eng"}, more)...)
}

func TestAccepts(t *testing.T) {
	in := look(t, Limits{}, clip(t))
	if in.Verdict != pipeline.VerdictAccept || in.Reason != nil {
		t.Fatalf("finding %+v %+v", in, in.Reason)
	}
	m := in.Media
	v := m.Video
	if m.Container != "mov" || m.Damaged || len(m.Warnings) != 0 || m.Duration < 1.45 || m.Duration > 1.55 || m.Bitrate == 0 {
		t.Errorf("media %+v", m)
	}
	if v.Codec != "h264" || v.Width != 320 || v.Height != 180 || v.FrameRate() != 10 || v.BitDepth != 8 || v.SampleRatio != 1 {
		t.Errorf("video %+v", v)
	}
	if len(m.Audio) != 1 || m.Audio[0].Language != "eng" || m.Audio[0].Channels != 1 || m.Audio[0].Codec != "aac" {
		t.Errorf("audio %+v", m.Audio)
	}
}

func TestConformance(t *testing.T) {
	workertest.Run(t, workertest.Case{
		Registry: registry(Limits{}), Worker: "inspect", Source: clip(t), Jobs: []pipeline.Job{{Name: "inspect"}},
	})
}

// TestRefuses has a file for every code of a refusal.
func TestRefuses(t *testing.T) {
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := clip(t)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	sound := workertest.Clip(t, "a.m4a", workertest.Tone("1")...)
	noIndex := append(bytes.Clone(whole[:32]), bytes.Repeat([]byte{0, 0, 0, 8, 'f', 'r', 'e', 'e'}, 100)...)
	for _, c := range []struct {
		name, path string
		limits     Limits
		want       pipeline.Code
	}{
		{"empty", write("a.mp4", nil), Limits{}, pipeline.CodeNotVideo},
		{"text", write("a.mp4", []byte("hello, this is no video")), Limits{}, pipeline.CodeNotVideo},
		{"playlist", write("a.mp4", []byte("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")), Limits{}, pipeline.CodeNotVideo},
		{"archive", write("a.mp4", []byte("PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaa")), Limits{}, pipeline.CodeNotVideo},
		{"AMR", write("a.mp4", []byte("#!AMR\n\x04\x04\x04")), Limits{}, pipeline.CodeNoVideoStream},
		{"RealMedia", write("a.mp4", []byte(".RMF\x00\x00\x00\x12")), Limits{}, pipeline.CodeContainer},
		{"no index", write("a.mp4", noIndex), Limits{}, pipeline.CodeMalformed},
		{"zeros behind the index", write("a.mp4", blank(whole)), Limits{}, pipeline.CodeMalformed},
		{"sound alone", sound, Limits{}, pipeline.CodeNoVideoStream},
		{"codec", workertest.Clip(t, "a.avi", args(workertest.Pattern("64x64", "5", "1"), []string{"-c:v", "zmbv"})...), Limits{}, pipeline.CodeCodec},
		{"bytes", good, Limits{Size: 1000}, pipeline.CodeTooLarge},
		{"seconds", good, Limits{Duration: time.Second}, pipeline.CodeTooLong},
		{"pixels", good, Limits{Long: 300}, pipeline.CodeLimits},
		{"frames a second", good, Limits{FrameRate: 9}, pipeline.CodeLimits},
		{"streams", good, Limits{Streams: 1}, pipeline.CodeLimits},
		{"a picture that is announced and never comes", workertest.Clip(t, "a.ts", args(workertest.Pattern("64x64", "5", "2"), workertest.Tone("2"),
			[]string{"-bsf:v", "noise=drop=1", "-c:a", "mp2"}, x264)...), Limits{}, pipeline.CodeMalformed},
		{"bits a second", good, Limits{MaxBitrate: 1000}, pipeline.CodeLimits},
		{"channels", workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "5", "1"),
			[]string{"-f", "lavfi", "-i", "anullsrc=cl=24c:d=1", "-c:a", "pcm_s16le", "-t", "1"}, x264)...), Limits{}, pipeline.CodeLimits},
		{"shape of a pixel", workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "5", "1"),
			[]string{"-vf", "setsar=20"}, x264)...), Limits{}, pipeline.CodeLimits},
	} {
		in := look(t, c.limits, c.path)
		if in.Verdict != pipeline.VerdictReject || in.Reason == nil || in.Reason.Code != c.want {
			t.Errorf("%s: %s %+v, want %s", c.name, in.Verdict, in.Reason, c.want)
			continue
		}
		if in.Reason.Step != "inspect" || in.Reason.Detail == "" || strings.Contains(in.Reason.Detail+in.Reason.Stderr, t.TempDir()[:8]) {
			t.Errorf("%s: reason %+v", c.name, in.Reason)
		}
	}
}

// blank overwrites all media data with zeros.
func blank(file []byte) []byte {
	file = bytes.Clone(file)
	at := bytes.Index(file, []byte("mdat"))
	end := bytes.Index(file, []byte("moov")) - 4
	clear(file[at+4 : end])
	return file
}

// TestSalvage: the readable part of a damaged file is used, and the facts describe that part.
func TestSalvage(t *testing.T) {
	path := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "20"), x264,
		[]string{"-g", "10", "-movflags", "+faststart"})...)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	in := look(t, Limits{}, path)
	m := in.Media
	if in.Verdict != pipeline.VerdictAccept || !m.Damaged || len(m.Warnings) == 0 || m.Duration < 5 || m.Duration > 15 {
		t.Errorf("finding %+v media %+v", in.Reason, m)
	}
	for _, w := range m.Warnings {
		if strings.Contains(w, filepath.Dir(path)) || strings.Contains(w, "videos/") {
			t.Errorf("a warning names a path: %s", w)
		}
	}
}

// TestOdd checks the facts of videos with unusual formats.
func TestOdd(t *testing.T) {
	still := workertest.Clip(t, "one.mp4", args([]string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.04"}, x264)...)
	for _, c := range []struct {
		name  string
		path  string
		check func(m *pipeline.Media) bool
	}{
		{"one frame", still, func(m *pipeline.Media) bool { return m.Duration > 0 && m.Duration < 0.1 }},
		{"wide pixels", workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "5", "1"), []string{"-vf", "setsar=3/2"}, x264)...),
			func(m *pipeline.Media) bool {
				return m.Video.Width == 96 && m.Video.Height == 64 && m.Video.SampleRatio == 1.5
			}},
		{"rotated", workertest.Rotate(t, workertest.Clip(t, "r.mp4", "-i", still, "-c", "copy"), 90),
			func(m *pipeline.Media) bool {
				return m.Video.Rotation == 90 && m.Video.Width == 48 && m.Video.Height == 64
			}},
		{"no length in the file", workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "2"), x264, []string{"-live", "1"})...),
			func(m *pipeline.Media) bool { return m.Duration > 1.8 && m.Duration < 2.2 && !m.Damaged }},
		{"alpha", workertest.Clip(t, "a.mov", args(workertest.Pattern("64x64", "5", "1"), []string{"-pix_fmt", "argb", "-c:v", "qtrle"})...),
			func(m *pipeline.Media) bool { return m.Video.Alpha }},
		{"alpha beside the picture", workertest.Clip(t, "a.webm", args(workertest.Pattern("64x64", "5", "1"),
			[]string{"-vf", "format=yuva420p", "-c:v", "libvpx", "-auto-alt-ref", "0"})...),
			func(m *pipeline.Media) bool { return m.Video.Alpha && m.Video.Codec == "vp8" }},
		{"two pictures, two sounds", workertest.Clip(t, "two.mp4", args(workertest.Pattern("64x64", "5", "1"), workertest.Pattern("96x96", "5", "1"),
			workertest.Tone("1"), workertest.Tone("1"), x264, []string{"-map", "0", "-map", "1", "-map", "2", "-map", "3",
				"-disposition:v:0", "0", "-disposition:v:1", "default", "-metadata:s:a:1", "language=deu"})...),
			func(m *pipeline.Media) bool {
				return m.Video.Width == 96 && len(m.Warnings) == 1 && len(m.Audio) == 2 && m.Audio[1].Language == "deu" && m.Audio[0].Language == "und"
			}},
		{"interlaced", workertest.Clip(t, "i.mp4", args(workertest.Pattern("64x64", "10", "1"), []string{"-vf", "tinterlace=4", "-flags", "+ildct+ilme"}, x264)...),
			func(m *pipeline.Media) bool { return m.Video.Interlaced }},
		{"HDR", workertest.Clip(t, "h.mp4", args(workertest.Pattern("64x64", "5", "1"), []string{"-c:v", "libx264", "-pix_fmt", "yuv420p10le",
			"-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"})...),
			func(m *pipeline.Media) bool { return m.Video.HDR == "hdr10" && m.Video.BitDepth == 10 }},
	} {
		in := look(t, Limits{}, c.path)
		if in.Verdict != pipeline.VerdictAccept || !c.check(in.Media) {
			t.Errorf("%s: %s %+v %+v", c.name, in.Verdict, in.Reason, in.Media)
		}
	}
}

// TestFaultIsNoRefusal: a fault of the machine is not a verdict on the file.
func TestFaultIsNoRefusal(t *testing.T) {
	store := workertest.NewStore(t)
	r := workertest.Registry("inspect", New(ffmpeg.Tools{FFprobe: "/nowhere/ffprobe"}, Limits{}))
	task := pipeline.Task{Video: store.Video, Source: store.Add(t, "original", clip(t)), Job: pipeline.Job{Name: "inspect", Worker: "inspect"}}
	if result, err := store.Try(t, t.Context(), r, task, nil); err == nil {
		t.Errorf("a missing program became %+v", result.Inspection)
	}
}

func TestQuarter(t *testing.T) {
	for in, want := range map[int]int{0: 0, 90: 90, 89: 90, 91: 90, 180: 180, 270: 270, 359: 0, 45: 0, 100: 0} {
		if got := quarter(in); got != want {
			t.Errorf("quarter(%d) = %d, want %d", in, got, want)
		}
	}
}

func TestLanguage(t *testing.T) {
	for in, want := range map[string]string{
		"eng": "eng", "EN-us": "en", "": "und", "../../x": "und", "english": "und", "e": "und", "und": "und",
	} {
		if got := language(in); got != want {
			t.Errorf("language(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	l := &lines{limit: 2, hide: "/secret/in.mp4"}
	for _, s := range []string{"[h264 @ 0x55d0] bad \x1b[31mthing", "\n[null @ 0x1] no matter\n/secret/in.mp4: broken\nthird\n"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := []string{"[h264] bad [31mthing", "<in0>: broken"}; !slices.Equal(l.kept, want) {
		t.Errorf("kept %q, want %q", l.kept, want)
	}
}
