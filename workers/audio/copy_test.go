package audio

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
	"github.com/reelmill/reelmill/workers/workertest"
)

// clickAt returns ffmpeg's arguments for 8 s of AAC with a click at 5 s.
func clickAt(rate, channels int) []string {
	return slices.Concat(workertest.Pattern("64x64", "10", "8"),
		[]string{"-f", "lavfi", "-i", "aevalsrc=if(between(t\\,5\\,5.02)\\,0.9\\,0.01*sin(900*t)):s=48000:d=8"},
		x264, []string{"-c:a", "aac", "-ar", strconv.Itoa(rate), "-ac", strconv.Itoa(channels)})
}

// TestCopy: the packets are the source's own, and play at the same times, whether or not audio.m4a is a job
// of its own.
func TestCopy(t *testing.T) {
	for _, c := range []struct {
		rate, channels int
		layout         layout
		jobs           int
	}{{48000, 2, standard, 1}, {44100, 1, layout{5, 40}, 2}, {44100, 2, layout{1, 4}, 3}} {
		source := workertest.Clip(t, "a.mp4", clickAt(c.rate, c.channels)...)
		m := soundMP4(8)
		m.Audio[0].SampleRate, m.Audio[0].Channels, m.Audio[0].Language = c.rate, c.channels, "eng"
		out := render(t, c.layout, source, m)
		r, ok := out.results["audio-0"]
		if !ok {
			r = out.results["audio-0-first"]
		}
		if len(out.results) != c.jobs || r.Facts["copied"] != true {
			t.Errorf("%d Hz: %d jobs, facts %v", c.rate, len(out.results), r.Facts)
		}
		joined := out.joined(t, "audio-eng")
		packets, f := packetsOf(t, joined)
		if f.rate != c.rate {
			t.Errorf("%d Hz: a clock of %d Hz", c.rate, f.rate)
		}
		// ffmpeg extracts the source's frames, each with a header of 7 bytes.
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
		checkCopiedOutputs(t, out, c.rate, c.channels)
		segments := 0
		for _, track := range out.index(t) {
			if track.Timescale != c.rate || track.First != segments || track.Segments[0].Duration > manifest.SegmentSeconds {
				t.Errorf("%d Hz: track %+v", c.rate, track)
			}
			segments += len(track.Segments)
		}
		if segments != 2 {
			t.Errorf("%d Hz: %d segments", c.rate, segments)
		}
	}
}

func checkCopiedOutputs(t *testing.T, out rendered, rate, channels int) {
	t.Helper()
	long := 0.0
	for _, r := range out.results {
		for _, o := range r.Outputs {
			if o.Kind != pipeline.KindIndex && (o.Channels != channels || o.Language != "eng") {
				t.Errorf("%d Hz: %+v", rate, o)
			}
			if o.Kind == pipeline.KindAudioRendition {
				long += o.Duration
			}
		}
	}
	if math.Abs(long-8) > 0.04 {
		t.Errorf("%d Hz: %.3f s", rate, long)
	}
}

// TestDamagedPart: if the frames of one part cannot be decoded, only this part is encoded, in the form of the
// others.
func TestDamagedPart(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", clickAt(44100, 1)...)
	spoil(t, source, 6.5, 8)
	m := soundMP4(8)
	m.Audio[0].SampleRate, m.Audio[0].Channels = 44100, 1
	out := render(t, layout{1, 4}, source, m)
	if first, rest := out.results["audio-0-first"].Facts, out.results["audio-0-0000"].Facts; first["copied"] != true ||
		rest["copied"] != false {
		t.Errorf("facts %v and %v", first, rest)
	} else if note, _ := rest[pipeline.FactNote].(string); first[pipeline.FactNote] != nil || !strings.HasPrefix(note,
		"from 6 s on, the audio is not a copy of the source: part of it cannot be decoded: ") {
		t.Errorf("notes %v and %q", first[pipeline.FactNote], note)
	}
	_, f := packetsOf(t, out.joined(t, "audio-und")) // checks that all parts fit one header, without gaps
	if f.rate != 44100 {
		t.Errorf("%+v", f)
	}
	for _, file := range []string{out.joined(t, "audio-und"), filepath.Join(out.root, "audio.m4a")} {
		samples := samplesOf(t, file)
		if at := click(samples); math.Abs(at-5) > 0.005 || math.Abs(float64(len(samples))/48000-8) > 0.05 {
			t.Errorf("%s: click at %.3f of %.3f s", filepath.Base(file), at, float64(len(samples))/48000)
		}
	}
}

