package thumbnail

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestDescribe: the kind of a storyboard depends on the distance of key frames, like the choice of decoded
// frames.
func TestDescribe(t *testing.T) {
	groups := func(longest float64) *pipeline.Groups { return &pipeline.Groups{Longest: longest} }
	for _, c := range []struct {
		name    string
		seconds float64
		groups  *pipeline.Groups
		want    string
	}{
		{"short", 60, groups(10), "poster storyboard"},
		{"short, of dense key frames", 60, groups(1), "poster keyframes"},
		{"almost long", 499, groups(10), "poster storyboard"},
		{"long", 500, groups(10), "poster keyframes"},
		{"long, of few key frames", 500, groups(12), "poster storyboard"},
		{"long, of unknown key frames", 500, nil, "poster keyframes"},
	} {
		w, m := New(ffmpeg.Tools{}), workertest.Media(320, 180, 25, c.seconds)
		m.Video.Groups = c.groups
		jobs, err := w.Plan(Params{}, m)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, j := range jobs {
			d, err := w.Describe(j, m)
			if err != nil || d.Start != 0 || d.End != c.seconds {
				t.Errorf("%s, job %s: %+v, %v", c.name, j.Name, d, err)
			}
			kinds = append(kinds, d.Kind)
		}
		if got := strings.Join(kinds, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, part := range []string{"", "{}", `"portrait"`} {
		_, err := New(ffmpeg.Tools{}).Describe(pipeline.Job{Part: json.RawMessage(part)}, workertest.Media(320, 180, 25, 9))
		if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeParameters {
			t.Errorf("part %s: %v", part, err)
		}
	}
}
