package transcode

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// described returns what the worker says of each job of its plan.
func described(t *testing.T, p Params, m pipeline.Media) (jobs []pipeline.Job, all []workers.Description) {
	t.Helper()
	w := New(ffmpeg.Tools{})
	jobs, err := w.Plan(p, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		d, err := w.Describe(j, m)
		if err != nil {
			t.Fatalf("%s: %v", j.Name, err)
		}
		all = append(all, d)
	}
	return jobs, all
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		name   string
		params Params
		media  pipeline.Media
		want   []string // job, kind, seconds, megapixels, renditions
	}{
		{"two rungs", Params{Ladder: []int{90, 180}, MP4: []string{"90p"}}, workertest.Media(320, 180, 10, 14), []string{
			"first chunk 0-6 0.864 90p", "0000 chunk 0-14 9.216 180p 90p", "mp4-90p file 0-0 0",
		}},
		{"a rung of half the rate", Params{Ladder: []int{360, 540}}, workertest.Media(960, 540, 60, 14.5), []string{
			"first chunk 0-6 41.472 360p", "0000 chunk 0-14.5 509.76 540p 360p",
		}},
		{"a copied rung", Params{Ladder: []int{720, 360}}, standardMedia(), []string{
			"copy copy 0-60 0 720p", "0000 chunk 0-60 331.776 360p",
		}},
	} {
		var got []string
		jobs, all := described(t, c.params, c.media)
		for i, d := range all {
			line := fmt.Sprintf("%s %s %.6g-%.6g %.6g", jobs[i].Name, d.Kind, d.Start, d.End, d.Pixels/1e6)
			for _, r := range d.Renditions {
				line += " " + r.Name
			}
			got = append(got, line)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestDescribedOnce: the chunks of a video encode every pixel of every rendition once, in any division.
func TestDescribedOnce(t *testing.T) {
	for _, seconds := range []float64{4, 20, 61.5, 300, 7200} {
		m := workertest.Media(1280, 720, 24, seconds)
		want, pixels, length := 0.0, 0.0, 0.0
		jobs, all := described(t, Params{}, m)
		for i, d := range all {
			pixels += d.Pixels
			if d.Bytes <= 0 || d.Bytes > jobs[i].Scratch {
				t.Errorf("%g s: %s stores %d bytes", seconds, jobs[i].Name, d.Bytes)
			}
			if jobs[i].Name != firstJob {
				length += d.End - d.Start
			}
		}
		for _, r := range all[len(all)-1].Renditions {
			want += float64(r.Width*r.Height) * seconds * float64(r.FrameRateNum) / float64(r.FrameRateDen)
		}
		if math.Abs(pixels-want) > 1e-6*want || math.Abs(length-seconds) > 1e-6 {
			t.Errorf("%g s: %g of %g pixels, %g s", seconds, pixels, want, length)
		}
	}
}

// TestDescribedRendition: numbers of a rendition are those of its rung, its rate in bits/s.
func TestDescribedRendition(t *testing.T) {
	m := workertest.Media(1280, 720, 30000, 20)
	m.Video.FrameRateDen = 1001
	_, all := described(t, Params{Ladder: []int{720}}, m)
	want := workers.Rendition{
		Name: "720p", Width: 1280, Height: 720, FrameRateNum: 30000, FrameRateDen: 1001, Maxrate: 4500_000,
	}
	if got := all[0].Renditions; len(got) != 1 || got[0] != want {
		t.Errorf("renditions %+v, want %+v", got, want)
	}
}

func TestDescribeRefuses(t *testing.T) {
	w := New(ffmpeg.Tools{})
	for part, want := range map[string]string{
		"":   "JSON",
		"{}": "no rungs",
		`{"kind":"chunk","rungs":[{"name":"720p"}]}`:                           "no frame rate",
		`{"kind":"dance","rungs":[{"name":"720p"}],"rate":{"num":24,"den":1}}`: "dance",
	} {
		_, err := w.Describe(pipeline.Job{Part: json.RawMessage(part)}, pipeline.Media{Duration: 9})
		p := pipeline.ProblemOf(err)
		if p == nil || p.Code != pipeline.CodeParameters || !strings.Contains(p.Detail, want) {
			t.Errorf("part %s: %v, want the detail to name %q", part, err, want)
		}
	}
}
