package pipeline

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// errCycle says that jobs of a plan wait for each other.
var errCycle = errors.New("jobs wait for each other")

// errName says that the name of a job is taken or invalid.
var errName = errors.New("its name is taken or invalid")

// ordered reports steps whose jobs wait for each other, or have names that are taken or invalid. It plans the
// pipeline for sampleMedia, with every step whose parameters are complete. Other media and an upload's own
// parameters may lead to other jobs: NewPlan checks those too.
func (p Pipeline) ordered(planner Planner) error {
	requested := map[string]map[string]any{}
	for _, s := range p.Steps {
		params, err := s.params(nil)
		if err == nil {
			_, err = planner.Plan(s.Worker, params, sampleMedia())
		}
		if err == nil {
			requested[s.name()] = nil
		}
	}
	_, err := NewPlan(p, requested, sampleMedia(), planner)
	if errors.Is(err, errCycle) || errors.Is(err, errName) {
		return err
	}
	return nil
}

// sampleMedia is a minute of picture and audio, of which every worker type makes something.
func sampleMedia() Media {
	return Media{
		Container: "mov", Duration: 60, Bitrate: 4e6, Size: 3e7,
		Video: VideoTrack{
			Codec: "h264", PixelFormat: "yuv420p", BitDepth: 8, CodedWidth: 1920, CodedHeight: 1080,
			Width: 1920, Height: 1080, SampleRatio: 1, FrameRateNum: 25, FrameRateDen: 1,
		},
		Audio: []AudioTrack{{
			Stream: 1, Codec: "aac", Profile: "LC", Channels: 2, SampleRate: 48000, Language: "und", Duration: 60,
		}},
	}
}

// acyclic reports a cycle among the edges, and names the steps of the jobs in it: it removes jobs that wait
// for no other, until none can be removed.
func acyclic(plan []Job) error {
	waiting := map[string][]string{}
	for _, j := range plan {
		waiting[j.Name] = j.After
	}
	left := func(name string) bool { _, ok := waiting[name]; return ok }
	for n := 0; n != len(waiting); {
		n = len(waiting)
		maps.DeleteFunc(waiting, func(_ string, after []string) bool { return !slices.ContainsFunc(after, left) })
	}
	if len(waiting) == 0 {
		return nil
	}
	removeBehind(waiting)
	steps := map[string]bool{}
	for _, j := range plan {
		if left(j.Name) {
			steps[j.Step] = true
		}
	}
	return Fail(CodeParameters, "%w: those of the steps %s. A job waits for the steps in after, and for what "+
		"it needs of other steps; change after", errCycle, strings.Join(slices.Sorted(maps.Keys(steps)), ", "))
}

// removeBehind removes the jobs that no other waits for, until none is left: they only wait for a cycle.
func removeBehind(waiting map[string][]string) {
	for n := 0; n != len(waiting); {
		n = len(waiting)
		awaited := map[string]bool{}
		for _, after := range waiting {
			for _, a := range after {
				awaited[a] = true
			}
		}
		maps.DeleteFunc(waiting, func(name string, _ []string) bool { return !awaited[name] })
	}
}
