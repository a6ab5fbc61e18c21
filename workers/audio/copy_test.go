package audio

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// clickAt are the arguments of a sound of 8 s with a click at 5 s, as AAC of a rate and number of channels.
func clickAt(rate, channels int) []string {
	return slices.Concat(workertest.Pattern("64x64", "10", "8"),
		[]string{"-f", "lavfi", "-i", "aevalsrc=if(between(t\\,5\\,5.02)\\,0.9\\,0.01*sin(900*t)):s=48000:d=8"},
		x264, []string{"-c:a", "aac", "-ar", strconv.Itoa(rate), "-ac", strconv.Itoa(channels)})
}

// TestCopy: the packets are the source's own, and play when they did, whether or not the file is a job of its own.
func TestCopy(t *testing.T) {
	for _, c := range []struct {
		rate, channels int
		whole          float64
		jobs           int
	}{{48000, 2, 30, 1}, {44100, 1, 5, 2}} {
		source := workertest.Clip(t, "a.mp4", clickAt(c.rate, c.channels)...)
		m := soundMP4(8)
		m.Audio[0].SampleRate, m.Audio[0].Channels, m.Audio[0].Language = c.rate, c.channels, "eng"
		out := render(t, layout{c.whole, standard.chunk}, source, m)
		r := out.results["audio-0"]
		if len(out.results) != c.jobs || r.Facts["copied"] != true {
			t.Errorf("%d Hz: %d jobs, facts %v", c.rate, len(out.results), r.Facts)
		}
		joined := out.joined(t, "audio-eng")
		packets, f := packetsOf(t, joined)
		if rate, n, reason := parseConfig(f.config); rate != c.rate || n != c.channels || reason != "" {
			t.Errorf("%d Hz: configuration of %d Hz, %d channels, %s", c.rate, rate, n, reason)
		}
		// What ffmpeg takes out of the source as a stream of frames with headers of 7 bytes.
		adts, err := os.ReadFile(workertest.Clip(t, "a.aac", "-i", source, "-vn", "-c:a", "copy", "-copypriorss", "1"))
		if err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		for len(adts) > 7 {
			size := int(adts[3]&3)<<11 | int(adts[4])<<3 | int(adts[5])>>5
			want, adts = append(want, adts[7:size]), adts[size:]
		}
		if !slices.EqualFunc(packets, want[1:], bytes.Equal) {
			t.Errorf("%d Hz: %d packets are not those of the source, %d with the priming", c.rate, len(packets), len(want))
		}
		for _, file := range []string{joined, filepath.Join(out.root, "audio.m4a")} {
			samples := samplesOf(t, file)
			if at := click(samples); math.Abs(at-5) > 0.005 || math.Abs(float64(len(samples))/48000-8) > 0.04 {
				t.Errorf("%d Hz: %s: click at %.3f of %.3f s", c.rate, filepath.Base(file), at, float64(len(samples))/48000)
			}
		}
		checkCopiedOutputs(t, r, c.rate, c.channels)
		track := out.index(t)[0]
		if track.Timescale != c.rate || len(track.Segments) != 2 || track.Segments[0].Duration > manifest.SegmentSeconds {
			t.Errorf("%d Hz: track %+v", c.rate, track)
		}
	}
}

func checkCopiedOutputs(t *testing.T, r pipeline.Result, rate, channels int) {
	t.Helper()
	for _, o := range r.Outputs {
		if o.Kind != pipeline.KindIndex && (o.Channels != channels || o.Language != "eng" || math.Abs(o.Duration-8) > 0.04) {
			t.Errorf("%d Hz: %+v", rate, o)
		}
	}
}

// TestUnsoundCopies: a track that the facts speak well of, but that is not so, is encoded after all.
func TestUnsoundCopies(t *testing.T) {
	gap := "setts=ts=PTS+if(gt(N\\,200)\\,19200\\,0)"
	for _, c := range []struct {
		name, reason string
		args         []string
	}{
		{"a gap", "is off by 0.400 s", []string{"-bsf:a", gap}},
		{"surround", "channel configuration", []string{"-ac", "6"}},
		{"another rate", "", []string{"-ar", "32000"}}, // as sound as others: only the plan wants two rates
		{"late", "begins at", nil},
		{"short", "its packets end at", []string{"-t", "6"}},
		{"not AAC", "", []string{"-c:a", "libmp3lame"}},
	} {
		args := slices.Concat(clickAt(48000, 2), c.args)
		if c.name == "late" {
			args = slices.Insert(args, slices.Index(args, "-i")+2, "-itsoffset", "0.3")
		}
		source := workertest.Clip(t, "a.mp4", args...)
		out := render(t, standard, source, soundMP4(8))
		facts := out.results["audio-0"].Facts
		if c.name == "another rate" {
			if facts["copied"] != true {
				t.Errorf("%s: facts %v", c.name, facts)
			}
			continue
		}
		reason, _ := facts["reason"].(string)
		if facts["copied"] != false || reason == "" || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: facts %v", c.name, facts)
		}
		_, f := packetsOf(t, out.joined(t, "audio-und"))
		if f.rate != sampleRate || !bytes.Equal(f.config, encodedForm.config) {
			t.Errorf("%s: form %+v", c.name, f)
		}
		if long := float64(len(samplesOf(t, filepath.Join(out.root, "audio.m4a")))) / 48000; math.Abs(long-8) > 0.6 {
			t.Errorf("%s: %.3f s", c.name, long)
		}
	}
}

// TestCopySwitchedOff: the step's parameter is heard.
func TestCopySwitchedOff(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", clickAt(48000, 2)...)
	p := pipeline.Pipeline{Name: "x", Steps: []pipeline.Step{{Worker: "audio", With: map[string]any{"copy": false}}}}
	store := workertest.NewStore(t)
	r := workertest.Video(t, registry(), store, source, soundMP4(8), p, nil)["audio-0"]
	if r.Facts["copied"] != false || r.Facts["reason"] != "copying is switched off" {
		t.Errorf("facts %v", r.Facts)
	}
}
