package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

func registry(t *testing.T) *workers.Registry {
	t.Helper()
	r, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func planOf(t *testing.T, m pipeline.Media) []planned {
	t.Helper()
	jobs, err := pipeline.NewPlan(pipeline.Default(), nil, m, registry(t))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := describe(registry(t), jobs, m)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestConfiguration checks that a server accepts the pipelines of this program.
func TestConfiguration(t *testing.T) {
	var settings struct{ Pipelines []pipeline.Pipeline }
	if err := yaml.Unmarshal([]byte(configuration), &settings); err != nil || len(settings.Pipelines) != 3 {
		t.Fatal(settings.Pipelines, err)
	}
	for _, p := range settings.Pipelines {
		if p.Version = 1; p.Validate(registry(t)) != nil {
			t.Errorf("pipeline %s: %v", p.Name, p.Validate(registry(t)))
		}
	}
}

// TestAmounts checks that the chunks of a video and the job before them have every pixel of every rendition
// once, and that the chunks alone read all of the source.
func TestAmounts(t *testing.T) {
	for _, seconds := range []float64{4, 20, 61.5, 300, 7200} {
		m := simMedia(seconds, 720)
		plan := planOf(t, m)
		video, err := planVideo(registry(t), builtIn, m)
		if err != nil {
			t.Fatal(err)
		}
		renditions := renditionsOf(plan)
		if len(renditions) < 3 || renditions[0].Width != 1280 || renditions[0].Maxrate <= 0 {
			t.Fatalf("%g s: renditions %+v", seconds, renditions)
		}
		want, got, share := 0.0, 0.0, 0.0
		for _, r := range renditions {
			want += float64(r.Width*r.Height) * float64(r.FrameRateNum) / float64(r.FrameRateDen) * seconds / 1e6
		}
		for i, j := range plan {
			if j.costKind() == chunkKind {
				got += j.amount
				if !strings.HasSuffix(j.Name, "-first") {
					share += video.jobs[i+1].share // the first is inspection
				}
				if !isChunk(j.Name) {
					t.Errorf("%s is a chunk, by its part alone", j.Name)
				}
			} else if isChunk(j.Name) {
				t.Errorf("%s is a chunk, by its name alone", j.Name)
			}
		}
		if math.Abs(got-want) > 1e-6*want || math.Abs(share-1) > 1e-9 {
			t.Errorf("%g s: %g megapixels of %g, %g of the source", seconds, got, want, share)
		}
	}
}

// TestForms checks that the plans of the two forms of clips are as intended.
func TestForms(t *testing.T) {
	if copies(planOf(t, simMedia(60, 720))) {
		t.Error("keyframes each 10 s are standard input")
	}
	if !copies(planOf(t, standardMedia(60))) {
		t.Error("keyframes each 2 s are not standard input")
	}
}

func TestKinds(t *testing.T) {
	kinds := map[string]bool{}
	for _, m := range []pipeline.Media{simMedia(60, 720), simMedia(1800, 1080), mp3(300), standardMedia(60)} {
		for _, j := range planOf(t, m) {
			kinds[j.costKind()] = true
		}
	}
	for kind := range kinds {
		if _, ok := builtIn.Jobs[kind]; !ok {
			t.Errorf("nobody knows what %s costs", kind)
		}
	}
	for _, kind := range []string{
		"thumbnail:poster", "thumbnail:storyboard", "thumbnail:keyframes", "audio:copy", "audio:encode",
		"audio:file", "transcode:copy", chunkKind,
		"packager",
	} {
		if !kinds[kind] {
			t.Errorf("there is no %s in %v", kind, kinds)
		}
	}
	for kind, m := range map[string]pipeline.Media{"audio:encode": mp3(300), "audio:copy": simMedia(300, 720)} {
		sound := 0.0
		for _, j := range planOf(t, m) {
			if j.costKind() == kind {
				sound += j.amount
			}
		}
		if sound != 300 {
			t.Errorf("%s: %g s of 300 s of sound", kind, sound)
		}
	}
	picture, parts := 0.0, 0
	for _, j := range planOf(t, standardMedia(300)) {
		if j.costKind() == copyKind {
			picture += j.amount
			parts++
		}
	}
	if picture != 300 || parts != 3 {
		t.Errorf("%d parts copy %g s of 300 s", parts, picture)
	}
}

// TestKindOfStoryboard checks that its cost depends on the distance of keyframes, not only on the length.
func TestKindOfStoryboard(t *testing.T) {
	for kind, m := range map[string]pipeline.Media{
		"thumbnail:storyboard": simMedia(499, 720), "thumbnail:keyframes": standardMedia(300),
	} {
		if !slices.ContainsFunc(planOf(t, m), func(j planned) bool { return j.costKind() == kind }) {
			t.Errorf("%g s with key frames each %g s: no %s", m.Duration, m.Video.Groups.Longest, kind)
		}
	}
}

func mp3(seconds float64) pipeline.Media {
	m := simMedia(seconds, 720)
	m.Audio[0].Codec, m.Audio[0].Profile = "mp3", ""
	return m
}

func standardMedia(seconds float64) pipeline.Media {
	m := simMedia(seconds, 720)
	g := m.Video.Groups
	g.Longest, g.Average = 2, 2
	for at := 0.0; at < seconds; at += 6 {
		g.Borders = append(g.Borders, at)
	}
	return m
}

// tale makes a story from events of jobs, such as "started 3 transcode-0000 host/1".
func tale(t *testing.T, plan []planned, lines ...string) *story {
	t.Helper()
	s := &story{seen: map[pipeline.EventType]time.Time{}, plan: plan}
	for _, l := range lines {
		var what, job, process string
		var at float64
		if _, err := fmt.Sscan(l, &what, &at, &job, &process); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		data, err := json.Marshal(pipeline.JobEvent{Job: job, Process: process})
		if err != nil {
			t.Fatal(err)
		}
		when := time.Unix(1000, int64(at*1e9))
		e := pipeline.Event{Type: pipeline.EventType("job." + what), Time: when, Data: data}
		if err := s.add(e, when); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestKillAndRepeats(t *testing.T) {
	plan := planOf(t, simMedia(300, 720))
	chunks := 0
	for _, j := range plan {
		if j.costKind() == chunkKind {
			chunks++
		}
	}
	var lines []string
	for i := range (chunks + 2) / 3 {
		lines = append(lines, fmt.Sprintf("started %d transcode-%04d h/7", i, i),
			fmt.Sprintf("completed %d.5 transcode-%04d h/7", i, i))
	}
	if s := tale(t, plan, lines...); toKill(s, 7) {
		t.Error("a worker is killed with nothing in hand")
	}
	lines = append(lines, "started 50 transcode-0010 h/17", "started 51 thumbnail h/7")
	if s := tale(t, plan, lines...); toKill(s, 7) || !toKill(s, 17) {
		t.Error("17 has a chunk in hand, and 7 has none")
	}
	if s := tale(t, plan, lines[:2]...); toKill(s, 7) {
		t.Error("it is too early")
	}
	lines = append(lines, "started 60 transcode-0010 h/8", "started 61 thumbnail h/8",
		"completed 62 transcode-0010 h/8")
	n, first := repeats(tale(t, plan, lines...))
	if n != 1 || first != time.Unix(1060, 0) {
		t.Errorf("%d repeated, the first at %v", n, first)
	}
}

func TestTook(t *testing.T) {
	s := tale(t, nil, "started 3 x h/1", "started 4 y h/1")
	if got := s.took(time.Unix(1001, 0), pipeline.JobStarted); got != 2 {
		t.Errorf("%g s", got)
	}
	if got := s.took(time.Unix(1001, 0), pipeline.VideoReady); !math.IsNaN(got) {
		t.Errorf("what did not happen took %g s", got)
	}
}

func TestSamples(t *testing.T) {
	plan := planOf(t, simMedia(60, 720))
	s := &samples{work: map[string][]float64{}, took: map[string][]float64{}}
	v := tale(t, plan,
		"started 0 inspect h/1", "completed 0.25 inspect h/1",
		"started 1 transcode-first h/1", "started 1 transcode-0000 h/1", "completed 2 transcode-first h/1",
		"completed 10 transcode-0000 h/1", "started 10.5 transcode-0001 h/1", "completed 20 transcode-0001 h/1",
		"started 21 packager h/1", "completed 21.5 packager h/1",
	)
	v.seconds = 60
	s.add(v)
	if len(s.next) != 1 || !near(s.next[0], 0.5) {
		t.Errorf("between chunks %v", s.next)
	}
	if len(s.unblock) != 1 || !near(s.unblock[0], 1) {
		t.Errorf("unblocked after %v", s.unblock)
	}
	if got := s.took[chunkKind]; len(got) != 3 || got[1] != 9 {
		t.Errorf("chunks took %v", got)
	}
	c := s.costs()
	if !near(c.Jobs["inspect"].at(60), 0.25) || !near(c.Next, 0.5) || c.Writes != 0 {
		t.Errorf("%+v", c)
	}
}
