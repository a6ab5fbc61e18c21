package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/why"
)

var opWhy = huma.Operation{
	OperationID: "why", Method: http.MethodGet, Path: "/v1/videos/{id}/why", Tags: []string{"videos"},
	Summary: "Explain what a video waits for",
	Description: "In words, for each job: its place in the queue, who runs it and how far it is, when it is " +
		"tried again, or that nobody runs its worker type. With a timeline of the last events.",
}

type whyOutput struct{ Body why.Why }

func (s *server) why(ctx context.Context, in *videoInput) (*whyOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	view, err := s.cfg.Catalog.Video(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	jobs, err := s.cfg.Catalog.Jobs(ctx, view.Project, view.ID)
	if err != nil {
		return nil, err
	}
	facts := why.Facts{Places: map[string]pipeline.Place{}, Progress: map[string]pipeline.Progress{}}
	if err := s.addEvents(ctx, view, &facts); err != nil {
		return nil, err
	}
	if facts.Tasks, err = pipeline.TasksOf(ctx, s.cfg.Log, view.Project, view.ID); err != nil {
		return nil, orUnavailable(err)
	}
	s.addLive(ctx, jobs, &facts)
	return &whyOutput{why.Explain(view, jobs, facts, time.Now())}, nil
}

// addEvents adds the whole history to facts, a page at a time.
func (s *server) addEvents(ctx context.Context, v pipeline.VideoView, facts *why.Facts) error {
	for after := uint64(0); ; {
		events, err := s.cfg.Catalog.Events(ctx, v.Project, v.ID, after, eventsBatch)
		if err != nil {
			return err
		}
		for _, e := range events {
			facts.Add(e)
			after = e.Sequence
		}
		if len(events) < eventsBatch {
			return nil
		}
	}
}

// maxPlaces bounds how many jobs the queue is asked about, which costs a few requests each. The others wait
// behind them.
const maxPlaces = 50

// addLive adds what holds at this moment: workers, places and progress. It leaves out what it cannot read.
func (s *server) addLive(ctx context.Context, jobs []pipeline.JobView, facts *why.Facts) {
	warn := func(what string, err error) {
		s.cfg.Logger.WarnContext(ctx, what, "request_id", requestID(ctx), "error", err)
	}
	if s.cfg.Workers != nil {
		workers, err := s.cfg.Workers(ctx)
		if err != nil {
			warn("list workers", err)
		} else if facts.Workers = workers; workers == nil {
			facts.Workers = map[string]int{} // nil would mean that nobody knows
		}
	}
	if s.cfg.Queues != nil {
		pauses, err := s.cfg.Queues.Pauses(ctx)
		if err != nil {
			warn("list paused queues", err)
		}
		facts.Pauses = pauses
	}
	for i, t := range facts.Tasks {
		if s.cfg.Queue == nil || i == maxPlaces {
			break
		}
		place, err := s.cfg.Queue.Place(ctx, t)
		if err != nil {
			warn("find the place of a job", err)
			break
		}
		facts.Places[t.Job.Name] = place
	}
	for _, j := range jobs {
		if s.cfg.Progress == nil || j.Status != pipeline.StateJobProcessing {
			continue
		}
		p, ok, err := s.cfg.Progress.LastProgress(ctx, projectOf(ctx), j.Video, j.Name)
		if err != nil {
			warn("read progress", err)
			return
		}
		if ok {
			facts.Progress[j.Name] = p
		}
	}
}
