package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Dispatcher queues a delivery of each event to each endpoint that wants it. It holds no state: any number
// may run, anywhere.
type Dispatcher struct {
	Log    pipeline.Log
	Bucket Bucket
	Queue  Queue
	// PublicURL is where people reach the server, for the URLs in bodies; as in pipeline.Coordinator.
	PublicURL string
}

// Handle dispatches events. It returns how many of them are dispatched; when that is not all, the error
// says why, and the rest must come again. Dispatching an event again makes no second delivery.
func (d *Dispatcher) Handle(ctx context.Context, events []pipeline.Event) (done int, err error) {
	endpoints, err := d.Bucket.AllEndpoints(ctx)
	if err != nil {
		return 0, fmt.Errorf("list webhook endpoints: %w", err)
	}
	if len(endpoints) == 0 {
		return len(events), nil
	}
	for i, e := range events {
		if err := d.dispatch(ctx, e, endpoints); err != nil {
			return i, fmt.Errorf("dispatch %s: %w", e.ID, err)
		}
	}
	return len(events), nil
}

// dispatch queues the deliveries of one event.
func (d *Dispatcher) dispatch(ctx context.Context, e pipeline.Event, endpoints []Endpoint) error {
	project, video, _, err := pipeline.Address(e.Subject)
	if err != nil {
		if project, _, _ = pipeline.AccessAddress(e.Subject); !slices.Contains(pipeline.QuotaEventTypes, e.Type) {
			return nil // it belongs to neither a video nor a quota, so to no endpoint
		}
	}
	var body json.RawMessage
	for _, to := range endpoints {
		if to.Project != project || e.Sequence <= to.After || !to.Wants(string(e.Type)) {
			continue
		}
		if body == nil {
			report, err := pipeline.ReportOf(ctx, d.Log, e, d.PublicURL)
			if err != nil {
				return err
			}
			if body, err = json.Marshal(report); err != nil {
				return err
			}
		}
		task := newTask(to, e.ID, string(e.Type), body, time.Now())
		task.Video = video
		if err := d.Queue.Push(ctx, task); err != nil {
			return err
		}
	}
	return nil
}

// newTask returns the task of the first attempt at a delivery.
func newTask(to Endpoint, event, kind string, body json.RawMessage, now time.Time) Task {
	return Task{
		Delivery: DeliveryID(event, to.ID), Project: to.Project, Endpoint: to.ID, Event: event, Type: kind,
		Body: body, Queued: now.UTC().Truncate(time.Millisecond), Attempt: 1,
	}
}
