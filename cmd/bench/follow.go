package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/workers"
)

// story is what happened to one video. Times that a client sees are by the clock of this program, the others
// are those of the events.
type story struct {
	id       string
	begun    time.Time // of the upload
	sent     time.Time // the last byte was handed to the connection
	answered time.Time
	seen     map[pipeline.EventType]time.Time // when the first event of a type arrived
	events   []pipeline.Event
	registry *workers.Registry // describes the plan
	plan     []planned
	seconds  float64 // of the video, by its inspection
}

// took returns the seconds from a time to the first event of a type; NaN without such an event.
func (s *story) took(from time.Time, to pipeline.EventType) float64 {
	at, ok := s.seen[to]
	if !ok {
		return math.NaN()
	}
	return at.Sub(from).Seconds()
}

// errSeen stops a stream of events after the wanted one.
var errSeen = errors.New("seen")

// follow uploads a clip and reads its events until one of the type until, or an error. It calls look, which
// may be nil, with each event as it arrives.
func (b *bench) follow(ctx context.Context, url string, c clip, name string, until pipeline.EventType,
	look func(*story, pipeline.Event),
) (*story, error) {
	s := &story{begun: time.Now(), seen: map[pipeline.EventType]time.Time{}, registry: b.registry}
	api := client.New(url, nil)
	view, err := api.Upload(ctx, client.Upload{
		Path: c.path, Pipeline: name,
		Progress: func(sent, total int64) { // Upload returns after the last call
			if sent == total {
				s.sent = time.Now()
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", c.name, err)
	}
	s.id, s.answered = view.ID, time.Now()
	err = api.Events(ctx, s.id, 0, func(e client.Event) error {
		if e.Log == nil {
			return nil
		}
		if err := s.add(*e.Log, time.Now()); err != nil {
			return err
		}
		if look != nil {
			look(s, *e.Log)
		}
		if e.Log.Type == until {
			return errSeen
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSeen) {
		return nil, fmt.Errorf("follow %s: %w", c.name, err)
	}
	if _, ok := s.seen[until]; !ok {
		return nil, fmt.Errorf("%s did not come to %s: %s", c.name, until, s.end())
	}
	return s, nil
}

// add records an event.
func (s *story) add(e pipeline.Event, now time.Time) error {
	if _, ok := s.seen[e.Type]; !ok {
		s.seen[e.Type] = now
	}
	s.events = append(s.events, e)
	if e.Type != pipeline.VideoInspected {
		return nil
	}
	var data pipeline.Inspected
	if err := e.Decode(&data); err != nil {
		return err
	}
	if data.Media == nil {
		return nil // it is rejected
	}
	s.seconds = data.Media.Duration
	plan, err := describe(s.registry, data.Plan, *data.Media)
	s.plan = plan
	return err
}

// end returns how the video ended.
func (s *story) end() string {
	for _, e := range s.events {
		switch e.Type {
		case pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled, pipeline.JobErrored:
			return fmt.Sprintf("%s %s", e.Type, e.Data)
		}
	}
	return fmt.Sprintf("%d events", len(s.events))
}

// attempt is one start of a job, and its end if it ended.
type attempt struct {
	job     string
	worker  string // the worker type
	process string
	started time.Time
	ended   time.Time // job.completed; zero if this attempt did not complete the job
}

// attempts returns all attempts, in order.
func (s *story) attempts() []attempt {
	var all []attempt
	for _, e := range s.events {
		if e.Type != pipeline.JobStarted && e.Type != pipeline.JobCompleted {
			continue
		}
		var data pipeline.JobEvent
		if e.Decode(&data) != nil {
			continue
		}
		if e.Type == pipeline.JobStarted {
			all = append(all, attempt{job: data.Job, worker: data.Worker, process: data.Process, started: e.Time})
			continue
		}
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].job == data.Job {
				all[i].ended = e.Time
				break
			}
		}
	}
	return all
}
