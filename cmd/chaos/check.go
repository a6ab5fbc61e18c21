package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// The kinds of broken promises.
const (
	lost     = "lost"
	doubled  = "doubled"
	stuck    = "stuck"
	spurious = "spurious dead letter"
	wrong    = "wrong"
)

// violation is one broken promise.
type violation struct {
	Kind  string `json:"kind"`
	Video string `json:"video"`
	What  string `json:"what"`
}

// result is the outcome of a phase.
type result struct {
	Name     string `json:"name"`
	Accepted int    `json:"accepted"`
	Finished int    `json:"finished"`
	Jobs     int    `json:"jobs"`
	Outputs  int    `json:"outputs"`  // read and compared
	Webhooks int    `json:"webhooks"` // events that the receiver got
	// Sources counts the sources that were compared with their files, by the way of their upload.
	Sources    map[string]int `json:"sources"`
	Leftovers  int            `json:"leftovers"`  // objects that nothing refers to, which the janitor deletes
	Repairs    int            `json:"repairs"`    // by the sweeper
	Violations []violation    `json:"violations"` // empty in a pass
	// Unexplained counts repairs of things that no fault lost.
	Unexplained int `json:"unexplained_repairs"`

	Ends map[string]int `json:"ends"`
	P50  float64        `json:"settle_p50_seconds"`
	P99  float64        `json:"settle_p99_seconds"`

	settle  []time.Duration
	pending []violation // may still be resolved
}

func (r *result) violate(kind, video, format string, args ...any) {
	r.Violations = append(r.Violations, violation{kind, video, fmt.Sprintf(format, args...)})
}

func (r *result) wait(kind, video, format string, args ...any) {
	r.pending = append(r.pending, violation{kind, video, fmt.Sprintf(format, args...)})
}

func (r *result) of(kind string) (n int) {
	for _, v := range r.Violations {
		if v.Kind == kind {
			n++
		}
	}
	return n
}

// check compares the accepted videos with the events in the read model's file and with the received webhooks.
// Only ReelMill writes now, so what is missing may still come: it is pending.
func (p *phase) check(ctx context.Context) (*result, error) {
	events, err := p.events(ctx)
	if err != nil {
		return nil, err
	}
	heard := p.receiver.deliveries()
	r := &result{Ends: map[string]int{}, Sources: map[string]int{}}
	for _, v := range p.load.videos {
		if v.id == "" {
			continue
		}
		r.Accepted++
		if len(v.others) > 0 {
			r.violate(doubled, v.id, "one upload became other videos too: %v", v.others)
		}
		if v.deleted {
			r.checkDeleted(v, events[v.id])
			continue
		}
		r.checkEvents(v, events[v.id], heard[v.id])
	}
	r.P50, r.P99 = quantile(r.settle, 0.5), quantile(r.settle, 0.99)
	return r, nil
}

func (r *result) checkDeleted(v *video, events []pipeline.Event) {
	if len(events) > 0 {
		r.wait(wrong, v.id, "it is deleted, and the read model has %d events of it", len(events))
		return
	}
	r.Finished++
	r.Ends["deleted"]++
}

