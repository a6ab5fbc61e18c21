package audio

import (
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

func TestParts(t *testing.T) {
	tracks := []pipeline.AudioTrack{
		{Stream: 1, Language: "ger"}, {Stream: 2, Language: "eng", Default: true}, {Stream: 3, Language: "eng"},
		{Stream: 4, Language: "../x"}, {Stream: 5, Language: ""},
	}
	var got []string
	for _, p := range parts(tracks) {
		got = append(got, p.Name)
		if p.Main != (p.Stream == 2) {
			t.Errorf("stream %d: main %v", p.Stream, p.Main)
		}
	}
	if want := "audio-eng audio-ger audio-eng-2 audio-und audio-und-2"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if tracks[0].Stream != 1 {
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
