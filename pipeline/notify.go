package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// NotifyStep is the step of a video's webhook jobs, and the name of the job for its first end.
// NotifyPlayable is the name of the job that reports the video as playable.
const (
	NotifyStep     = "notify"
	NotifyPlayable = NotifyStep + "-playable"
)

// NotifyWorker is the worker type of webhook deliveries.
const NotifyWorker = "webhook"

// notifyDelays are the delays of Standard Webhooks (https://www.standardwebhooks.com), 75 hours in all.
var notifyDelays = []Seconds{5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400}

// Delivery is the Part of a notify job: what to send, and where.
type Delivery struct {
	ID   string  `json:"id"` // of the event that is reported; the webhook-id of every try
	URL  string  `json:"url,omitempty"`
	Body Message `json:"body"`
}

// Message is the body of a webhook (https://github.com/standard-webhooks/standard-webhooks: type, timestamp,
// data).
type Message struct {
	Type      EventType `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      VideoView `json:"data"` // the video as the API answers it, at that event
}

// notify is step 5: a video whose upload asked for a webhook gets a notify job when it is playable, and
// another when it has ended. They are retried and have dead letters like any other job. Neither waits for the
// other.
func (c *Coordinator) notify(ctx context.Context, v *Video) error {
	for _, n := range v.news() {
		if !n.fold.fresh() {
			continue
		}
		job, err := v.notification(n, c.PublicURL)
		if err != nil {
			return err
		}
		if err := c.Tasks.Enqueue(ctx, v.task(job, n.fold.Last, n.event)); err != nil {
			return err
		}
	}
	return nil
}

// news is an event to report by webhook, and the job that reports it.
type news struct {
	event Event
	job   string
	fold  JobFold
}

// news returns the events of the video to report by webhook, including those that were reported already.
func (v *Video) news() []news {
	if v.Upload.Webhook == nil {
		return nil
	}
	var all []news
	if v.Opened.Notify {
		all = append(all, news{v.Playable, NotifyPlayable, v.NotifyPlayable})
	}
	if v.Finished.Sequence != 0 {
		all = append(all, news{v.Finished, notifyName(v.Generation), v.Notify})
	}
	return all
}

// notification returns the job that reports n. The URLs in its body begin with public: they are in the job's
// task only, since events name no host.
func (v *Video) notification(n news, public string) (Job, error) {
	view, err := v.viewAt(n.event)
	if err != nil {
		return Job{}, err
	}
	view.AddURLs(public)
	part, err := json.Marshal(Delivery{
		ID: n.event.ID, URL: v.Upload.Webhook.URL,
		Body: Message{Type: n.event.Type, Timestamp: n.event.Time, Data: view},
	})
	if err != nil {
		return Job{}, fmt.Errorf("encode webhook of %s: %w", v.ID, err)
	}
	return Job{
		Name: n.job, Step: NotifyStep, Worker: NotifyWorker, Priority: High, Part: part,
		Optional: true, Timeout: 30, Retry: notifyDelays,
	}, nil
}

// notifyName returns the name of the job that reports the end of a generation of a video.
func notifyName(generation int) string {
	if generation == 0 {
		return NotifyStep
	}
	return NotifyStep + "-" + strconv.Itoa(generation)
}

// viewAt returns the view of the video just after the event at, made from the events of the fold, with the
// title, metadata, passthrough and hold that it has now. But for these, it is the same at any time. It does
// not depend on the deliveries of webhooks.
func (v *Video) viewAt(at Event) (VideoView, error) {
	var view VideoView
	for _, e := range []Event{v.Uploaded, v.Changed, v.HeldBy, v.Inspected} {
		if e.Sequence == 0 {
			continue
		}
		if err := view.Apply(e); err != nil {
			return VideoView{}, err
		}
	}
	if last := v.Fetch.Last; last.Sequence < at.Sequence {
		view.ApplyJob(last, JobView{Step: FetchStep})
	}
	for _, j := range v.Plan {
		if last := v.Jobs[j.Name].Last; last.Sequence < at.Sequence {
			view.ApplyJob(last, JobView{Step: j.Step, Weight: j.weight()})
		}
	}
	for _, e := range []Event{v.Playable, v.Finished, v.SourceDeleted} {
		if e.Sequence == 0 || e.Sequence > at.Sequence {
			continue
		}
		if err := view.Apply(e); err != nil {
			return VideoView{}, err
		}
	}
	for _, a := range v.Additions {
		for _, e := range []Event{a.Requested, a.Last} {
			if e.Sequence == 0 || e.Sequence > at.Sequence {
				continue
			}
			if err := view.Apply(e); err != nil {
				return VideoView{}, err
			}
		}
	}
	return view, nil
}