// checkEvents checks the events of one video.
func (r *result) checkEvents(v *video, events []pipeline.Event, heard []delivery) {
	ends := map[int][]pipeline.Event{}
	var last, playable pipeline.Event
	begun, requeued := v.accepted, uint64(0)
	var finish pipeline.Finish
	completed, jobs, adding := map[string]int{}, map[string]bool{}, map[int]bool{}
	for _, e := range events {
		switch e.Type {
		case pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled:
			finish = pipeline.Finish{}
			if err := e.Decode(&finish); err != nil {
				r.violate(wrong, v.id, "%v", err)
			}
			ends[finish.Generation] = append(ends[finish.Generation], e)
			last = e
			r.Ends[strings.TrimPrefix(string(e.Type), "video.")]++
			r.settle = append(r.settle, max(0, e.Time.Sub(begun)))
		case pipeline.VideoPlayable:
			playable = e
		case pipeline.VideoReopened:
			begun = e.Time
		case pipeline.JobRequeued:
			if pipeline.AdditionOf(e.Subject) == 0 { // that of an addition does not reopen the video
				requeued = e.Sequence
			}
		case pipeline.JobCompleted:
			completed[e.Subject]++
		case pipeline.JobCanceled:
			if pipeline.AdditionOf(e.Subject) > 0 { // an addition that failed is undone, and may be redriven
				completed[e.Subject] = 0
			}
		case pipeline.VideoOutputsRequested, pipeline.VideoOutputsReopened:
			adding[pipeline.AdditionOf(e.Subject)] = true
		case pipeline.VideoOutputsAdded, pipeline.VideoOutputsFailed:
			delete(adding, pipeline.AdditionOf(e.Subject))
		case pipeline.JobErrored:
			r.checkErrored(v, e)
		}
		if strings.HasPrefix(e.Subject, "job.") {
			jobs[e.Subject] = true
		}
	}
	r.Jobs += len(jobs)
	r.checkOnce(v, completed, ends)
	switch {
	case len(events) == 0:
		r.wait(lost, v.id, "it was accepted, and there is no event of it")
		return
	case last.Sequence <= requeued:
		r.wait(stuck, v.id, "%s: it has not ended", v.pipeline)
		return
	case len(adding) > 0:
		r.wait(stuck, v.id, "%s: %d additions to it have not ended", v.pipeline, len(adding))
		return
	case v.redriven && requeued == 0:
		r.wait(lost, v.id, "%s: a retry was accepted, and nothing followed", v.pipeline)
		return
	case last.Type != pipeline.EventType("video."+string(v.expect)):
		r.violate(wrong, v.id, "%s: it ended with %s, want %s", v.pipeline, last.Type, v.expect)
	}
	r.Finished++
	r.checkHeard(v, ends, playable, heard)
	if finish.Notify {
		r.checkTold(v, last, heard)
	}
	var opened pipeline.Playable
	if playable.Sequence != 0 && playable.Decode(&opened) == nil && opened.Notify {
		r.checkTold(v, playable, heard)
	}
}

// checkOnce checks that events that may happen once did not happen twice.
func (r *result) checkOnce(v *video, completed map[string]int, ends map[int][]pipeline.Event) {
	for job, n := range completed {
		if n > 1 {
			r.violate(doubled, v.id, "%s was completed %d times", job, n)
		}
	}
	for generation, all := range ends {
		if len(all) > 1 {
			r.violate(doubled, v.id, "generation %d ended %d times", generation, len(all))
		}
	}
}

// checkErrored checks that a job that failed for good was meant to.
func (r *result) checkErrored(v *video, e pipeline.Event) {
	var data pipeline.JobEvent
	if err := e.Decode(&data); err != nil {
		r.violate(wrong, v.id, "%v", err)
		return
	}
	if mayFail(v, data.Worker) {
		return
	}
	why := ""
	if data.Problem != nil {
		why = data.Problem.Error()
	}
	r.violate(spurious, v.id, "%s of %s failed for good: %s", data.Job, v.pipeline, why)
}

// mayFail reports whether a job of a worker type may fail.
func mayFail(v *video, worker string) bool {
	return v.pipeline == "broken" && worker == "chaos" || v.gone && worker == pipeline.NotifyWorker
}

// checkHeard checks that every webhook announces an end of the video, or that it is playable.
func (r *result) checkHeard(v *video, ends map[int][]pipeline.Event, playable pipeline.Event,
	heard []delivery,
) {
	known := map[string]bool{playable.ID: true}
	for _, all := range ends {
		for _, e := range all {
			known[e.ID] = true
		}
	}
	for _, d := range heard {
		if !known[d.id] {
			r.violate(doubled, v.id, "a webhook with id %s announces no event of the video", d.id)
		}
	}
}

// checkTold checks that the receiver accepted the webhook of an event.
func (r *result) checkTold(v *video, e pipeline.Event, heard []delivery) {
	for _, d := range heard {
		if d.id == e.ID && (d.answer == http.StatusOK || d.answer == http.StatusGone) {
			r.Webhooks++
			return
		}
	}
	r.wait(lost, v.id, "no webhook for %s arrived; %d tries for this video", e.Type, len(heard))
}

// quantile returns a quantile in seconds, by nearest rank.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	i := min(len(sorted)-1, int(q*float64(len(sorted))))
	return sorted[i].Seconds()
}
