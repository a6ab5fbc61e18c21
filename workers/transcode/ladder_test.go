package transcode

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

func track(w, h, num, den int) pipeline.VideoTrack {
	return pipeline.VideoTrack{Width: w, Height: h, FrameRateNum: num, FrameRateDen: den}
}

func TestLadder(t *testing.T) {
	for _, c := range []struct {
		name    string
		track   pipeline.VideoTrack
		quality string
		wanted  []int
		want    string
	}{
		{"1080p", track(1920, 1080, 30, 1), "", nil, "1080p 1920x1080@30 720p 1280x720@30 540p 960x540@30 360p 640x360@30"},
		{"plus has 432p", track(1280, 720, 25, 1), "plus", nil, "720p 1280x720@25 540p 960x540@25 432p 768x432@25 360p 640x360@25"},
		{"portrait", track(1080, 1920, 30, 1), "", nil, "1080p 1080x1920@30 720p 720x1280@30 540p 540x960@30 360p 360x640@30"},
		{"4K has no rung above 1080p", track(3840, 2160, 24, 1), "", nil, "1080p 1920x1080@24 720p 1280x720@24 540p 960x540@24 360p 640x360@24"},
		{"4K when asked", track(3840, 2160, 24, 1), "", []int{360, 2160}, "2160p 3840x2160@24 360p 640x360@24"},
		{"a little below 1080p", track(1920, 1072, 24, 1), "", []int{1080}, "1080p 1920x1072@24"},
		{"cinema", track(1920, 800, 24, 1), "", nil, "720p 1728x720@24 540p 1296x540@24 360p 864x360@24"},
		{"below 360", track(320, 240, 25, 1), "", nil, "240p 320x240@25"},
		{"below 240", track(176, 144, 10, 1), "", nil, "144p 176x144@10"},
		{"1x1", track(1, 1, 1, 1), "", nil, "1p 2x2@1"},
		{"odd", track(559, 442, 30000, 1001), "", nil, "360p 456x360@29.97"},
		{"60 fps", track(1280, 720, 60, 1), "", nil, "720p 1280x720@60 540p 960x540@60 360p 640x360@30"},
		{"50 fps", track(1280, 720, 50, 1), "", nil, "720p 1280x720@50 540p 960x540@50 360p 640x360@25"},
		{"120 fps", track(1280, 720, 120, 1), "", nil, "720p 1280x720@60 540p 960x540@60 360p 640x360@30"},
		{"rungs above the source", track(640, 360, 25, 1), "", []int{720, 1080}, "360p 640x360@25"},
	} {
		var got []string
		for _, r := range ladder(c.track, c.quality, c.wanted) {
			got = append(got, fmt.Sprintf("%s %s@%.4g", r.Name, r.Size, r.Rate.Float()))
		}
		if joined := strings.Join(got, " "); joined != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, joined, c.want)
		}
	}
}

func TestPlan(t *testing.T) {
	m := pipeline.Media{Duration: 60, Video: track(640, 360, 60000, 1001)}
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(jobs, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const rungs = `"rungs": [
    {
     "name": "360p",
     "size": {
      "width": 640,
      "height": 360
     },
     "rate": {
      "num": 30000,
      "den": 1001
     },
     "maxrate": 900
    }
   ]`
	want := `[
 {
  "name": "0000",
  "step": "",
  "worker": "",
  "part": {
   "first_frame": 0,
   "first_segment": 0,
   ` + rungs + `
  },
  "weight": 16,
  "timeout": 4200,
  "scratch": 6750000
 },
 {
  "name": "package",
  "step": "",
  "worker": "",
  "part": {
   "package": true,
   "first_frame": 0,
   "first_segment": 0,
   ` + rungs + `
  },
  "after": [
   "0000",
   "audio"
  ],
  "priority": "high",
  "weight": 1
 }
]`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, edge := range []int{0, 15, 2161, -720} {
		if _, err := New(ffmpeg.Tools{}).Plan(Params{Ladder: []int{edge}}, pipeline.Media{}); err == nil {
			t.Errorf("a ladder of %d passed", edge)
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for code, want := range map[string]string{
		"eng": "en English", "ger": "de German", "deu": "de German", "und": " Audio", "": " Audio", "xx!": " Audio",
		"mul": "mul Multiple languages",
	} {
		tag, name := languageOf(code)
		if got := tag + " " + name; got != want {
			t.Errorf("%q is %q, want %q", code, got, want)
		}
	}
}
