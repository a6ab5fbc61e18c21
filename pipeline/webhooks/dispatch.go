package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Dispatcher queues a delivery of each event to each endpoint that wants it. It holds no state but a count:
// any number may run, anywhere.
type Dispatcher struct {
	Log     pipeline.Log
	Bucket  Bucket
	Queue   Queue
	Records Records
	// PublicURL is where people reach the server, for the URLs in bodies; as in pipeline.Coordinator.
	PublicURL string

	skipped atomic.Uint64
}

// Handle dispatches events, and returns for each of them why it is not dispatched; nil when it is. The others
// must come again. One that fails does not hold up those after it. Dispatching an event again makes no second
// delivery.
func (d *Dispatcher) Handle(ctx context.Context, events []pipeline.Event) []error {
	failed := make([]error, len(events))
	endpoints, err := d.Bucket.AllEndpoints(ctx)
	for i, e := range events {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			failed[i] = fmt.Errorf("list webhook endpoints: %w", err)
			continue
		}
		if err := d.dispatch(ctx, e, endpoints); err != nil {
			failed[i] = fmt.Errorf("dispatch %s: %w", e.ID, err)
		}
	}
	return failed
}

// GiveUp ends the deliveries of an event that cannot be dispatched: each gets a record that failed and says
// why. Its body has only the ids of what the event is about, so that the record fits whatever was too large.
// Doing it again changes nothing.
func (d *Dispatcher) GiveUp(ctx context.Context, e pipeline.Event, why error) error {
	project, video, ok := addressOf(e)
	if !ok {
		return nil
	}
	endpoints, err := d.Bucket.AllEndpoints(ctx)
	if err != nil {
		return fmt.Errorf("list webhook endpoints: %w", err)
	}
	body, err := reportOf(string(e.Type), e.Time, pipeline.Gone{ID: video, Project: project})
	if err != nil {
		return err
	}
	for _, to := range endpoints {
		if !due(to, e, project) {
			continue
		}
		task := newTask(to, e.ID, string(e.Type), body, time.Now())
		task.Video = video
		r := recordOf(task, time.Now().UTC())
		r.Status, r.Reason = Failed, readable([]byte("the event could not be queued: "+why.Error()), maxAnswer)
		if err := d.Records.PutRecord(ctx, r); err != nil && !errors.Is(err, pipeline.ErrConflict) {
			return err
		}
	}
	d.skipped.Add(1)
	return nil
}

// Skipped returns how many events this process gave up. It never falls.
func (d *Dispatcher) Skipped() uint64 { return d.skipped.Load() }

// due reports whether an event of a project is to be delivered to an endpoint.
func due(to Endpoint, e pipeline.Event, project string) bool {
	return to.Project == project && e.Sequence > to.After && to.Wants(string(e.Type))
}

// dispatch queues the deliveries of one event.
func (d *Dispatcher) dispatch(ctx context.Context, e pipeline.Event, endpoints []Endpoint) error {
	project, video, ok := addressOf(e)
	if !ok {
		return nil
	}
	var body json.RawMessage
	for _, to := range endpoints {
		if !due(to, e, project) {
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

// addressOf returns whose endpoints an event may go to, and its video; "" when it is of a quota. ok is false
// for an event of neither a video nor a quota, which goes to no endpoint.
func addressOf(e pipeline.Event) (project, video string, ok bool) {
	project, video, _, err := pipeline.Address(e.Subject)
	if err == nil {
		return project, video, true
	}
	project, _, _ = pipeline.AccessAddress(e.Subject)
	return project, "", slices.Contains(pipeline.QuotaEventTypes, e.Type)
}

// newTask returns the task of the first attempt at a delivery.
func newTask(to Endpoint, event, kind string, body json.RawMessage, now time.Time) Task {
	return Task{
		Delivery: DeliveryID(event, to.ID), Project: to.Project, Endpoint: to.ID, Event: event, Type: kind,
		Body: body, Queued: now.UTC().Truncate(time.Millisecond), Attempt: 1,
	}
}
