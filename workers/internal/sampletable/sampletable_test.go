package sampletable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

// open reads the index of a file; its video is track 1 and its audio track 2.
func open(t testing.TB, path string) *File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, data)
}

func parse(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// clip returns 4 s of video at 10 frames/s, by an encoder with these options.
func clip(t testing.TB, name string, encoder ...string) string {
	t.Helper()
	return workertest.Clip(t, name, slices.Concat(workertest.Pattern("64x64", "10", "4"),
		[]string{"-pix_fmt", "yuv420p"}, encoder)...)
}

// x264 makes a keyframe each second and reordered frames between them.
func x264(params string) []string {
	return []string{"-c:v", "libx264", "-x264-params", "keyint=10:min-keyint=10:scenecut=0:bframes=2:" + params}
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.001 }

func TestGroups(t *testing.T) {
	closed := clip(t, "closed.mp4", x264("")...)
	for _, c := range []struct {
		name string
		path string
		want pipeline.Groups
	}{
		{"closed", closed, pipeline.Groups{Closed: true, Longest: 1, Average: 1}},
		{"moov first", workertest.Clip(t, "a.mp4", "-i", closed, "-c", "copy", "-movflags", "+faststart"),
			pipeline.Groups{Closed: true, Longest: 1, Average: 1}},
		{"in QuickTime", workertest.Clip(t, "a.mov", "-i", closed, "-c", "copy"),
			pipeline.Groups{Closed: true, Longest: 1, Average: 1}},
		{"open", clip(t, "a.mp4", x264("open-gop=1:bframes=3:b-adapt=0")...), pipeline.Groups{Longest: 1, Average: 1}},
		{"refreshed bit by bit", clip(t, "a.mp4", x264("intra-refresh=1:bframes=0")...), pipeline.Groups{Longest: 1, Average: 1}},
		{"every frame", clip(t, "a.mp4", "-c:v", "libx264", "-g", "1"), pipeline.Groups{Closed: true, Longest: 0.1, Average: 0.1}},
		{"no table of keyframes", clip(t, "a.mov", "-c:v", "mjpeg"), pipeline.Groups{Closed: true, Longest: 0.1, Average: 0.1}},
		{"longest at the end", clip(t, "a.mp4", "-c:v", "libx264", "-force_key_frames", "0,1"),
			pipeline.Groups{Closed: true, Longest: 3, Average: 2}},
		{"one", clip(t, "a.mp4", "-c:v", "libx264"), pipeline.Groups{Closed: true, Longest: 4, Average: 4}},
		{"HEVC", clip(t, "a.mp4", "-c:v", "libx265", "-x265-params", "keyint=10:min-keyint=10:scenecut=0:open-gop=0:log-level=none"),
			pipeline.Groups{Closed: true, Longest: 1, Average: 1}},
		{"open HEVC", clip(t, "a.mp4", "-c:v", "libx265", "-x265-params", "keyint=10:min-keyint=10:scenecut=0:open-gop=1:b-adapt=0:log-level=none"),
			pipeline.Groups{Longest: 1, Average: 1}},
		{"not at the start", workertest.Clip(t, "a.mp4", "-i", closed, "-ss", "0.35", "-copyinkf", "-c", "copy"),
			pipeline.Groups{Longest: 1, Average: 1.25}},
	} {
		p, err := open(t, c.path).Picture(t.Context(), 1, false, Grid{})
		if g := p.Groups; err != nil || g.Closed != c.want.Closed || math.Abs(g.Longest-c.want.Longest) > 0.11 ||
			math.Abs(g.Average-c.want.Average) > 0.11 {
			t.Errorf("%s: %+v, %v, want %+v", c.name, g, err, c.want)
		}
	}
}

// TestKeyframeThatIsNone: if the first unit of a keyframe shows that it is none, the groups are not closed:
// editors and cameras mark such frames.
func TestKeyframeThatIsNone(t *testing.T) {
	data, err := os.ReadFile(clip(t, "a.mp4", x264("bframes=0")...))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("stss")) + 12 // 8.6.2: flags, count, numbers
	binary.BigEndian.PutUint32(data[at+4:], 12)  // instead of 11
	if p, err := parse(t, data).Picture(t.Context(), 1, false, Grid{}); err != nil || p.Groups.Closed {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestUnknownUnits: samples that cannot be checked do not count as whole. Some files have an empty avcC, and
// NAL units without lengths.
func TestUnknownUnits(t *testing.T) {
	data, err := os.ReadFile(clip(t, "a.mp4", x264("bframes=0")...))
	if err != nil {
		t.Fatal(err)
	}
	copy(data[bytes.Index(data, []byte("avcC")):], "free")
	if p, err := parse(t, data).Picture(t.Context(), 1, true, Grid{}); err != nil || p.Groups.Closed || p.Whole || p.Samples != 40 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPicture(t *testing.T) {
	data, err := os.ReadFile(clip(t, "a.mp4", x264("")...))
	if err != nil {
		t.Fatal(err)
	}
	p, err := parse(t, data).Picture(t.Context(), 1, true, Grid{})
	if err != nil || p.Samples != 40 || !near(p.Length, 4) || !p.Whole || p.Bytes < 1000 || p.Bytes > int64(len(data)) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = parse(t, data).Picture(t.Context(), 1, false, Grid{}); err != nil || p.Whole {
		t.Errorf("whole without a look at every sample: %+v, %v", p, err)
	}
	for _, id := range []int64{0, 2, -1} {
		if p, err := parse(t, data).Picture(t.Context(), id, true, Grid{}); err == nil {
			t.Errorf("track %d: %+v", id, p)
		}
	}
	mdat := bytes.Index(data, []byte("mdat")) + 4
	for name, damage := range map[string]func([]byte) []byte{
		"zeros":       func(d []byte) []byte { clear(d[mdat+3000 : mdat+3600]); return d },
		"a byte lost": func(d []byte) []byte { copy(d[mdat+2000:], d[mdat+2001:mdat+9000]); return d },
		"a later place": func(d []byte) []byte { // 8.7.5
			at := bytes.Index(d, []byte("stco")) + 12
			binary.BigEndian.PutUint32(d[at:], uint32(len(d)))
			return d
		},
	} {
		p, err := parse(t, damage(bytes.Clone(data))).Picture(t.Context(), 1, true, Grid{})
		if err != nil || p.Whole || p.Samples != 40 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestCutShort: if the end of a file is missing, its index is still known.
func TestCutShort(t *testing.T) {
	data, err := os.ReadFile(clip(t, "a.mp4", append(x264(""), "-movflags", "+faststart")...))
	if err != nil {
		t.Fatal(err)
	}
	f := parse(t, data[:len(data)-10])
	if p, err := f.Picture(t.Context(), 1, true, Grid{}); err != nil || p.Whole || !near(p.Length, 4) || !p.Groups.Closed {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := parse(t, data[:len(data)/2]).Picture(t.Context(), 1, true, Grid{}); err != nil || p.Groups.Closed {
		t.Errorf("keyframes that are gone: %+v, %v", p, err)
	}
}

func TestFragmented(t *testing.T) {
	f := open(t, clip(t, "a.mp4", append(x264(""), "-movflags", "+frag_keyframe+empty_moov")...))
	if p, err := f.Picture(t.Context(), 1, true, Grid{}); !f.Fragmented || err == nil && p.Samples > 0 {
		t.Errorf("fragmented %v, %+v, %v", f.Fragmented, p, err)
	}
}

func TestEdits(t *testing.T) {
	sound := workertest.Tone("4")
	both := workertest.Clip(t, "both.mp4", slices.Concat(workertest.Pattern("64x64", "10", "4"), sound, x264(""),
		[]string{"-c:a", "aac"})...)
	for _, c := range []struct {
		name           string
		path           string
		picture, sound pipeline.Edits
	}{
		{"as encoded", both, pipeline.EditsSimple, pipeline.EditsSimple},
		{"none", workertest.Clip(t, "a.mp4", "-i", both, "-c", "copy", "-use_editlist", "0"), "", ""},
		{"the video later", workertest.Clip(t, "a.mp4", "-itsoffset", "1.5", "-i", both, "-i", both, "-map", "0:v", "-map", "1:a", "-c", "copy"),
			pipeline.EditsSimple, pipeline.EditsSimple},
		{"cut between keyframes", workertest.Clip(t, "a.mp4", "-ss", "1.55", "-i", both, "-c", "copy"),
			pipeline.EditsComplex, pipeline.EditsComplex},
		{"sound cut at the start", edited(t, both, 1, func(e []byte) { binary.BigEndian.PutUint32(e[4:], 5000) }),
			pipeline.EditsSimple, pipeline.EditsComplex},
		{"picture cut at the end", edited(t, both, 0, func(e []byte) { binary.BigEndian.PutUint32(e, 3900) }),
			pipeline.EditsComplex, pipeline.EditsSimple},
		{"half speed", edited(t, both, 0, func(e []byte) { binary.BigEndian.PutUint32(e[8:], 0x8000) }),
			pipeline.EditsComplex, pipeline.EditsSimple},
		{"sound of nothing", edited(t, both, 1, func(e []byte) { binary.BigEndian.PutUint32(e[4:], 1<<32-1) }),
			pipeline.EditsSimple, pipeline.EditsComplex},
	} {
		f := open(t, c.path)
		picture, err1 := f.Edits(1, 0)
		sound, err2 := f.Edits(2, 44100)
		if err := errors.Join(err1, err2); err != nil || picture != c.picture || sound != c.sound {
			t.Errorf("%s: picture %q, sound %q, %v; want %q, %q", c.name, picture, sound, err, c.picture, c.sound)
		}
	}
}

// edited changes the first entry of a file's nth edit list: duration, media time and rate, four bytes each
// (8.6.6).
func edited(t *testing.T, path string, n int, change func(entry []byte)) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for range n + 1 {
		at += bytes.Index(data[at:], []byte("elst")) + 4
	}
	change(data[at+8 : at+20])
	copied := t.TempDir() + "/edited.mp4"
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

// TestRefuses: bytes that are not an index soon give an error.
func TestRefuses(t *testing.T) {
	whole, err := os.ReadFile(clip(t, "a.mp4", x264("")...))
	if err != nil {
		t.Fatal(err)
	}
	moov := bytes.Index(whole, []byte("moov")) - 4
	size := func(n uint32) []byte {
		d := bytes.Clone(whole)
		binary.BigEndian.PutUint32(d[moov:], n)
		return d
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello, this is no video at all"), "no moov": whole[:moov],
		"cut moov": whole[:len(whole)-9], "too large a moov": size(1 << 31), "small moov": size(7),
		"only boxes": bytes.Repeat([]byte{0, 0, 0, 8, 'f', 'r', 'e', 'e'}, maxTopLevel+10),
	} {
		if f, err := Read(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	_, err = Read(broken{}, 100)
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

// TestTablesDisagree: a table with more samples than another is an error.
func TestTablesDisagree(t *testing.T) {
	whole, err := os.ReadFile(clip(t, "a.mp4", x264("")...))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]uint32{"stts": 39, "ctts": 0, "stsc": 2, "stss": 50, "stsz": 1 << 30} {
		data := bytes.Clone(whole)
		at := bytes.Index(data, []byte(name)) + 12
		binary.BigEndian.PutUint32(data[at:], value)
		f, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Errorf("%s spoils all tracks: %v", name, err)
			continue
		}
		if p, err := f.Picture(t.Context(), 1, true, Grid{}); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
