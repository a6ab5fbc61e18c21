package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// notifyJob is the name of the job that tells of a video's end, and NotifyWorker the worker type that runs
// it.
const notifyJob = "notify"

// NotifyWorker is the worker type of webhook deliveries.
const NotifyWorker = "webhook"

// notifyDelays are the delays of Standard Webhooks (https://www.standardwebhooks.com), 75 hours in all.
var notifyDelays = []Seconds{5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400}

// Delivery is what a notify job is told to send, and in whose name.
type Delivery struct {
	ID   string  `json:"id"` // of the event told: webhook-id, stable over every try
	URL  string  `json:"url,omitempty"`
	Body Message `json:"body"`
}

// Message is the body of a webhook (https://github.com/standard-webhooks/standard-webhooks: type, timestamp,
// data).
type Message struct {
	Type      EventType `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      VideoView `json:"data"` // the video as the API answers it, at its end
}

// notify is step 5: a finished video whose upload asked for it gets a notify job, with tries and dead letter
// like any other.
func (c *Coordinator) notify(ctx context.Context, v *Video) error {
	if v.Finished.Sequence == 0 || v.Upload.Webhook == nil || !v.Notify.fresh() {
		return nil
	}
	job, err := v.notification(c.PublicURL)
	if err != nil {
		return err
	}
	return c.Tasks.Enqueue(ctx, v.task(job, v.Notify.Last, v.Finished))
}

// notification returns the job that tells of the video's end. Its body has URLs below public, for the task of
// the job is no event: events name no host.
func (v *Video) notification(public string) (Job, error) {
	view, err := v.view()
	if err != nil {
		return Job{}, err
	}
	view.AddURLs(public)
	part, err := json.Marshal(Delivery{
		ID: v.Finished.ID, URL: v.Upload.Webhook.URL,
		Body: Message{Type: v.Finished.Type, Timestamp: v.Finished.Time, Data: view},
	})
	if err != nil {
		return Job{}, fmt.Errorf("encode webhook of %s: %w", v.ID, err)
	}
	return Job{
		Name: notifyName(v.Generation), Step: notifyJob, Worker: NotifyWorker, Priority: High, Part: part,
		Optional: true, Timeout: 30, Retry: notifyDelays,
	}, nil
}

// notifyName is the name of the job that tells of the end of a generation of a video.
func notifyName(generation int) string {
	if generation == 0 {
		return notifyJob
	}
	return notifyJob + "-" + strconv.Itoa(generation)
}

// view replays the fold's own events into the view of the video.
func (v *Video) view() (VideoView, error) {
	var view VideoView
	for _, e := range []Event{v.Uploaded, v.Inspected} {
		if e.Sequence == 0 {
			continue
		}
		if err := view.Apply(e); err != nil {
			return VideoView{}, err
		}
	}
	for _, j := range v.Plan {
		view.ApplyJob(v.Jobs[j.Name].Last, JobView{Step: j.Step, Weight: j.weight()})
	}
	for _, e := range []Event{v.Playable, v.Finished} {
		if e.Sequence == 0 {
			continue
		}
		if err := view.Apply(e); err != nil {
			return VideoView{}, err
		}
	}
	return view, nil
}
