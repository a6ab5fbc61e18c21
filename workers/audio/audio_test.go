package audio

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

func TestTracks(t *testing.T) {
	m := pipeline.Media{Audio: []pipeline.AudioTrack{
		{Stream: 1, Language: "ger"}, {Stream: 2, Language: "eng", Default: true}, {Stream: 3, Language: "eng"},
		{Stream: 4, Language: "../x"}, {Stream: 5, Language: ""},
	}}
	var got []string
	for _, p := range tracks(m, true) {
		got = append(got, p.Name)
		if p.main != (p.Stream == 2) {
			t.Errorf("stream %d: main %v", p.Stream, p.main)
		}
	}
	if want := "audio-eng audio-ger audio-eng-2 audio-und audio-und-2"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if m.Audio[0].Stream != 1 {
		t.Error("the media were changed")
	}
}

func TestPlanOfManyTracksAndOfNone(t *testing.T) {
	var m pipeline.Media
	w := New(ffmpeg.Tools{})
	if jobs, err := w.Plan(Params{}, m); err != nil || len(jobs) != 0 {
		t.Errorf("silent: %d jobs, %v", len(jobs), err)
	}
	m.Audio = make([]pipeline.AudioTrack, 16)
	if jobs, err := w.Plan(Params{}, m); err != nil || len(jobs) != maxTracks {
		t.Errorf("16 tracks: %d jobs, %v", len(jobs), err)
	}
}

// soundMP4 describes a track that can be copied.
func soundMP4(seconds float64) pipeline.Media {
	return pipeline.Media{Container: "mov", Duration: seconds, Audio: []pipeline.AudioTrack{{
		Stream: 1, ID: 2, Codec: "aac", Profile: "LC", Channels: 2, SampleRate: 48000, Duration: seconds,
		Edits: pipeline.EditsSimple, Bitrate: 128000, Frames: int(seconds * 48000 / frameSamples),
	}}}
}

