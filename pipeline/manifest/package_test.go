package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// indexed returns the outputs of a job with a matching index.
func indexed(job string, outputs []pipeline.Output) Made {
	m := Made{Outputs: slices.Clone(outputs)}
	for i, o := range m.Outputs {
		dir, _, _ := strings.Cut(o.Path, "/")
		m.Outputs[i].Key = job + "/" + o.Path
		if o.Segments == nil {
			continue
		}
		t := Track{Codecs: o.Codecs, Header: o.Segments.Header, Timescale: 25000, InitSize: 9, First: o.Segments.First}
		if o.Kind == pipeline.KindRendition {
			t.FrameRateNum, t.FrameRateDen = 25, 1
		}
		for _, d := range o.Segments.Durations {
			s := Segment{Duration: d, Size: o.Size / int64(o.Segments.Count)}
			s.Keys = []Key{{Size: 9, Duration: d}}
			t.Segments = append(t.Segments, s)
		}
		m.Runs = append(m.Runs, Run{Rendition: dir, Track: t})
	}
	return m
}

func TestPackage(t *testing.T) {
	texts, err := Package([]Made{
		indexed("sound", voice("audio-eng", "eng")),
		indexed("b", chunk("360p", 360, 1, 1, true)), indexed("a", chunk("360p", 360, 0, 1, false)),
		indexed("c", chunk("720p", 720, 0, 2, true)),
	}, []string{"360p", "720p", "audio-eng"})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, x := range texts {
		paths = append(paths, x.Output.Path)
	}
	want := []string{
		"720p/index.m3u8", "360p/index.m3u8", "audio-eng/index.m3u8", "720p/iframes.m3u8", "360p/iframes.m3u8",
		"manifest.mpd", "master.m3u8",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("texts %v, want %v", paths, want)
	}
	for i, lines := range map[int][]string{
		1: {"seg_00000.m4s", "seg_00001.m4s", "#EXT-X-ENDLIST"}, 5: {`frameRate="25"`, `lang="en"`},
		6: {"720p/index.m3u8", "360p/index.m3u8", `URI="audio-eng/index.m3u8"`},
	} {
		for _, line := range lines {
			if !strings.Contains(string(texts[i].Data), line) {
				t.Errorf("%s lacks %s:\n%s", paths[i], line, texts[i].Data)
			}
		}
	}
}

// TestPackageOfTwoMakers: when two steps made one rendition, it is listed once and complete, however each
// step divided it.
func TestPackageOfTwoMakers(t *testing.T) {
	copied := func(o *pipeline.Output) { o.Segments.Header = "copied" }
	for name, others := range map[string][]Made{
		"alike": {indexed("x", chunk("720p", 720, 0, 1, false)), indexed("y", chunk("720p", 720, 1, 3, true))},
		"divided otherwise": {indexed("x", spoiled(chunk("720p", 720, 0, 3, false), copied)),
			indexed("y", spoiled(chunk("720p", 720, 3, 1, true), copied))},
		"not whole": {indexed("x", spoiled(chunk("720p", 720, 0, 3, false), copied))},
	} {
		for _, first := range []bool{true, false} {
			made := []Made{indexed("a", chunk("720p", 720, 0, 1, false)), indexed("b", chunk("720p", 720, 1, 3, true))}
			if made = append(made, others...); first {
				made = append(others[:len(others):len(others)], made[:2]...)
			}
			texts, err := Package(made, nil)
			if err != nil || strings.Count(string(texts[0].Data), "#EXTINF:6.0") != 4 {
				t.Errorf("%s, before the others: %v: %v\n%s", name, first, err, fmt.Sprint(texts))
			}
		}
	}
}

func TestPackageFaults(t *testing.T) {
	whole := indexed("a", chunk("720p", 720, 0, 2, true))
	film := []string{"360p", "720p", "audio-eng"}
	// three is what three jobs made of two rungs, of which one job lacks 360p.
	three := func(lacks int) []Made {
		var made []Made
		for i := range 3 {
			outputs := chunk("720p", 720, i, 1, i == 2)
			if i != lacks {
				outputs = append(outputs, chunk("360p", 360, i, 1, i == 2)...)
			}
			made = append(made, indexed(fmt.Sprint(i), outputs))
		}
		return made
	}
	for name, c := range map[string]struct {
		made    []Made
		expects []string
		want    string
	}{
		"nothing":           {nil, nil, "no step of the pipeline"},
		"audio only":        {[]Made{indexed("s", voice("audio-eng", "eng"))}, nil, "no step of the pipeline"},
		"no job made it":    {[]Made{whole, indexed("s", voice("audio-eng", "eng"))}, film, "missing renditions: 360p;"},
		"no job made them":  {[]Made{whole}, film, "missing renditions: 360p, audio-eng;"},
		"nothing was made":  {nil, film, "missing renditions: 360p, 720p, audio-eng;"},
		"not in its first":  {three(0), film, "360p: its first segment or init section is missing"},
		"not in its second": {three(1), film, "360p: its segments end after number 0"},
		"not in its last":   {three(2), film, "360p: its segments end after number 1"},
		"no first segment": {[]Made{whole, indexed("b", chunk("360p", 360, 1, 2, true))}, nil,
			"360p: its first segment or init section is missing"},
		"no init section": {[]Made{whole, {Outputs: voice("audio-eng", "eng")[:1]}}, nil,
			"audio-eng: its first segment or init section is missing"},
		"no end":          {[]Made{whole, indexed("b", chunk("360p", 360, 0, 2, false))}, nil, "end after number 1"},
		"no index":        {[]Made{{Outputs: whole.Outputs}}, nil, "from number 0 on, 2 segments"},
		"index of others": {[]Made{{Outputs: whole.Outputs, Runs: indexed("b", chunk("720p", 720, 0, 3, true)).Runs}}, nil, "has 3 of"},
	} {
		_, err := Package(c.made, c.expects)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
