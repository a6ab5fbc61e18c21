package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestInitOfDamagedBytes: readInit returns for every cut or damaged init section, and what it accepts has a
// timescale.
func TestInitOfDamagedBytes(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(hlsDir(t), "init.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	if tr, err := readInit(whole); err != nil || tr.timescale == 0 || tr.defaults == nil {
		t.Fatalf("%+v, %v", tr, err)
	}
	for n := range whole {
		if _, err := readInit(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes: no error", n, len(whole))
		} else {
			wantCheck(t, err, "segment")
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		data := bytes.Clone(whole)
		for range 1 + random.IntN(4) {
			data[random.IntN(len(data))] = []byte{0, 1, 0x7f, 0xff, byte(random.Int())}[random.IntN(5)]
		}
		if tr, err := readInit(data); err != nil {
			wantCheck(t, err, "segment")
		} else if tr.timescale == 0 {
			t.Fatal("timescale 0")
		}
	}
}

// TestSegmentOfEveryLength: a segment that ends early is an error wherever it ends.
func TestSegmentOfEveryLength(t *testing.T) {
	dir := hlsDir(t)
	init, err := os.ReadFile(filepath.Join(dir, "init.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "p0.m4s"))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := readInit(init)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		one := tr
		length, err := one.segment(sectionOf(whole[:n]))
		if (err == nil) != (n == len(whole)) || err == nil && math.Abs(length-2) > 0.1 {
			t.Errorf("%d of %d bytes: %g s, %v", n, len(whole), length, err)
		}
	}
	for name, data := range map[string][]byte{
		"an init section":    slices.Concat(whole, init),
		"a huge header":      binary.BigEndian.AppendUint32(nil, maxMoof+9),
		"the same again":     slices.Concat(whole, whole),
		"no data":            bytes.Replace(whole, []byte("mdat"), []byte("free"), 1),
		"no decode time":     bytes.Replace(whole, []byte("tfdt"), []byte("free"), 1),
		"another track only": whole,
	} {
		one := tr
		switch name {
		case "a huge header":
			data = append(append(data, "moof"...), make([]byte, maxMoof+1)...)
		case "another track only":
			one.reference = 99
		}
		if length, err := one.segment(sectionOf(data)); err == nil {
			t.Errorf("%s: %g s", name, length)
		}
	}
}

// TestReadFrames reads what ffmpeg writes, and skips lines that are damaged.
func TestReadFrames(t *testing.T) {
	const head = "#software: Lavf\n#tb 0: 1/25\n#tb 1: 1/1000\n#tb 2: 1/0\n"
	long := strings.Repeat("9", 100<<10)
	for _, tt := range []struct {
		text string
		want map[int]decoded
	}{
		{"", map[int]decoded{}},
		{head + "0, 0, 0, 1, 10, 0xa\n0, 1, 1, 1, 10, 0xb\n1, 0, 0, 500, 9, 0xc\n", map[int]decoded{
			0: {frames: 2, end: 80 * time.Millisecond},
			1: {frames: 1, end: 500 * time.Millisecond, solid: 500 * time.Millisecond}}},
		{head + "0, 0, 0, 1, 10\n0, x, 0, 1, 10, 0xa\n0 0 0\n, , , , ,\n", map[int]decoded{}},
		{head + "0, 0, 2, 1, 1, 0xa\n0, 0, 0, 1, 1, 0xa\n", // out of order
			map[int]decoded{0: {frames: 2, end: 120 * time.Millisecond}}},
		{head + "0, 0, 0, 1, 1, 0xa\n" + long + "\n0, 1, 1, 1, 1, 0xa\n", // an overlong line ends it
			map[int]decoded{0: {frames: 1, end: 40 * time.Millisecond}}},
	} {
		got := readFrames(strings.NewReader(tt.text))
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%.100q: %+v, want %+v", tt.text, got, tt.want)
		}
	}
}

// TestSolidEnd: bytes that decode by chance do not prolong a stretch of audio.
func TestSolidEnd(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, tt := range map[string]struct {
		frames [][2]int // begin and end, in milliseconds
		want   int
	}{
		"none":            {nil, 0},
		"too short":       {[][2]int{{0, 499}}, 0},
		"just enough":     {[][2]int{{0, 250}, {250, 500}}, 500},
		"a small gap":     {[][2]int{{0, 300}, {549, 700}}, 700},
		"a gap":           {[][2]int{{0, 300}, {551, 700}}, 0},
		"then by chance":  {[][2]int{{0, 600}, {5000, 5020}}, 600},
		"then a stretch":  {[][2]int{{0, 600}, {5000, 5500}}, 5500},
		"chance at start": {[][2]int{{0, 20}, {5000, 5499}}, 0},
	} {
		var d decoded
		for _, f := range tt.frames {
			d.add(ms(f[0]), ms(f[1]))
		}
		if d.solid != ms(tt.want) || d.frames != int64(len(tt.frames)) {
			t.Errorf("%s: %+v, want an end at %d ms", name, d, tt.want)
		}
	}
}

// TestSoundEnd: audio that is cut or replaced by other bytes ends where it ceases to decode.
func TestSoundEnd(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "a.mp3")
	generate(t, "-f", "lavfi", "-i", "sine=d=6", "-b:a", "64k", whole)
	for name, tt := range map[string]struct {
		spoil func(path string)
		want  time.Duration
	}{
		"whole":   {func(string) {}, 6 * time.Second},
		"cut":     {func(p string) { truncate(t, p, 0.5) }, 3 * time.Second},
		"blanked": {func(p string) { blank(t, p, 0.5, 1) }, 3 * time.Second},
		"nothing": {func(p string) { blank(t, p, 0, 1) }, 0},
	} {
		path := filepath.Join(t.TempDir(), "a.mp3")
		copyFile(t, whole, path)
		tt.spoil(path)
		got, err := Tools{}.SoundEnd(testContext(t), Input{Path: path, Demuxer: "mp3"}, "0:0", RunOptions{})
		if err != nil || (got-tt.want).Abs() > 150*time.Millisecond {
			t.Errorf("%s: audio ends at %v, want %v: %v", name, got, tt.want, err)
		}
	}
	stopped := script(t, "kill -KILL $$")
	if _, err := stopped.SoundEnd(testContext(t), Input{Path: whole}, "0:0", RunOptions{}); err == nil {
		t.Error("a killed decoder is taken for the end of the audio")
	}
}

