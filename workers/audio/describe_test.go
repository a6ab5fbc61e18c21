package audio

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// TestDescribe: jobs read the seconds of their segments, the last of a track to the end of the video.
func TestDescribe(t *testing.T) {
	off := false
	for _, c := range []struct {
		name   string
		media  pipeline.Media
		params Params
		want   string
	}{
		{"short", soundMP4(20), Params{Copy: &off}, "0 encode 0-20"},
		{"a copy of a minute", soundMP4(60), Params{}, "0 copy 0-60, 0-file file 0-0"},
		{"a copy of 10 minutes", soundMP4(599.5), Params{}, "0-first copy 0-60, 0-0000 copy 60-240, " +
			"0-0001 copy 240-480, 0-0002 copy 480-599.5, 0-file file 0-0"},
		{"copying switched off", soundMP4(31), Params{Copy: &off},
			"0-first encode 0-6, 0-0000 encode 6-31, 0-file file 0-0"},
	} {
		w := New(ffmpeg.Tools{})
		jobs, err := w.Plan(c.params, c.media)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, j := range jobs {
			d, err := w.Describe(j, c.media)
			if err != nil || d.Pixels != 0 || len(d.Renditions) != 0 {
				t.Errorf("%s, job %s: %+v, %v", c.name, j.Name, d, err)
			}
			got = append(got, fmt.Sprintf("%s %s %g-%g", j.Name, d.Kind, d.Start, d.End))
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	_, err := New(ffmpeg.Tools{}).Describe(pipeline.Job{Part: json.RawMessage(`"poster"`)}, soundMP4(20))
	if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeParameters {
		t.Errorf("the part of another worker: %v", err)
	}
}