// TestDamagedMiddle: frames that cannot be decoded are found anywhere, also between the first and the last
// segment. The published audio can be decoded, is as long as the source, and has the other frames at their
// times.
func TestDamagedMiddle(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("64x64", "10", "20"),
		[]string{"-f", "lavfi", "-i", "aevalsrc=if(between(t\\,15\\,15.02)\\,0.9\\,0.01*sin(900*t)):s=48000:d=20"},
		x264, []string{"-c:a", "aac", "-ar", "48000", "-ac", "2"})...)
	spoil(t, source, 8, 10)
	out := render(t, standard, source, soundMP4(20))
	facts := out.results["audio-0"].Facts
	if reason, _ := facts["reason"].(string); facts["copied"] != false || reason == "" {
		t.Errorf("facts %v", facts)
	}
	joined := out.joined(t, "audio-und")
	for _, file := range []string{joined, filepath.Join(out.root, "audio.m4a")} {
		decode := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", file, "-f", "null", "-")
		if said, err := decode.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: %v %s", filepath.Base(file), err, said)
		}
		samples := samplesOf(t, file)
		if at := click(samples); math.Abs(at-15) > 0.005 || math.Abs(float64(len(samples))/48000-20) > 0.05 {
			t.Errorf("%s: click at %.3f of %.3f s", filepath.Base(file), at, float64(len(samples))/48000)
		}
	}
}

// spoil overwrites the audio of a clip from second from to second to.
func spoil(t *testing.T, path string, from, to float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampletable.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	frames, err := table.Frames(t.Context(), 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(seconds float64) int { return int(seconds * float64(frames.Rate) / frameSamples) }
	var all [][]byte
	err = frames.Each(t.Context(), at(from), min(at(to), frames.Count), func(frame []byte) error {
		all = append(all, bytes.Clone(frame))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range all {
		if n := bytes.Count(data, frame); n != 1 {
			t.Fatalf("%d frames are equal", n)
		}
		i := bytes.Index(data, frame)
		for j := range frame {
			data[i+j] = byte(0xa5 + 7*j)
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUnsoundCopies: a track that looks fit for copying by its facts, but is not, is encoded.
func TestUnsoundCopies(t *testing.T) {
	gap := "setts=ts=PTS+if(gt(N\\,200)\\,19200\\,0)"
	for _, c := range []struct {
		name, reason string
		args         []string
	}{
		{"a gap", "is off by 0.400 s", []string{"-bsf:a", gap}},
		{"surround", "channel configuration", []string{"-ac", "6"}},
		{"another rate", "", []string{"-ar", "32000"}}, // no fault: only the plan is limited to two rates
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
		if note, want := facts[pipeline.FactNote], "the audio is not a copy of the source: "+reason; note != want {
			t.Errorf("%s: note %q, want %q", c.name, note, want)
		}
		_, f := packetsOf(t, out.joined(t, "audio-und"))
		if f.rate != encodedForm.rate || !bytes.Equal(f.config, encodedForm.config) {
			t.Errorf("%s: form %+v", c.name, f)
		}
		if long := float64(len(samplesOf(t, filepath.Join(out.root, "audio.m4a")))) / 48000; math.Abs(long-8) > 0.6 {
			t.Errorf("%s: %.3f s", c.name, long)
		}
	}
}

// TestCopySwitchedOff: with the parameter copy set to false, nothing is copied.
func TestCopySwitchedOff(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", clickAt(48000, 2)...)
	p := pipeline.Pipeline{Name: "x", Steps: []pipeline.Step{{Worker: "audio", With: map[string]any{"copy": false}}}}
	store := workertest.NewStore(t)
	r := workertest.Video(t, registry(), store, source, soundMP4(8), p, nil)["audio-0"]
	if r.Facts["copied"] != false || r.Facts["reason"] != "copying is switched off" {
		t.Errorf("facts %v", r.Facts)
	}
}

// TestFaultOfTheDiskIsNoReason: if the disk cannot be read, the job is retried; the track is not encoded.
func TestFaultOfTheDiskIsNoReason(t *testing.T) {
	workertest.DiskFault(t, New(ffmpeg.Tools{}), Params{}, soundMP4(8))
}
