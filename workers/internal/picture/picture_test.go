package picture

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

func TestNewRate(t *testing.T) {
	for _, c := range []struct {
		name     string
		num, den int64
		want     Rate
	}{
		{"plain", 25, 1, Rate{25, 1}},
		{"NTSC", 30000, 1001, Rate{30000, 1001}},
		{"not reduced", 60000, 2002, Rate{30000, 1001}},
		{"odd but plain", 8797, 1000, Rate{8797, 1000}},
		{"half of NTSC", 15000, 1001, Rate{15000, 1001}},
		{"average near 29.97", 2997500, 100003, Rate{30000, 1001}},
		{"average near 24", 2400500, 100003, Rate{24, 1}},
		{"average of its own", 3628800, 502589, Rate{361, 50}},
		{"clock", 90000, 1, Rate{5625, 32}},
		{"screens of 144 Hz", 144, 1, Rate{144, 1}},
		{"slow motion", 240, 1, Rate{240, 1}},
		{"slower motion", 480, 1, Rate{240, 1}},
		{"slow", 1, 10, Rate{1, 1}},
		{"unknown", 0, 0, Rate{25, 1}},
		{"negative", -25, 1, Rate{25, 1}},
	} {
		if got := NewRate(c.num, c.den); got != c.want {
			t.Errorf("%s: NewRate(%d, %d) = %v, want %v", c.name, c.num, c.den, got, c.want)
		}
	}
}

func TestRateAtMost(t *testing.T) {
	for _, c := range []struct {
		rate  Rate
		limit float64
		want  Rate
	}{
		{Rate{25, 1}, 30, Rate{25, 1}},
		{Rate{30, 1}, 30, Rate{30, 1}},
		{Rate{50, 1}, 30, Rate{25, 1}},
		{Rate{60000, 1001}, 30, Rate{30000, 1001}},
		{Rate{120, 1}, 60, Rate{60, 1}},
		{Rate{120, 1}, 30, Rate{30, 1}},
		{Rate{144, 1}, 60, Rate{48, 1}},
		{Rate{240, 1}, 60, Rate{60, 1}},
		{Rate{1000, 33}, 30, Rate{1000, 33}},
		{Rate{31, 1}, 30, Rate{31, 1}},
		{Rate{32, 1}, 30, Rate{16, 1}},
	} {
		if got := c.rate.AtMost(c.limit); got != c.want {
			t.Errorf("%v at most %g = %v, want %v", c.rate, c.limit, got, c.want)
		}
	}
}

// TestTimescale: a frame must last a whole number of ticks, or the chunks of a video would drift apart.
func TestTimescale(t *testing.T) {
	for _, r := range slices.Concat(Standards, roundedTo, []Rate{{8797, 1000}, {361, 50}, {31, 2}}) {
		scale := r.Timescale()
		if scale < 10000 || scale*r.Den%r.Num != 0 {
			t.Errorf("%v: timescale %d", r, scale)
		}
	}
}

func TestKeyframesOfDividedRatesMeet(t *testing.T) {
	for _, r := range []Rate{{50, 1}, {60000, 1001}, {60, 1}, {48, 1}} {
		low := r.AtMost(30)
		high, slow := float64(r.Frames(2))/r.Float(), float64(low.Frames(2))/low.Float()
		if high != slow {
			t.Errorf("%v: keyframes each %g s and %g s", r, high, slow)
		}
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		w, h, short int
		want        Size
	}{
		{1920, 1080, 720, Size{1280, 720}},
		{1080, 1920, 720, Size{720, 1280}},
		{640, 360, 720, Size{640, 360}},
		{559, 442, 1080, Size{558, 442}},
		{1, 1, 240, Size{2, 2}},
		{16, 16, 240, Size{16, 16}},
		{8192, 16, 240, Size{8192, 16}},
		{427, 240, 240, Size{426, 240}},
		{853, 480, 360, Size{640, 360}},
		{0, 0, 360, Size{2, 2}},
	} {
		got := Fit(pipeline.VideoTrack{Width: c.w, Height: c.h}, c.short)
		if got != c.want {
			t.Errorf("%dx%d to %d: %v, want %v", c.w, c.h, c.short, got, c.want)
		}
	}
}

