package inspect

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/workertest"
)

// frames returns the times of frames at a rate for some seconds, each shifted by move, on a clock of that
// many ticks/s.
func frames(rate, seconds float64, clock float64, move func(n int) float64) []float64 {
	var times []float64
	for n := range int(rate * seconds) {
		times = append(times, math.Round((float64(n)/rate+move(n))*clock)/clock)
	}
	return times
}

func still(int) float64 { return 0 }

// TestSpacing: the rate comes from the usual intervals; pauses, bursts and lost frames do not change it.
func TestSpacing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	jitter := func(seconds float64) func(int) float64 {
		return func(int) float64 { return seconds * (2*random.Float64() - 1) }
	}
	pause := func(n int) float64 { return float64(n/30) * 4 }
	ntsc := picture.Rate{Num: 30000, Den: 1001}
	for name, c := range map[string]struct {
		times    []float64
		clock    float64
		declared []picture.Rate
		want     picture.Rate
		variable bool
	}{
		"even":                   {frames(25, 4, 12800, still), 12800, nil, picture.Rate{Num: 25, Den: 1}, false},
		"bursts with pauses":     {frames(30, 4, 15360, pause), 15360, nil, picture.Rate{Num: 30, Den: 1}, true},
		"a phone that trembles":  {frames(30, 9, 90000, jitter(0.0015)), 90000, nil, picture.Rate{Num: 30, Den: 1}, false},
		"60.02 stays":            {frames(60.02, 9, 6002, still), 6002, nil, picture.Rate{Num: 3001, Den: 50}, false},
		"NTSC on a coarse clock": {frames(30000./1001, 9, 1000, still), 1000, nil, ntsc, false},
		"film on a coarse clock": {frames(24000./1001, 9, 1000, still), 1000, nil, picture.Rate{Num: 24000, Den: 1001}, false},
		"24 on a coarse clock":   {frames(24, 9, 1000, still), 1000, nil, picture.Rate{Num: 24, Den: 1}, false},
		"too few to tell, and told": {
			frames(30000./1001, 0.2, 1000, still), 1000, []picture.Rate{ntsc}, ntsc, false,
		},
		"144 is not 120":    {frames(144, 2, 1000, still), 1000, nil, picture.Rate{Num: 144, Den: 1}, false},
		"240 is not 120":    {frames(240, 2, 15360, still), 15360, nil, picture.Rate{Num: 240, Den: 1}, false},
		"29.5 is not 29.97": {frames(29.5, 20, 90000, still), 90000, nil, picture.Rate{Num: 59, Den: 2}, false},
		"what is declared lies": {
			frames(25, 4, 12800, still), 12800, []picture.Rate{{Num: 240, Den: 1}, {Num: 7, Den: 1}}, picture.Rate{Num: 25, Den: 1}, false,
		},
		"exact where declared": {
			frames(8.797, 9, 17594, still), 17594, []picture.Rate{{Num: 8797, Den: 1000}}, picture.Rate{Num: 8797, Den: 1000}, false,
		},
		"slides": {frames(0.2, 60, 1000, still), 1000, nil, picture.Rate{Num: 1, Den: 1}, false},
		"every fourth frame missing": {frames(60, 4, 90000, func(n int) float64 { return float64(n/3) / 60 }), 90000, nil,
			picture.Rate{Num: 60, Den: 1}, true},
		"hidden frames, a tick before the next": {append(frames(30, 4, 1000, still), frames(1, 4, 1000, func(int) float64 { return -0.001 })...),
			1000, nil, picture.Rate{Num: 30, Den: 1}, false},
	} {
		random.Shuffle(len(c.times), func(i, k int) { c.times[i], c.times[k] = c.times[k], c.times[i] })
		s := space(c.times, 1/c.clock)
		got := s.of(c.declared...)
		if math.Abs(got.Float()-c.want.Float()) > 1e-9 || s.variable != c.variable {
			t.Errorf("%s: %v, variable %v, want %v (%+v)", name, got, s.variable, c.want, s.rate)
		}
	}
	if s := space([]float64{3, 3, 3.001}, 0.001); s.rate != 0 {
		t.Errorf("one frame has a rate: %+v", s)
	}
}

