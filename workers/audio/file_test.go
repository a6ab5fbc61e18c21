package audio

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// TestRuns: audio.m4a is only made of complete renditions, and of the step's own.
func TestRuns(t *testing.T) {
	head := pipeline.Output{Name: "audio-eng", Kind: pipeline.KindInit, Path: "audio-eng/init.mp4", Key: "k"}
	segments := func(first, count int, last bool) pipeline.Output {
		return pipeline.Output{
			Name: "audio-eng", Kind: pipeline.KindAudioRendition, Path: "audio-eng/seg_%05d.m4s",
			Segments: &pipeline.Segments{First: first, Count: count, Last: last, Header: "h"},
		}
	}
	other := segments(1, 1, true)
	other.Segments.Header = "x"
	foreign := segments(1, 3, false)
	foreign.Name, foreign.Path = "audio-ger", "audio-ger/seg_%05d.m4s"
	again, againHead := segments(0, 9, true), head
	again.Path, againHead.Path, againHead.Key = "again/"+again.Path, "again/"+head.Path, "other"
	for _, c := range []struct {
		name    string
		outputs []pipeline.Output
		whole   bool
	}{
		{"whole", []pipeline.Output{segments(1, 3, true), head, foreign, segments(0, 1, false)}, true},
		{"another step's, too", []pipeline.Output{again, againHead, segments(1, 3, true), head, segments(0, 1, false)}, true},
		{"another step's alone", []pipeline.Output{again, againHead}, false},
		{"no header", []pipeline.Output{segments(0, 1, true)}, false},
		{"a hole", []pipeline.Output{head, segments(0, 1, false), segments(2, 1, true)}, false},
		{"twice", []pipeline.Output{head, segments(0, 2, false), segments(1, 1, true)}, false},
		{"no end", []pipeline.Output{head, segments(0, 1, false), segments(1, 1, false)}, false},
		{"after the end", []pipeline.Output{head, segments(0, 1, true), segments(1, 1, true)}, false},
		{"another header", []pipeline.Output{head, segments(0, 1, false), other}, false},
		{"nothing", nil, false},
	} {
		results := map[string]pipeline.Result{}
		for i, o := range c.outputs {
			results[string(rune('a'+i))] = pipeline.Result{Outputs: []pipeline.Output{o}}
		}
		r := run{job: workers.Attempt{Results: results}, part: part{Name: "audio-eng"}}
		found, runs, err := r.runs()
		if (err == nil) != c.whole || c.whole && (found.Key != head.Key || len(runs) != 2 || runs[0].Segments.First != 0) {
			t.Errorf("%s: %d runs, %v", c.name, len(runs), err)
		}
	}
}
