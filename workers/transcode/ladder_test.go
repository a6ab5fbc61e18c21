package transcode

import (
	"encoding/json"
	"fmt"
	"slices"
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
		{"1080p", track(1920, 1080, 30, 1), "", nil, "1080p 1920x1080@30 720p 1280x720@30 540p 960x540@30 480p 854x480@30 360p 640x360@30"},
		{"plus has 432p", track(1280, 720, 25, 1), "plus", nil, "720p 1280x720@25 540p 960x540@25 480p 854x480@25 432p 768x432@25 360p 640x360@25"},
		{"portrait", track(1080, 1920, 30, 1), "", nil, "1080p 1080x1920@30 720p 720x1280@30 540p 540x960@30 480p 480x854@30 360p 360x640@30"},
		{"4K has no rung above 1080p", track(3840, 2160, 24, 1), "", nil, "1080p 1920x1080@24 720p 1280x720@24 540p 960x540@24 480p 854x480@24 360p 640x360@24"},
		{"a little above 1080p", track(1920, 1088, 24, 1), "plus", nil, "1080p 1906x1080@24 720p 1270x720@24 540p 952x540@24 480p 848x480@24 432p 762x432@24 360p 636x360@24"},
		{"4K when asked", track(3840, 2160, 24, 1), "", []int{360, 2160}, "2160p 3840x2160@24 360p 640x360@24"},
		{"a little below 1080p", track(1920, 1072, 24, 1), "", nil, "1080p 1920x1072@24 720p 1290x720@24 540p 968x540@24 480p 860x480@24 360p 644x360@24"},
		{"a little below, asked", track(1920, 1072, 24, 1), "", []int{1080}, "1080p 1920x1072@24"},
		{"cinema", track(1920, 800, 24, 1), "", nil, "800p 1920x800@24 540p 1296x540@24 480p 1152x480@24 360p 864x360@24"},
		{"ultra-wide", track(1920, 880, 24, 1), "", nil, "880p 1920x880@24 720p 1570x720@24 540p 1178x540@24 480p 1048x480@24 360p 786x360@24"},
		{"4:3", track(640, 480, 30, 1), "", nil, "480p 640x480@30 360p 480x360@30"},
		{"4:3, plus", track(640, 480, 30, 1), "plus", nil, "480p 640x480@30 360p 480x360@30"},
		{"480p", track(854, 480, 24, 1), "", nil, "480p 854x480@24 360p 640x360@24"},
		{"SVGA", track(800, 600, 30, 1), "", nil, "600p 800x600@30 480p 640x480@30 360p 480x360@30"},
		{"portrait of its own", track(576, 1024, 30, 1), "", nil, "576p 576x1024@30 480p 480x854@30 360p 360x640@30"},
		{"a laptop's screen", track(1440, 900, 30, 1), "", nil, "900p 1440x900@30 720p 1152x720@30 540p 864x540@30 480p 768x480@30 360p 576x360@30"},
		{"a little above a step", track(1308, 736, 30, 1), "", nil, "720p 1308x736@30 540p 960x540@30 480p 854x480@30 360p 640x360@30"},
		{"between 240 and 360", track(400, 300, 25, 1), "", nil, "300p 400x300@25 240p 320x240@25"},
		{"below 360", track(320, 240, 25, 1), "", nil, "240p 320x240@25"},
		{"below 240", track(176, 144, 10, 1), "", nil, "144p 176x144@10"},
		{"1x1", track(1, 1, 1, 1), "", nil, "2p 2x2@1"},
		{"odd", track(559, 442, 30000, 1001), "", nil, "442p 558x442@29.97 360p 456x360@29.97"},
		{"odd height", track(720, 405, 25, 1), "", nil, "404p 720x404@25 360p 640x360@25"},
		{"60 fps", track(1280, 720, 60, 1), "", nil, "720p 1280x720@60 540p 960x540@60 480p 854x480@60 360p 640x360@30"},
		{"50 fps", track(1280, 720, 50, 1), "", nil, "720p 1280x720@50 540p 960x540@50 480p 854x480@50 360p 640x360@25"},
		{"120 fps", track(1280, 720, 120, 1), "", nil, "720p 1280x720@60 540p 960x540@60 480p 854x480@60 360p 640x360@30"},
		{"rungs above the source", track(640, 360, 25, 1), "", []int{720, 1080}, "360p 640x360@25"},
		{"asked for alone", track(640, 480, 25, 1), "", []int{360}, "360p 480x360@25"},
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

// outline returns the plan as lines "name!priority rungs start-end after"; the exclamation mark is for
// openers.
func outline(t *testing.T, p Params, m pipeline.Media) []string {
	t.Helper()
	jobs, err := New(ffmpeg.Tools{}).Plan(p, m)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, j := range jobs {
		var p part
		if err := json.Unmarshal(j.Part, &p); err != nil {
			t.Fatal(err)
		}
		line := j.Name
		if j.Opener {
			line += "!"
		}
		for _, r := range p.Rungs {
			line += " " + r.Name
			if r.Skip > 0 {
				line += fmt.Sprintf("+%d", r.Skip)
			}
		}
		if p.Kind == chunkKind || p.Kind == copyKind {
			line += fmt.Sprintf(" %d-%d", p.Start, p.End)
		}
		after := j.After
		for _, kind := range j.Needs {
			after = append(after, strings.TrimSuffix(string(kind), "_rendition"))
		}
		if len(after) > 0 {
			line += " after " + strings.Join(after, ",")
		}
		lines = append(lines, line)
		soon := strings.HasPrefix(j.Name, "copy") || j.Name == "first"
		if (j.Priority == pipeline.High) != soon {
			t.Errorf("%s has priority %q", j.Name, j.Priority)
		}
	}
	return lines
}

func TestPlan(t *testing.T) {
	film := func(seconds float64) pipeline.Media {
		return pipeline.Media{Container: "mov", Duration: seconds, Video: track(1280, 720, 24, 1)}
	}
	stream, damaged := film(60), film(60)
	stream.Container, damaged.Damaged = "mpegts", true
	late := film(60)
	late.Audio, late.Video.Start = []pipeline.AudioTrack{{Start: 1}}, 8
	three := Params{Ladder: []int{360, 540, 720}}
	ntsc := pipeline.Media{Container: "matroska", Duration: 60, Video: track(640, 360, 60000, 1001)}
	for _, c := range []struct {
		name   string
		params Params
		media  pipeline.Media
		want   []string
	}{
		{"short", three, film(8), []string{
			"0000! 720p 540p 360p 0-0",
		}},
		{"20 s", three, film(20), []string{
			"first! 360p 0-144", "0000 720p 540p 360p+144 0-288", "0001 720p 540p 360p 288-0",
		}},
		{"chunks of one segment", Params{Quality: "premium", Ladder: []int{720, 540, 432, 360}}, film(20), []string{
			"first! 360p 0-144", "0000 720p 540p 432p 0-144", "0001 720p 540p 432p 360p 144-288",
			"0002 720p 540p 432p 360p 288-0",
		}},
		{"of one rung", Params{Quality: "premium", Ladder: []int{720}}, film(20), []string{
			"first! 720p 0-144", "0001 720p 144-288", "0002 720p 288-0",
		}},
		{"the last chunk takes a short rest", Params{Ladder: []int{720}}, film(53), []string{
			"first! 720p 0-144", "0000 720p+144 0-432", "0001 720p 432-864", "0002 720p 864-0",
		}},
		{"a stream without an index", three, stream, []string{
			"first! 360p 0-144", "0000 720p 540p 360p+144 0-0",
		}},
		{"damaged", three, damaged, []string{
			"first! 360p 0-144", "0000 720p 540p 360p+144 0-0",
		}},
		{"late", three, late, []string{
			"first! 360p 0-144", "0000 720p 540p 360p+144 0-432", "0001 720p 540p 360p 432-864", "0002 720p 540p 360p 864-0",
		}},
		{"light", Params{}, ntsc, []string{
			"first! 360p 0-180", "0000 360p+180 0-0",
		}},
		{"copied", three, standardMedia(), []string{
			"copy! 720p 0-0", "0000 540p 360p 0-576", "0001 540p 360p 576-1152", "0002 540p 360p 1152-0",
		}},
		{"files", Params{Ladder: three.Ladder, MP4: []string{"highest", "360p", "240p"}}, film(8), []string{
			"0000! 720p 540p 360p 0-0", "mp4-720p 720p after 0000,audio", "mp4-360p 360p after 0000,audio",
		}},
	} {
		if got := outline(t, c.params, c.media); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}

// TestPlanOfLongVideo: chunks are whole segments without gaps, and the work of a chunk does not grow with the
// video.
func TestPlanOfLongVideo(t *testing.T) {
	m := pipeline.Media{Container: "mov", Duration: 7200, Video: track(1920, 1080, 30000, 1001)}
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{Quality: "plus"}, m)
	if err != nil {
		t.Fatal(err)
	}
	chunks := parts(t, jobs)[1:]
	next, segment := 0, segmentFrames(chunks[0].Rate)
	for i, p := range chunks {
		last := i == len(chunks)-1
		if p.Start != next || p.Start%segment != 0 || (p.End == 0) != last || !last && p.End%segment != 0 || p.Seek != (i > 0) {
			t.Fatalf("chunk %d: %+v", i, p)
		}
		next = p.End
	}
	if n := len(chunks); n != 1199 {
		t.Errorf("%d chunks", n)
	}
	for _, j := range jobs[1 : len(jobs)-2] {
		if j.Scratch > 30<<20 || j.Timeout > 1000 {
			t.Fatalf("%s wants %d bytes and %v s", j.Name, j.Scratch, j.Timeout)
		}
	}
}

// TestPlanBesidesACopy: encoded segments begin at the same times as those of the copied rung, in every chunk.
func TestPlanBesidesACopy(t *testing.T) {
	m := standardMedia()
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	var copied part
	if err := json.Unmarshal(jobs[0].Part, &copied); err != nil || copied.Kind != copyKind {
		t.Fatalf("%+v, %v", copied, err)
	}
	want := []int{0, 120, 240, 450, 576, 720, 864, 1008, 1152, 1296}
	if !slices.Equal(copied.Borders, want) || copied.Longest != 8.75 {
		t.Errorf("borders of the copy %v, want %v; segments up to %g s", copied.Borders, want, copied.Longest)
	}
	var encoded []int
	for _, p := range parts(t, jobs) {
		if p.Longest != 8.75 || p.First != len(encoded) || p.Borders[0] != p.Start || p.Start != want[p.First] {
			t.Errorf("chunk %+v", p)
		}
		encoded = append(encoded, p.Borders...)
	}
	if !slices.Equal(encoded, want) {
		t.Errorf("borders of the chunks %v, want %v", encoded, want)
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, edge := range []int{0, 15, 2161, -720} {
		if _, err := New(ffmpeg.Tools{}).Plan(Params{Ladder: []int{edge}}, pipeline.Media{}); err == nil {
			t.Errorf("a ladder of %d passed", edge)
		}
	}
	for _, name := range []string{"", "p", "720", "15p", "2161p", "best"} {
		if _, err := New(ffmpeg.Tools{}).Plan(Params{MP4: []string{name}}, pipeline.Media{}); err == nil {
			t.Errorf("mp4 %q passed", name)
		}
	}
}