// TestFrameRateOfFiles: whatever rate the container declares, the frames are measured, by the index of an MP4
// or the packets of other containers.
func TestFrameRateOfFiles(t *testing.T) {
	bursts := args(workertest.Pattern("64x64", "30", "12"), []string{"-vf", "select='lt(mod(t,4),1)'", "-fps_mode", "vfr"}, x264)
	trembling := args(workertest.Pattern("64x64", "30", "4"), []string{
		"-vf", "settb=1/1200,setpts='if(eq(mod(N,10),9),(N-1)*40+10,N*40)'", "-fps_mode", "passthrough", "-enc_time_base", "1/1200",
	}, x264, []string{"-video_track_timescale", "1200"})
	reordered := args(workertest.Pattern("64x64", "25", "4"), []string{"-c:v", "mpeg4", "-bf", "2", "-g", "12"})
	for _, c := range pipelinetest.Sweep([]struct {
		name, path string
		want       float64
	}{
		{"bursts in Matroska", workertest.Clip(t, "a.mkv", bursts...), 30},
		{"neighbours 1/120 s apart", workertest.Clip(t, "a.mp4", trembling...), 30},
		{"240", workertest.Clip(t, "a.mov", args(workertest.Pattern("64x64", "240", "2"), x264)...), 240},
		{"frames that are decoded out of order", workertest.Clip(t, "a.avi", reordered...), 25},
		{"the clock of the file is its average", clockRate(t, workertest.Clip(t, "a.mkv",
			args(workertest.Pattern("64x64", "30000/1001", "4"), x264)...)), 30000. / 1001},
		{"bursts", workertest.Clip(t, "a.mp4", bursts...), 30},
		{"bursts in fragments", workertest.Clip(t, "a.mp4", append(bursts, "-movflags", "frag_keyframe+empty_moov")...), 30},
		{"a little more than 60", workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "6002/100", "2"), x264)...), 60.02},
		{"144", workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "144", "2"), x264)...), 144},
		{"one frame", workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "10", "0.1"), x264)...), 10},
	}, 5) {
		in := look(t, Limits{}, c.path)
		if in.Verdict != pipeline.VerdictAccept || math.Abs(in.Media.Video.FrameRate()-c.want) > 0.001 {
			t.Errorf("%s: %s %+v %+v, want %g frames/s", c.name, in.Verdict, in.Reason, in.Media, c.want)
		}
	}
	fast := workertest.Clip(t, "a.mp4", args(workertest.Pattern("64x64", "500", "1"), x264)...)
	if in := look(t, Limits{}, fast); in.Reason == nil || in.Reason.Code != pipeline.CodeLimits {
		t.Errorf("500 frames/s: %s %+v", in.Verdict, in.Reason)
	}
}

// clockRate makes a Matroska file claim that a frame lasts 1 ms. Source: RFC 9559, 5.1.4.1.13
// (DefaultDuration).
func clockRate(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte{0x23, 0xe3, 0x83})
	if at < 0 || data[at+3] != 0x84 {
		t.Fatal("no default duration of four bytes")
	}
	binary.BigEndian.PutUint32(data[at+4:], 1_000_000)
	return save(t, "clock.mkv", data)
}

// TestStillFilm: a video in which nothing moves needs nearly no bits, and is accepted.
func TestStillFilm(t *testing.T) {
	path := workertest.Clip(t, "a.mp4", args([]string{"-f", "lavfi", "-i", "color=c=0x3060a0:s=64x64:r=1:d=2400"}, x264,
		[]string{"-tune", "stillimage"})...)
	in := look(t, Limits{}, path)
	if m := in.Media; in.Verdict != pipeline.VerdictAccept || m.Bitrate >= 1000 || math.Abs(m.Duration-2400) > 1 {
		t.Errorf("%s %+v %+v", in.Verdict, in.Reason, m)
	}
}
