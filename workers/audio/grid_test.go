package audio

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestBorder(t *testing.T) {
	for _, c := range []struct{ segment, rate, want int }{
		{0, 48000, 0}, {1, 48000, 281}, {2, 48000, 562}, {3, 48000, 843}, {4, 48000, 1125}, {40, 48000, 11250},
		{1, 44100, 258}, {4, 44100, 1033},
	} {
		if got := border(c.segment, c.rate); got != c.want {
			t.Errorf("segment %d at %d Hz begins with frame %d, want %d", c.segment, c.rate, got, c.want)
		}
	}
}

func TestFramesFor(t *testing.T) {
	for _, c := range []struct {
		seconds float64
		want    int
	}{{0, 0}, {0.001, 1}, {1024.0 / 48000, 1}, {0.03, 2}, {24, 1125}, {24.001, 1126}} {
		if got := framesFor(c.seconds, 48000); got != c.want {
			t.Errorf("%g s are %d frames, want %d", c.seconds, got, c.want)
		}
	}
}

// TestWindow: the window of a chunk begins at a whole second, before the first frame that it encodes.
func TestWindow(t *testing.T) {
	for _, c := range []struct {
		part part
		want window
	}{
		{part{}, window{rate: 48000}},
		{part{End: 1, Seek: true}, window{rate: 48000, end: 281}},
		{part{First: 1, End: 4, Seek: true}, window{rate: 48000, first: 281, end: 1125}},
		{part{First: 4, End: 8, Seek: true}, window{rate: 48000, first: 1125, end: 2250, from: 15, seek: true}},
		{part{First: 4, End: 8}, window{rate: 48000, first: 1125, end: 2250}},
	} {
		w := run{part: c.part, form: encodedForm}.window()
		if w != c.want {
			t.Errorf("%+v: %+v, want %+v", c.part, w, c.want)
		}
		if w.samples(w.fed()-1) < 0 || w.first > preroll && w.first-w.fed() != preroll {
			t.Errorf("%+v is fed from frame %d on, sample %d", w, w.fed(), w.samples(w.fed()))
		}
	}
}

func TestSlivers(t *testing.T) {
	for _, c := range []struct {
		frames int
		whole  bool
		want   []int // frames of each segment
	}{
		{1, false, []int{1}},
		{281, false, []int{281}},
		{281 + sliver - 1, false, []int{281 + sliver - 1}},
		{281 + sliver, false, []int{281, sliver}},
		{562, true, []int{281, 281}},
		{562 + 5, false, []int{281, 286}},
		{1125, false, []int{281, 281, 281, 282}},
	} {
		s, err := newSegmenter(filepath.Join(t.TempDir(), "x"), encodedForm, "eng", 0)
		for range c.frames {
			if err == nil {
				err = s.add([]byte{0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80}) // silent
			}
		}
		if err == nil {
			err = s.finish(c.whole)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, d := range s.track.Durations() {
			got = append(got, framesFor(d, encodedForm.rate))
		}
		if !slices.Equal(got, c.want) || s.frames() != c.frames {
			t.Errorf("%d frames: segments of %v, want %v", c.frames, got, c.want)
		}
	}
}

// TestGrid finds the grid of a track whose clock rounds times to 1 ms.
func TestGrid(t *testing.T) {
	text := "#software: x\n#tb 0: 1/44100\n#media_type 0: audio\n#sample_rate 0: 44100\n" +
		"0,          0,          20,     700,     1400, 0x1\n" +
		"0,          0,          710,     1152,     2304, 0x1\n" +
		"0,          0,          1882,     1152,     2304, 0x1\n" +
		"0,          0,          3034,     1,     2, 0x1\n"
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := readFrames(file)
	if err != nil || l.coarse() {
		t.Fatalf("%+v, %v", l, err)
	}
	if g, want := l.grid("mp3"), (grid{step: 1152, rate: 44100, origin: 720}); g != want {
		t.Errorf("grid %+v, want %+v", g, want)
	}
	if g := l.grid("vorbis"); g.step != minStep {
		t.Errorf("grid of Vorbis %+v", g)
	}
	l.num, l.den = 1, 1000
	if !l.coarse() {
		t.Error("a clock of 1 ms is not coarse")
	}
	l.frames[1].length = 1001
	if g := l.grid("pcm"); g != (grid{}) {
		t.Errorf("grid of frames of any length %+v", g)
	}
}
