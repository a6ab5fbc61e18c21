package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/all"
)

// newRegistry returns the worker types. Here they only plan and describe jobs.
func newRegistry() (*workers.Registry, error) {
	return all.New(all.Config{FFmpeg: "ffmpeg", FFprobe: "ffprobe"})
}

// planned is a job of a plan, with the description by its worker.
type planned struct {
	pipeline.Job
	workers.Description
	// amount measures the work of the job: megapixels to encode, or else seconds of the source to read, or else
	// seconds of the video.
	amount float64
}

// describe asks the workers about the jobs of a plan for m.
func describe(r *workers.Registry, plan []pipeline.Job, m pipeline.Media) ([]planned, error) {
	jobs := make([]planned, len(plan))
	for i, j := range plan {
		d, err := r.Describe(j, m)
		if err != nil {
			return nil, fmt.Errorf("describe job %s: %w", j.Name, err)
		}
		jobs[i] = planned{Job: j, Description: d, amount: m.Duration}
		switch {
		case d.Pixels > 0:
			jobs[i].amount = d.Pixels / 1e6
		case d.End > d.Start:
			jobs[i].amount = d.End - d.Start
		}
	}
	return jobs, nil
}

// Kinds of jobs that the code names.
const (
	chunkKind = "transcode:chunk" // spread over machines
	copyKind  = "transcode:copy"
)

// costKind names what the job does, as costs are kept: transcode:chunk, audio:copy, thumbnail:keyframes. A
// worker that does not say has one kind, named after it.
func (p planned) costKind() string {
	if p.Kind == "" {
		return p.Worker
	}
	return p.Worker + ":" + p.Kind
}

// renditionsOf returns the renditions of a plan, largest first.
func renditionsOf(plan []planned) []workers.Rendition {
	var renditions []workers.Rendition
	for _, j := range plan {
		renditions = append(renditions, j.Description.Renditions...)
	}
	slices.SortStableFunc(renditions, func(a, b workers.Rendition) int {
		return cmp.Compare(b.Height, a.Height)
	})
	return slices.CompactFunc(renditions, func(a, b workers.Rendition) bool { return a.Name == b.Name })
}

// copies reports whether the plan has a rendition that is a copy of the source.
func copies(plan []planned) bool {
	return slices.ContainsFunc(plan, func(j planned) bool { return j.costKind() == copyKind })
}
