package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// story is what happened to one video, by the clock of this program for what a client sees, and by the
// events' own for what happened inside.
type story struct {
	id       string
	begun    time.Time // of the upload
	sent     time.Time // the last byte was handed to the connection
	answered time.Time
	seen     map[pipeline.EventType]time.Time // when the first event of a type arrived
	events   []pipeline.Event
	plan     []pipeline.Job
	media    pipeline.Media
}

// took is how long it was from a time to the first event of a type, in seconds; NaN when there is none.
func (s *story) took(from time.Time, to pipeline.EventType) float64 {
	at, ok := s.seen[to]
	if !ok {
		return math.NaN()
	}
	return at.Sub(from).Seconds()
}

// errSeen ends a stream of events: what was waited for is there.
var errSeen = errors.New("seen")

// follow uploads a clip and reads its events until one of the type until, or an error. Each event is handed
// to look, which may be nil, as it arrives.
func follow(ctx context.Context, url string, c clip, name string, until pipeline.EventType,
	look func(*story, pipeline.Event),
) (*story, error) {
	s := &story{begun: time.Now(), seen: map[pipeline.EventType]time.Time{}}
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

// add notes an event that has arrived.
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
	s.plan = data.Plan
	if data.Media != nil {
		s.media = *data.Media
	}
	return nil
}

// end tells how the video ended.
func (s *story) end() string {
	for _, e := range s.events {
		switch e.Type {
		case pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled, pipeline.JobErrored:
			return fmt.Sprintf("%s %s", e.Type, e.Data)
		}
	}
	return fmt.Sprintf("%d events", len(s.events))
}

// attempt is one start of a job, and its end if that came.
type attempt struct {
	job     string
	worker  string // the worker type
	process string
	started time.Time
	ended   time.Time // job.completed; zero when this attempt did not complete it
}

// attempts are all starts, in order.
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

// planned is what a part of a plan says of its job, as far as it is needed here. Workers do not export their
// parts; these are the names in the JSON of transcode and audio.
type planned struct {
	Kind  string `json:"kind"` // of transcode: chunk, copy, file; of thumbnail
	Task  string `json:"task"` // of audio: copy, encode, file
	Rungs []rung `json:"rungs"`
	Rate  rate   `json:"rate"`
	Start int    `json:"start"` // frames
	End   int    `json:"end"`   // 0: the end of the video
	First int    `json:"first"` // segments of sound
}

type rate struct {
	Num int `json:"num"`
	Den int `json:"den"`
}

func (r rate) float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// rung is a rendition, as the transcode worker plans it.
type rung struct {
	Name string `json:"name"`
	Size struct {
		Width  int `json:"width"`
		Height int `json:"height"`
	} `json:"size"`
	Rate    rate `json:"rate"`
	Maxrate int  `json:"maxrate"` // kbit/s
	Skip    int  `json:"skip"`    // frames of the grid that another job makes
}

// partOf reads the part of a job; a job without one has the zero part. One that is a word is a kind.
func partOf(j pipeline.Job) planned {
	var p planned
	if len(j.Part) == 0 || json.Unmarshal(j.Part, &p.Kind) == nil {
		return p
	}
	_ = json.Unmarshal(j.Part, &p) // a part of another form tells nothing
	return p
}

// keyframesFrom is the length from which on storyboards are made of keyframes alone (workers/thumbnail).
const keyframesFrom = 500 // seconds

// kindOf names what a job of a video of that many seconds does, as costs are kept: transcode:chunk,
// audio:copy, thumbnail:storyboard, thumbnail:keyframes.
func kindOf(j pipeline.Job, seconds float64) string {
	p := partOf(j)
	switch {
	case p.Kind == "storyboard" && seconds >= keyframesFrom:
		return j.Worker + ":keyframes"
	case p.Kind != "":
		return j.Worker + ":" + p.Kind
	case p.Task != "":
		return j.Worker + ":" + p.Task
	}
	return j.Worker
}

// segment is how long a segment is, in seconds.
const segment = 6

// amount is how much work is in a job of a video of that many seconds: megapixels to encode for a chunk,
// seconds of what is copied and of sound for a run of it, else the seconds of the video.
func amount(j pipeline.Job, seconds float64) float64 {
	p := partOf(j)
	end := float64(p.End) // of a chunk or a copy, in frames
	if p.End == 0 {
		end = seconds * p.Rate.float()
	}
	switch kindOf(j, seconds) {
	case "transcode:copy":
		return (end - float64(p.Start)) / p.Rate.float()
	case chunkKind:
		sum := 0.0
		for _, r := range p.Rungs {
			frames := max(0, end-float64(p.Start+r.Skip))
			if p.Rate.float() > 0 {
				frames *= r.Rate.float() / p.Rate.float()
			}
			sum += frames * float64(r.Size.Width*r.Size.Height) / 1e6
		}
		return sum
	case "audio:encode", "audio:copy":
		if p.End > 0 {
			return float64((p.End - p.First) * segment)
		}
		return max(0, seconds-float64(p.First*segment))
	}
	return seconds
}

// chunkKind is the kind of the jobs that are spread over machines.
const chunkKind = "transcode:chunk"

// rungsOf are the renditions of a plan, largest first: those that its jobs copy or encode.
func rungsOf(plan []pipeline.Job) []rung {
	var rungs []rung
	for _, j := range plan {
		if p := partOf(j); j.Worker == "transcode" && p.Kind != "file" {
			for _, r := range p.Rungs {
				r.Skip = 0 // of the job alone
				rungs = append(rungs, r)
			}
		}
	}
	slices.SortStableFunc(rungs, func(a, b rung) int { return cmp.Compare(b.Size.Height, a.Size.Height) })
	return slices.CompactFunc(rungs, func(a, b rung) bool { return a.Name == b.Name })
}

// copies reports whether the plan has a rung that is a copy of the source.
func copies(plan []pipeline.Job) bool {
	for _, j := range plan {
		if partOf(j).Kind == "copy" {
			return true
		}
	}
	return false
}