// TestNodes checks the filters of a chain and their options.
func TestNodes(t *testing.T) {
	size, rate := Size{640, 360}, Rate{25, 1}
	for _, c := range []struct {
		name  string
		track pipeline.VideoTrack
		steps string
		told  []string
	}{
		{"SD without tags", pipeline.VideoTrack{CodedWidth: 720, CodedHeight: 576},
			"scale pad fps zscale format zscale format setsar setparams", []string{"w=720:h=576", "min=smpte170m", "w=640:h=360"}},
		{"HD without tags", pipeline.VideoTrack{CodedWidth: 1280, CodedHeight: 720},
			"scale pad fps zscale format setsar setparams", []string{"w=1280:h=720", "min=bt709", "fps=fps=25/1"}},
		{"plain", pipeline.VideoTrack{Width: 640, Height: 360, SampleRatio: 1, Matrix: "bt709", PixelFormat: "yuv420p"},
			"scale pad fps format setsar setparams", nil},
		{"interlaced", pipeline.VideoTrack{Matrix: "bt709", Interlaced: true},
			"scale pad bwdif fps zscale format setsar setparams", []string{"interl=-1", "bwdif=mode=send_frame:deint=interlaced"}},
		{"alpha", pipeline.VideoTrack{Matrix: "bt709", Alpha: true},
			"scale pad fps zscale format premultiply format zscale format setsar setparams", []string{"m=gbr"}},
		{"HDR", pipeline.VideoTrack{HDR: HDR10},
			"scale pad fps zscale zscale format zscale tonemap zscale format setsar setparams", []string{"tin=smpte2084"}},
		{"HLG", pipeline.VideoTrack{HDR: HLG},
			"scale pad fps zscale zscale format zscale tonemap zscale format setsar setparams", []string{"tin=arib-std-b67"}},
	} {
		chain := Nodes(c.track, size, rate)
		var steps []string
		for _, node := range strings.Split(strings.ReplaceAll(chain, `\,`, ";"), ",") {
			name, _, _ := strings.Cut(node, "=")
			steps = append(steps, name)
		}
		if got := strings.Join(steps, " "); got != c.steps {
			t.Errorf("%s: steps %s, want %s", c.name, got, c.steps)
		}
		for _, text := range append(c.told, "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709") {
			if !strings.Contains(chain, text) {
				t.Errorf("%s: no %s in %s", c.name, text, chain)
			}
		}
	}
	if got := Nodes(pipeline.VideoTrack{}, size, Rate{}); strings.Contains(got, "fps=") {
		t.Errorf("the zero rate: %s", got)
	}
}

func TestSourceOfAlpha(t *testing.T) {
	m := pipeline.Media{Container: "matroska", Video: pipeline.VideoTrack{Stream: 1, Codec: "vp9", Alpha: true}}
	decoder := func() string {
		for _, o := range Source("x", m).Options {
			if o.Key == "c:1" {
				return o.Value
			}
		}
		return ""
	}
	if in := Source("x", m); in.Demuxer != "matroska" || decoder() != "libvpx-vp9" {
		t.Errorf("source %+v", in)
	}
	m.Video.Codec = "qtrle"
	if got := decoder(); got != "" {
		t.Errorf("decoder of another codec: %s", got)
	}
}

func TestSourceIsBounded(t *testing.T) {
	m := pipeline.Media{Duration: 100}
	if in := Source("x", m); in.Limit != 120*time.Second {
		t.Errorf("limit %v", in.Limit)
	}
	m.Audio = []pipeline.AudioTrack{{Start: 5, Duration: 195}}
	if in := Source("x", m); in.Limit != 230*time.Second {
		t.Errorf("limit with a longer sound %v", in.Limit)
	}
	if in := Source("x", pipeline.Media{}); in.Limit != 0 {
		t.Errorf("limit of an unknown length %v", in.Limit)
	}
}

// TestBorders: each segment begins with a keyframe, and is divided into groups of about two seconds.
func TestBorders(t *testing.T) {
	value := func(options []ffmpeg.Option, key string) string {
		for _, o := range options {
			if o.Key == key {
				return o.Value
			}
		}
		return ""
	}
	rate := Rate{25, 1}
	o := H264(Basic, 900, rate, 0, 151, 200, 290)
	// 151 frames have three groups of 50 to 51, 49 frames one, 90 frames two. After that the encoder decides.
	want := "0.000000,2.000000,4.000000,6.040000,8.000000,9.800000,11.600000"
	if got := value(o, "force_key_frames"); got != want || value(o, "g") != "100" {
		t.Errorf("%s and groups of %s, want %s", got, value(o, "g"), want)
	}
	if got := value(H264(Basic, 900, rate), "force_key_frames"); got != "expr:eq(mod(n,50),0)" {
		t.Error(got)
	}
}

// TestLead: the video begins on the nearest frame of the smallest rungs, if no viewer notices the shift.
func TestLead(t *testing.T) {
	for _, c := range []struct {
		delay, rate, want float64
	}{
		{0, 25, 0}, {0.021, 25, 0.04}, {0.0232, 24, 1.0 / 24}, {0.0232, 20, 0}, {0.021, 60, 1.0 / 30},
		{0.512, 25, 0.52}, {0.045, 10, 0.045}, {0.09, 10, 0.1}, {0.3, 1, 0.3},
	} {
		m := pipeline.Media{Audio: []pipeline.AudioTrack{{Start: 1.4}}}
		m.Video.Start, m.Video.FrameRateNum, m.Video.FrameRateDen = 1.4+c.delay, int(c.rate), 1
		if got := Lead(m); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%g s at %g frames/s: %g, want %g", c.delay, c.rate, got, c.want)
		}
		if want := c.want - c.delay; math.Abs(Shift(m)-want) > 1e-9 {
			t.Errorf("%g s at %g frames/s: moved by %g, want %g", c.delay, c.rate, Shift(m), want)
		}
	}
}