func TestPlan(t *testing.T) {
	track := func(container, codec string, seconds float64) pipeline.Media {
		return pipeline.Media{Container: container, Duration: seconds, Audio: []pipeline.AudioTrack{{
			Stream: 1, Codec: codec, Channels: 2, SampleRate: 48000, Duration: seconds,
		}}}
	}
	damaged := track("mov", "mp3", 600)
	damaged.Damaged = true
	unknown := track("matroska", "opus", 600)
	unknown.Audio[0].Duration = 0
	longer := track("mov", "mp3", 20)
	longer.Audio[0].Duration = 40
	two := soundMP4(60)
	two.Audio = append(two.Audio, pipeline.AudioTrack{Stream: 2, Codec: "ac3", Channels: 6, Duration: 60})
	off := false
	for _, c := range []struct {
		name   string
		media  pipeline.Media
		params Params
		want   string // jobs as in describe
	}{
		{"short", track("mov", "mp3", 30), Params{}, "0[0,0)!"},
		{"a copy of a minute", soundMP4(60), Params{}, "0! 0-file"},
		{"a copy of 5 minutes", soundMP4(300), Params{}, "0-first[0,10)! 0-0000[10,0) 0-file"},
		{"a copy of 10 minutes", soundMP4(600), Params{},
			"0-first[0,10)! 0-0000[10,40) 0-0001[40,80) 0-0002[80,0) 0-file"},
		{"copying switched off", soundMP4(31), Params{Copy: &off}, "0-first[0,1)! 0-0000[1,0) 0-file"},
		{"5 minutes", track("mov", "mp3", 300), Params{}, "0-first[0,1)! 0-0000[1,0) 0-file"},
		{"6 minutes", track("mov", "mp3", 360), Params{}, "0-first[0,1)! 0-0000[1,40) 0-0001[40,0) 0-file"},
		{"10 minutes", track("matroska", "opus", 600), Params{},
			"0-first[0,1)! 0-0000[1,40) 0-0001[40,80) 0-0002[80,0) 0-file"},
		{"no index", track("mpegts", "ac3", 600), Params{}, "0-first[0,1)! 0-0000[1,0) 0-file"},
		{"damaged", damaged, Params{}, "0-first[0,1)! 0-0000[1,0) 0-file"},
		{"of unknown length", unknown, Params{}, "0-first[0,1)! 0-0000[1,0) 0-file"},
		{"longer than the picture", longer, Params{}, "0-first[0,1)! 0-0000[1,0) 0-file"},
		{"two tracks", two, Params{}, "0! 0-file 1-first[0,1)! 1-0000[1,0)"},
	} {
		jobs, err := New(ffmpeg.Tools{}).Plan(c.params, c.media)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(t, jobs); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// describe returns a plan in one line: the name of each job, its segments if it does not make the whole
// track, and an exclamation mark for an opener, which must have high priority.
func describe(t *testing.T, jobs []pipeline.Job) string {
	t.Helper()
	var words, segments []string
	for _, j := range jobs {
		var p part
		if err := json.Unmarshal(j.Part, &p); err != nil {
			t.Fatal(err)
		}
		word := j.Name
		if p.Task == taskEncode || p.End+p.First > 0 && p.Task == taskCopy {
			span, _ := json.Marshal([]int{p.First, p.End}) // numbers always encode
			word += strings.Replace(string(span), "]", ")", 1)
		}
		if j.Opener {
			word += "!"
		}
		if j.Opener != (j.Priority == pipeline.High) || j.Weight < 1 || j.Timeout < 300 || j.Scratch <= 0 {
			t.Errorf("job %+v", j)
		}
		if p.Task == taskFile && !slices.Equal(j.After, segments) {
			t.Errorf("job %s is after %v, want %v", j.Name, j.After, segments)
		}
		segments = append(segments, j.Name)
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestAnHourHasChunksOfFourMinutes(t *testing.T) {
	m := pipeline.Media{Container: "matroska", Duration: 3600, Audio: []pipeline.AudioTrack{{Codec: "opus", Duration: 3600}}}
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(jobs); n != 17 || jobs[0].Name != "0-first" || jobs[15].Name != "0-0014" || jobs[16].Name != "0-file" {
		t.Errorf("%d jobs: %s", n, describe(t, jobs))
	}
}

// TestWhyEncoded: the plan says why audio is encoded, and only once if all tracks have the same reason.
func TestWhyEncoded(t *testing.T) {
	const audio = "the audio is not a copy of the source: "
	off := false
	track := func(change func(a *pipeline.AudioTrack)) func(*pipeline.Media) {
		return func(m *pipeline.Media) { change(&m.Audio[0]) }
	}
	second := func(m *pipeline.Media) *pipeline.AudioTrack {
		m.Audio = append(m.Audio, m.Audio[0])
		m.Audio[1].Language = "eng"
		return &m.Audio[1]
	}
	for _, c := range []struct {
		name   string
		change func(*pipeline.Media)
		params Params
		want   []string
	}{
		{"copied", func(*pipeline.Media) {}, Params{}, nil},
		{"silent", func(m *pipeline.Media) { m.Audio = nil }, Params{}, nil},
		{"MP3", track(func(a *pipeline.AudioTrack) { a.Codec = "mp3" }), Params{}, []string{audio + "it is not AAC but mp3"}},
		{"HE-AAC", track(func(a *pipeline.AudioTrack) { a.Profile = "HE-AAC" }), Params{}, []string{audio + "its AAC profile is not LC"}},
		{"surround", track(func(a *pipeline.AudioTrack) { a.Channels = 6 }), Params{}, []string{audio + "it has 6 channels"}},
		{"22 kHz", track(func(a *pipeline.AudioTrack) { a.SampleRate = 22050 }), Params{}, []string{audio + "it has 22050 samples/s"}},
		{"damaged", func(m *pipeline.Media) { m.Damaged = true }, Params{}, []string{audio + "parts of the file cannot be read"}},
		{"Matroska", func(m *pipeline.Media) { m.Container = "matroska" }, Params{}, []string{audio + "the container is not MP4"}},
		{"Opus in Matroska", func(m *pipeline.Media) { m.Container, m.Audio[0].Codec = "matroska", "opus" }, Params{},
			[]string{audio + "it is not AAC but opus"}},
		{"fragments", func(m *pipeline.Media) {
			m.Video.Groups = &pipeline.Groups{Remuxed: true}
			m.Audio[0].Edits, m.Audio[0].Frames = pipeline.EditsComplex, 0
		}, Params{}, []string{audio + "the MP4 is in fragments"}},
		{"fragments of HEVC", track(func(a *pipeline.AudioTrack) { a.Edits, a.Frames = "", 0 }), Params{},
			[]string{audio + "the MP4 is in fragments, or its index does not show contiguous frames"}},
		{"fragments of HEVC with an edit list", track(func(a *pipeline.AudioTrack) { a.Edits, a.Frames = pipeline.EditsComplex, 0 }), Params{},
			[]string{audio + "an edit list hides or repeats parts of it, or the MP4 is in fragments"}},
		{"switched off", func(*pipeline.Media) {}, Params{Copy: &off}, []string{audio + "copying is switched off"}},
		{"two alike", func(m *pipeline.Media) { m.Container = "mpegts"; second(m) }, Params{}, []string{audio + "the container is not MP4"}},
		{"the second", func(m *pipeline.Media) { second(m).Codec = "ac3" }, Params{},
			[]string{"the rendition audio-eng is not a copy of the source: it is not AAC but ac3"}},
		{"two, each for its own reason", func(m *pipeline.Media) { second(m).Codec, m.Audio[0].Channels = "ac3", 6 }, Params{}, []string{
			"the rendition audio-und is not a copy of the source: it has 6 channels",
			"the rendition audio-eng is not a copy of the source: it is not AAC but ac3",
		}},
	} {
		m := soundMP4(600)
		c.change(&m)
		jobs, err := New(ffmpeg.Tools{}).Plan(c.params, m)
		if err != nil {
			t.Fatal(err)
		}
		var notes []string
		for _, j := range jobs {
			if j.Note != "" {
				notes = append(notes, j.Note)
			}
		}
		if !slices.Equal(notes, c.want) {
			t.Errorf("%s: notes %q, want %q", c.name, notes, c.want)
		}
	}
}

func TestCopyable(t *testing.T) {
	if reason := copyable(soundMP4(60), soundMP4(60).Audio[0]); reason != "" {
		t.Fatalf("a sound track is not copied: %s", reason)
	}
	for _, c := range []struct {
		name   string
		change func(*pipeline.Media, *pipeline.AudioTrack)
		copied bool
	}{
		{"damaged", func(m *pipeline.Media, _ *pipeline.AudioTrack) { m.Damaged = true }, false},
		{"another container", func(m *pipeline.Media, _ *pipeline.AudioTrack) { m.Container = "matroska" }, false},
		{"another codec", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Codec = "mp3" }, false},
		{"HE-AAC", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Profile = "HE-AAC" }, false},
		{"unknown profile", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Profile = "" }, false},
		{"mono", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Channels = 1 }, true},
		{"surround", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Channels = 6 }, false},
		{"44.1 kHz", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.SampleRate = 44100 }, true},
		{"22 kHz", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.SampleRate = 22050 }, false},
		{"no edits", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Edits = "" }, true},
		{"complex edits", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Edits = pipeline.EditsComplex }, false},
		{"unknown bit rate", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Bitrate = 0 }, true},
		{"high bit rate", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Bitrate = 320001 }, false},
		{"unknown length", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Duration = 0 }, false},
		{"a frame late", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Start = 0.021333 }, true},
		{"later", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Start = 0.05 }, false},
		{"the picture is late", func(m *pipeline.Media, _ *pipeline.AudioTrack) { m.Video.Start = 0.4 }, true},
		{"all is late", func(m *pipeline.Media, a *pipeline.AudioTrack) { m.Video.Start, a.Start = 10, 10 }, true},
		{"ends early", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Duration = 59.4 }, false},
		{"ends late", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Duration = 60.6 }, false},
		{"frames not known", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Frames = 0 }, false},
		{"ends about there", func(_ *pipeline.Media, a *pipeline.AudioTrack) { a.Duration = 60.4 }, true},
	} {
		m := soundMP4(60)
		c.change(&m, &m.Audio[0])
		if reason := copyable(m, m.Audio[0]); (reason == "") != c.copied {
			t.Errorf("%s: copied %v, reason %q", c.name, reason == "", reason)
		}
	}
}
