package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/all"
)

// TestEveryCaseIsWhole checks that each case of the table has a unique id, texts, an input, and something to
// judge.
func TestEveryCaseIsWhole(t *testing.T) {
	k, err := newKitchen(t.TempDir(), recipes())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.id] || c.id == "" || c.what == "" || c.right == "" {
			t.Errorf("%q: want an id of its own, what it is and what is right: %+v", c.id, c)
		}
		seen[c.id] = true
		if c.run != nil {
			continue
		}
		if c.hostile != nil {
			if c.hostile.build == nil || len(c.hostile.ends) == 0 && c.hostile.harmless == "" {
				t.Errorf("%s: want a build and an end: %+v", c.id, c)
			}
			continue
		}
		if _, err := k.path(c.file); err != nil {
			t.Errorf("%s: %v", c.id, err)
		}
		if len(c.want.rejected) == 0 && c.want.length == 0 && c.check == nil {
			t.Errorf("%s: nothing is judged but that it is ready", c.id)
		}
	}
}

// TestVerdictTellsWhatIsWrong checks that one wrong finding makes a case wrong, and that the verdict has only
// it.
func TestVerdictTellsWhatIsWrong(t *testing.T) {
	j := &judge{}
	if j.ok() {
		t.Error("a case in which nothing was looked at is right")
	}
	j.near("length", 3.99, 4, 0.1)
	if !j.ok() || j.verdict() != "length 3.990" {
		t.Errorf("right: %v, %q", j.ok(), j.verdict())
	}
	j.is("code", "a", "b", "c")
	j.near("level", math.NaN(), 0, 0.3)
	if want := "code a, want b or c; level NaN, want 0.000 ±0.300"; j.ok() || j.verdict() != want {
		t.Errorf("wrong: %v, %q, want %q", j.ok(), j.verdict(), want)
	}
}

func sine(pitch, level float64, seconds float64) []float64 {
	samples := make([]float64, int(seconds*hearing))
	for i := range samples {
		samples[i] = level * math.Sin(2*math.Pi*pitch*float64(i)/hearing)
	}
	return samples
}

// TestPitchAndLevel measures known tones.
func TestPitchAndLevel(t *testing.T) {
	tone := sine(440, 0.5, 1)
	for i, s := range sine(880, 0.2, 1) {
		tone[i] += s
	}
	if got := pitch(tone); math.Abs(got-440) > 2 {
		t.Errorf("pitch %g, want 440", got)
	}
	if a, b := amplitude(tone, 880), amplitude(tone, 600); math.Abs(a-0.2) > 0.01 || b > 0.01 {
		t.Errorf("880 Hz %g, 600 Hz %g; want 0.2 and nothing", a, b)
	}
	if got := pitch(make([]float64, hearing)); got != 0 {
		t.Errorf("pitch of silence: %g", got)
	}
	p := pcm{channels: [][]float64{sine(440, 0.5, 1), make([]float64, hearing)}}
	if got := p.power(1); math.Abs(got-10*math.Log10(0.5*0.5/2/2)) > 0.01 {
		t.Errorf("power %g dB", got)
	}
	if got := onset(append(make([]float64, hearing/2), tone...), 0.1); math.Abs(got-0.5) > 0.01 {
		t.Errorf("onset at %g s", got)
	}
}

// TestRateByIntervals measures frame times whose average rate is another.
func TestRateByIntervals(t *testing.T) {
	var bursts []float64
	for i := range 600 {
		if i%150 < 30 {
			bursts = append(bursts, float64(i)/30)
		}
	}
	for name, c := range map[string]struct {
		times []float64
		want  float64
	}{
		"bursts":  {bursts, 30},
		"doubles": {[]float64{0, 0, 0.04, 0.04, 0.08, 0.12}, 25},
		"one":     {[]float64{3}, 0},
	} {
		if got := rateOf(c.times); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s: %g, want %g", name, got, c.want)
		}
	}
}

