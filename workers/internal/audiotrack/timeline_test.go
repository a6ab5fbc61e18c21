package audiotrack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
)

// piece is n samples of one channel with the value v. Their source says that they begin at sample at.
type piece struct {
	at int64
	n  int
	v  float32
}

// run is n written samples of the value v.
type run struct {
	n int
	v float32
}

// placed returns what is written for the pieces of a track at 1 kHz, whose tolerance is 100 samples.
func placed(t *testing.T, track Track, pieces ...piece) []run {
	t.Helper()
	track.Rate, track.Channels = 1000, 1
	var out bytes.Buffer
	l := track.timeline(&out)
	err := error(nil)
	for _, p := range pieces {
		var data []byte
		for range p.n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(p.v))
		}
		if err == nil {
			err = l.add(p.at, data)
		}
	}
	if err == nil {
		err = l.finish()
	}
	if err != nil && !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	var runs []run
	for data := out.Bytes(); len(data) > 0; data = data[4:] {
		v := math.Float32frombits(binary.LittleEndian.Uint32(data))
		if len(runs) == 0 || runs[len(runs)-1].v != v {
			runs = append(runs, run{v: v})
		}
		runs[len(runs)-1].n++
	}
	return runs
}

func TestTimeline(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name   string
		track  Track
		pieces []piece
		want   []run
	}{
		{"one after the other", Track{}, []piece{{0, 50, 0.1}, {50, 50, 0.2}}, []run{{50, 0.1}, {50, 0.2}}},
		{"a late start", Track{}, []piece{{30, 50, 0.1}}, []run{{30, 0}, {50, 0.1}}},
		{"an early start", Track{}, []piece{{-120, 50, 0.1}, {-70, 100, 0.2}, {30, 50, 0.3}}, []run{{30, 0.2}, {50, 0.3}}},
		{"nothing", Track{Until: 70}, nil, []run{{70, 0}}},
		{"silence to the end", Track{Until: 70}, []piece{{0, 50, 0.1}}, []run{{50, 0.1}, {20, 0}}},
		{"longer than the video", Track{Until: 30}, []piece{{0, 50, 0.1}}, []run{{50, 0.1}}},
		{"times that shake", Track{}, []piece{{0, 50, 0.1}, {57, 50, 0.2}, {96, 50, 0.3}},
			[]run{{50, 0.1}, {50, 0.2}, {50, 0.3}}},
		{"a hole", Track{}, []piece{{0, 50, 0.1}, {250, 50, 0.2}, {300, 50, 0.3}},
			[]run{{50, 0.1}, {200, 0}, {50, 0.2}, {50, 0.3}}},
		{"single ones with holes", Track{}, []piece{{0, 50, 0.1}, {250, 50, 0.2}, {500, 50, 0.3}},
			[]run{{50, 0.1}, {200, 0}, {50, 0.2}, {200, 0}, {50, 0.3}}},
		{"an overlap", Track{}, []piece{{0, 300, 0.1}, {150, 200, 0.2}, {350, 50, 0.3}},
			[]run{{300, 0.1}, {50, 0.2}, {50, 0.3}}},
		{"one that is out of order", Track{}, []piece{{0, 50, 0.1}, {250, 50, 0.2}, {100, 50, 0.3}, {150, 50, 0.4}},
			[]run{{50, 0.1}, {50, 0.2}, {50, 0.3}, {50, 0.4}}},
		// At a change of the rate, ffmpeg may give one frame a time computed with the old rate. It then writes the
		// smallest possible times, until the frames' own times are larger again.
		{"one that is too late", Track{}, []piece{
			{0, 500, 0.1}, {700, 55, 0.2}, {701, 50, 0.3}, {702, 50, 0.4}, {703, 50, 0.5}, {704, 50, 0.6}, {750, 50, 0.7},
		}, []run{{500, 0.1}, {55, 0.2}, {50, 0.3}, {50, 0.4}, {50, 0.5}, {50, 0.6}, {45, 0.7}}},
		{"times that go back", Track{}, []piece{{0, 300, 0.1}, {300, 50, 0.2}, {301, 50, 0.3}, {302, 50, 0.4}, {400, 50, 0.5}},
			[]run{{300, 0.1}, {50, 0.2}, {50, 0}, {50, 0.5}}},
		{"what is no sample", Track{}, []piece{{0, 50, nan}, {50, 50, 0.1}}, []run{{50, 0}, {50, 0.1}}},
		{"far beyond the end", Track{Until: 60}, []piece{{0, 50, 0.1}, {1 << 50, 50, 0.2}}, []run{{50, 0.1}, {10, 0}}},
		{"a part", Track{First: 40, End: 110}, []piece{{0, 50, 0.1}, {50, 50, 0.2}, {100, 50, 0.3}, {150, 900, 0.4}},
			[]run{{10, 0.1}, {50, 0.2}, {10, 0.3}}},
		{"a part after the end", Track{First: 40, End: 110}, []piece{{0, 10, 0.1}}, []run{{70, 0}}},
		{"a last part after the end", Track{First: 40, Until: 60}, []piece{{0, 10, 0.1}}, []run{{20, 0}}},
	} {
		c.track.Input.Limit = 3e9
		got := placed(t, c.track, c.pieces...)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPiecesOfOtherLength(t *testing.T) {
	l := Track{Rate: 1000, Channels: 2}.timeline(&bytes.Buffer{})
	if err := l.add(0, make([]byte, 12)); err == nil {
		t.Error("one sample and a half of two channels passed")
	}
}

// TestDamagedMovie: bytes that are not a movie are an error; no bytes are the end.
func TestDamagedMovie(t *testing.T) {
	for _, c := range []struct {
		name, data string
		bad        bool
	}{
		{"nothing", "", false},
		{"a short header", "\x00\x00\x00", true},
		{"samples without a time", "\x00\x00\x00\x0cmdat1234", true},
		{"a box that is cut", "\x00\x00\x00\x20free1234", true},
		{"a huge box", "\x7f\xff\xff\xffmdat1234", true},
		{"a damaged fragment", "\x00\x00\x00\x10moof\x00\x00\x00\x08trafx", true},
	} {
		err := eachPiece(bytes.NewReader([]byte(c.data)), func(int64, []byte) error { return nil })
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
