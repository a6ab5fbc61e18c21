package sampletable

import (
	"slices"
	"testing"
)

func TestBorders(t *testing.T) {
	every := func(distance, length float64) (keys []float64) {
		for at := 0.0; at < length; at += distance {
			keys = append(keys, at)
		}
		return keys
	}
	for _, c := range []struct {
		name   string
		grid   float64
		keys   []float64
		length float64
		want   []float64
	}{
		{"one keyframe", 25, []float64{0}, 5, []float64{0}},
		{"as many groups as fit", 25, every(1, 20), 20, []float64{0, 6, 12, 18}},
		{"three of NTSC", 30000.0 / 1001, every(2.002, 20.02), 20.02, []float64{0, 6.006, 12.012, 18.018}},
		{"longer than a segment", 24, every(10, 25), 25, []float64{0, 10, 20}},
		{"uneven", 30, []float64{0, 0.5, 3.1, 7.7, 9, 12.3, 17.2}, 20, []float64{0, 3.1, 9, 12.3, 17.2}},
		{"the last one is long enough", 25, every(1, 7), 7, []float64{0, 6}},
		{"no short last one", 25, every(1, 6.9), 6.9, []float64{0}},
		{"between the frames of the smallest rungs", 30, every(0.75, 14), 14, []float64{0, 6, 12}},
		{"a frame of 60 off", 30, []float64{0, 2, 4 + 1.0/60, 8}, 10, []float64{0, 2, 8}},
		{"half a frame off", 30, []float64{0, 2.007, 6.2 + 0.5/60}, 10, []float64{0, 2.007}},
		{"no grid", 0, every(1, 20), 20, nil},
		{"none", 25, nil, 20, nil},
	} {
		b := newBorders(Grid{Low: c.grid, Rate: 60})
		for _, at := range c.keys {
			b.add(at)
		}
		if got := b.end(c.length); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestTooManyBorders: with too many borders there are none. The facts stay small, and the source is encoded.
func TestTooManyBorders(t *testing.T) {
	b := newBorders(Grid{Low: 25})
	for i := range mostBorders + 2 {
		b.add(float64(i) * 6)
	}
	if got := b.end(6 * (mostBorders + 2)); got != nil {
		t.Errorf("%d borders", len(got))
	}
}

func TestBordersOfAFile(t *testing.T) {
	film := clip(t, "a.mp4", "-c:v", "libx264", "-force_key_frames", "0,1")
	for grid, want := range map[float64][]float64{10: {0}, 0: nil} {
		p, err := open(t, film).Picture(t.Context(), 1, false, Grid{Low: grid})
		if err != nil || !slices.Equal(p.Groups.Borders, want) {
			t.Errorf("%+v, %v, want %v", p.Groups, err, want)
		}
	}
	p, err := open(t, clip(t, "a.mp4", x264("open-gop=1:bframes=3:b-adapt=0")...)).Picture(t.Context(), 1, false, Grid{Low: 10})
	if err != nil || p.Groups.Borders != nil {
		t.Errorf("of open groups: %+v, %v", p.Groups, err)
	}
}