// TestColourOfMatrices converts colours with known values in ITU-R BT.601 and BT.709.
func TestColourOfMatrices(t *testing.T) {
	near := func(a, b float64) bool { return math.Abs(a-b) < 0.6 }
	if r, g, b := bt601.rgb(81, 90, 240); math.Abs(r-255) > 2 || math.Abs(g) > 2 || math.Abs(b) > 2 {
		t.Errorf("red of BT.601 is (%g, %g, %g)", r, g, b)
	}
	if y, u, v := bt709.yuv(255, 0, 0); !near(y, 63) || !near(u, 102) || !near(v, 240) {
		t.Errorf("red in BT.709 is (%g, %g, %g)", y, u, v)
	}
	if y, u, v := bt709.yuv(bt601.rgb(126, 128, 128)); !near(y, 126) || !near(u, 128) || !near(v, 128) {
		t.Errorf("grey becomes (%g, %g, %g)", y, u, v)
	}
}

// TestContentBetweenBars finds the picture in a frame with bars.
func TestContentBetweenBars(t *testing.T) {
	f := frame{width: 64, height: 36, y: slices.Repeat([]byte{16}, 64*36)}
	for y := range 36 {
		for x := 22; x < 42; x++ {
			f.y[y*64+x] = 120
		}
	}
	if got, want := f.content(), (region{22.0 / 64, 0, 42.0 / 64, 1}); got != want {
		t.Errorf("content %+v, want %+v", got, want)
	}
}

// TestPlaylists parses playlists as servers send them.
func TestPlaylists(t *testing.T) {
	m, err := parseMaster("http://h/play/v/master.m3u8", []byte(`#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="a",DEFAULT=NO,URI="audio-1/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="a, b",DEFAULT=YES,CHANNELS="2",URI="audio/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS="avc1.64000d,mp4a.40.2",RESOLUTION=320x180,FRAME-RATE=25.000,AUDIO="audio"
180p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=300,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO="audio"
360p/index.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=30,RESOLUTION=640x360,URI="360p/iframes.m3u8"
`))
	if err != nil {
		t.Fatal(err)
	}
	top := rung{"http://h/play/v/360p/index.m3u8", "avc1.64001f,mp4a.40.2", 640, 360, 25, 300}
	if len(m.rungs) != 2 || m.rungs[0] != top {
		t.Errorf("rungs %+v", m.rungs)
	}
	if want := (sound{"http://h/play/v/audio/index.m3u8", "a, b", 2}); len(m.sounds) != 2 || m.sounds[0] != want {
		t.Errorf("sounds %+v", m.sounds)
	}
	list, err := parseMedia(top.url, []byte("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-MAP:URI=\"init.mp4\"\n"+
		"#EXTINF:6.000,\nseg_0.m4s\n#EXTINF:1.5,\nseg_1.m4s\n#EXT-X-ENDLIST\n"))
	if err != nil {
		t.Fatal(err)
	}
	if list.target != 6 || !list.ended || list.sum() != 7.5 || list.init != "http://h/play/v/360p/init.mp4" ||
		!slices.Equal(list.segments, []string{"http://h/play/v/360p/seg_0.m4s", "http://h/play/v/360p/seg_1.m4s"}) {
		t.Errorf("%+v", list)
	}
}

// TestWhyTop checks that the notes of a plan about the top rung are reported, and not those about the audio.
func TestWhyTop(t *testing.T) {
	workers, err := all.New(all.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m := pipeline.Media{
		Container: "mov", Duration: 60, Size: 20 << 20,
		Video: pipeline.VideoTrack{
			Codec: "hevc", PixelFormat: "yuv420p", BitDepth: 8, Bitrate: 2_500_000, SampleRatio: 1,
			CodedWidth: 1280, CodedHeight: 720, Width: 1280, Height: 720, FrameRateNum: 24, FrameRateDen: 1,
		},
		Audio: []pipeline.AudioTrack{{Codec: "mp3", Channels: 2, SampleRate: 44100, Duration: 60}},
	}
	var j judge
	for _, worker := range []string{"transcode", "audio"} {
		jobs, err := workers.Plan(worker, nil, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs {
			if job.Note != "" {
				j.notes = append(j.notes, job.Note)
			}
		}
	}
	if why := j.whyTop(); len(j.notes) != 2 || !strings.Contains(why, "hevc") || strings.Contains(why, "mp3") {
		t.Errorf("%q of %q", why, j.notes)
	}
}