// TestVerifyKeyframes counts keyframes and the frames of the first second of each file by itself.
func TestVerifyKeyframes(t *testing.T) {
	good, bad := video(t, "good.mp4", 3), video(t, "bad.mp4", 3)
	blank(t, bad, 0.5, 0.7)
	for name, tt := range map[string]struct {
		files []EncodedFile
		check string
	}{
		"good":                {[]EncodedFile{{good, "a", 3, 25}, {good, "b", 3, 1}}, ""},
		"a keyframe too few":  {[]EncodedFile{{good, "a", 3, 25}, {good, "b", 4, 25}}, "frames"},
		"a keyframe too many": {[]EncodedFile{{good, "a", 2, 25}}, "frames"},
		"a short head":        {[]EncodedFile{{good, "a", 3, 27}}, "frames"},
		"damaged":             {[]EncodedFile{{good, "a", 3, 25}, {bad, "b", 3, 25}}, "decode|frames"},
		"missing":             {[]EncodedFile{{good + "x", "a", 3, 25}}, "decode"},
	} {
		err := Tools{}.VerifyKeyframes(testContext(t), RunOptions{}, 1, tt.files...)
		if wantCheck(t, err, tt.check); t.Failed() {
			t.Fatal(name)
		}
		if last := tt.files[len(tt.files)-1].Name; tt.check == "frames" && !strings.Contains(err.Error(), last+":") {
			t.Errorf("%s: %v, want the name of the file", name, err)
		}
	}
	var v *VerifyError
	stopped := script(t, "kill -KILL $$")
	err := stopped.VerifyKeyframes(testContext(t), RunOptions{}, 1, EncodedFile{good, "a", 3, 25})
	if err == nil || errors.As(err, &v) {
		t.Errorf("a killed decoder: %#v", err)
	}
}

// TestProbeAroundClosedStreams: streams whose decoder is not allowed are marked, up to mostClosed of them; the
// others keep their facts. A file with more is refused.
func TestProbeAroundClosedStreams(t *testing.T) {
	for _, n := range []int{1, mostClosed, mostClosed + 1} {
		path := filepath.Join(t.TempDir(), "in.mkv")
		args := []string{"-f", "lavfi", "-i", "sine=d=1", "-i", video(t, "v.mp4", 1), "-map", "1:v", "-c:v", "copy"}
		for range n {
			args = append(args, "-map", "0:a")
		}
		generate(t, append(args, "-c:a", "tta", path)...)
		r, err := Tools{}.Probe(testContext(t), path, ProbeOptions{Demuxer: "matroska"})
		if n > mostClosed {
			var e *Error
			if !errors.As(err, &e) || !e.BadInput() {
				t.Errorf("%d closed streams: %+v, %v", n, r, err)
			}
			continue
		}
		if err != nil || len(r.Streams) != n+1 || r.Streams[0].Closed || r.Streams[0].Width != 160 {
			t.Fatalf("%d closed streams: %v, %+v", n, err, r.Streams)
		}
		for _, s := range r.Audios() {
			if !s.Closed || s.CodecName != "tta" {
				t.Errorf("%+v", s)
			}
		}
	}
}
