package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// MaxEndpoints is how many endpoints a project may have.
const MaxEndpoints = 100

// Desk makes, changes and removes endpoints, and sends again what people ask for. It holds no state.
type Desk struct {
	Sender *Sender
	// LastSequence returns the sequence of the last event of the log.
	LastSequence func(ctx context.Context) (uint64, error)
}

// Create keeps a new endpoint. It gets an id, its times, and a secret if it is a Web endpoint without one.
// Only events that come later are delivered to it. ErrFull: the project has MaxEndpoints. An endpoint of
// that id that is there already is pipeline.ErrConflict.
func (d *Desk) Create(ctx context.Context, e Endpoint) (Endpoint, error) {
	all, err := d.List(ctx, e.Project)
	if err != nil {
		return Endpoint{}, err
	}
	if len(all) >= MaxEndpoints {
		return Endpoint{}, ErrFull
	}
	if e.After, err = d.LastSequence(ctx); err != nil {
		return Endpoint{}, err
	}
	if e.ID == "" {
		e.ID = pipeline.NewID("whe")
	}
	if e.Kind == Web && len(e.Secrets) == 0 {
		e.Secrets = []Secret{{Value: NewSecret()}}
	}
	e.Revision, e.CreatedAt = 0, d.now()
	e.UpdatedAt = e.CreatedAt
	return d.Sender.Bucket.PutEndpoint(ctx, e)
}

// ErrFull says that a project has as many endpoints as it may have.
var ErrFull = fmt.Errorf("the project has %d endpoints, and may have no more", MaxEndpoints)

func (d *Desk) now() time.Time { return d.Sender.Now().UTC().Truncate(time.Millisecond) }

// Delivers reports whether there is a target for endpoints of a kind.
func (d *Desk) Delivers(k Kind) bool { return d.Sender.Targets[k] != nil }

// List returns the endpoints of a project, the oldest first.
func (d *Desk) List(ctx context.Context, project string) ([]Endpoint, error) {
	all, err := d.Sender.Bucket.AllEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(all), func(e Endpoint) bool { return e.Project != project })
	slices.SortFunc(own, func(a, b Endpoint) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return own, nil
}

// Get returns an endpoint, or pipeline.ErrNotFound.
func (d *Desk) Get(ctx context.Context, project, id string) (Endpoint, error) {
	return d.Sender.Bucket.Endpoint(ctx, project, id)
}

// View returns an endpoint as it is answered.
func (d *Desk) View(ctx context.Context, e Endpoint) (EndpointView, error) {
	h, err := d.Sender.Bucket.Health(ctx, e.Project, e.ID)
	return ViewOf(e, h, d.now()), err
}

// Change lets edit change an endpoint, again if another change came in between. An endpoint that is enabled
// by it begins without failures.
func (d *Desk) Change(ctx context.Context, project, id string, edit func(*Endpoint) error) (Endpoint, error) {
	for range maxConflicts {
		e, err := d.Get(ctx, project, id)
		if err != nil {
			return Endpoint{}, err
		}
		was := e
		if err := edit(&e); err != nil {
			return Endpoint{}, err
		}
		e.UpdatedAt = d.now()
		fresh := e.Enabled && !was.Enabled || e.URL != was.URL || e.Email != was.Email || e.Subject != was.Subject
		if e.Enabled {
			e.Disabled, e.Untold = nil, false
		}
		if fresh {
			if err := d.forgive(ctx, e); err != nil {
				return Endpoint{}, err
			}
		}
		e, err = d.Sender.Bucket.PutEndpoint(ctx, e)
		if !errors.Is(err, pipeline.ErrConflict) {
			return e, err
		}
	}
	return Endpoint{}, pipeline.ErrConflict
}

// forgive forgets since when an endpoint fails.
func (d *Desk) forgive(ctx context.Context, e Endpoint) error {
	h, err := d.Sender.Bucket.Health(ctx, e.Project, e.ID)
	if err != nil || h.FailingSince.IsZero() {
		return err
	}
	h.FailingSince, h.FailedAt = time.Time{}, time.Time{}
	err = d.Sender.Bucket.PutHealth(ctx, e.Project, e.ID, h)
	if errors.Is(err, pipeline.ErrConflict) {
		return nil
	}
	return err
}

// Rotate gives a Web endpoint a new secret. The old ones sign too until overlap has passed.
func (d *Desk) Rotate(ctx context.Context, project, id string, overlap time.Duration) (Endpoint, error) {
	secret := NewSecret()
	return d.Change(ctx, project, id, func(e *Endpoint) error {
		if e.Kind != Web {
			return fmt.Errorf("an endpoint of kind %s has no secret: %w", e.Kind, pipeline.ErrState)
		}
		e.Rotate(secret, overlap, d.now())
		return nil
	})
}

// Delete removes an endpoint. What is queued for it is not sent. A missing one is pipeline.ErrNotFound.
func (d *Desk) Delete(ctx context.Context, project, id string) error {
	if _, err := d.Get(ctx, project, id); err != nil {
		return err
	}
	return d.Sender.Bucket.DeleteEndpoint(ctx, project, id)
}

// Test sends a message of a type to an endpoint at once, in one attempt, and returns the record. The
// endpoint may be disabled, and its health does not change. Without data, the type is TypeTest.
func (d *Desk) Test(ctx context.Context, project, id, kind string, data any) (DeliveryRecord, error) {
	e, err := d.Get(ctx, project, id)
	if err != nil {
		return DeliveryRecord{}, err
	}
	target := d.Sender.Targets[e.Kind]
	if target == nil {
		return DeliveryRecord{}, fmt.Errorf("this server does not deliver to endpoints of kind %s: %w", e.Kind,
			pipeline.ErrState)
	}
	body, err := reportOf(kind, d.now(), data)
	if err != nil {
		return DeliveryRecord{}, err
	}
	t := newTask(e, pipeline.NewID("evt"), kind, body, d.now())
	r := recordOf(t, d.now())
	limited, cancel := context.WithTimeout(ctx, d.Sender.Timeout)
	defer cancel()
	began, start := d.Sender.Now(), time.Now()
	o := target.Send(limited, e, t)
	if ctx.Err() != nil {
		return DeliveryRecord{}, ctx.Err()
	}
	r.add(t, o, began, time.Since(start))
	if r.Status, r.UpdatedAt = Succeeded, d.now(); !o.Accepted {
		r.Status, r.Reason = Failed, "a test has one attempt"
	}
	return r, d.Sender.Records.PutRecord(ctx, r)
}

// Deliveries returns records of an endpoint; see Records.ListRecords. A missing endpoint is
// pipeline.ErrNotFound.
func (d *Desk) Deliveries(ctx context.Context, q Query) ([]DeliveryRecord, string, error) {
	if _, err := d.Get(ctx, q.Project, q.Endpoint); err != nil {
		return nil, "", err
	}
	return d.Sender.Records.ListRecords(ctx, q)
}

// Delivery returns one record, or pipeline.ErrNotFound.
func (d *Desk) Delivery(ctx context.Context, project, endpoint, id string) (DeliveryRecord, error) {
	return d.Sender.Records.Record(ctx, project, endpoint, id)
}

// Redeliver begins a new round of attempts at a delivery, whatever became of it, with the same webhook-id.
// An endpoint that is disabled is pipeline.ErrState.
func (d *Desk) Redeliver(ctx context.Context, project, endpoint, id string) (DeliveryRecord, error) {
	if err := d.enabled(ctx, project, endpoint); err != nil {
		return DeliveryRecord{}, err
	}
	return d.Sender.again(ctx, project, endpoint, id, nil)
}

func (d *Desk) enabled(ctx context.Context, project, endpoint string) error {
	e, err := d.Get(ctx, project, endpoint)
	if err == nil && !e.Enabled {
		err = fmt.Errorf("the endpoint is disabled: %w", pipeline.ErrState)
	}
	return err
}

// RedeliverAll orders a new round for the deliveries that q selects, and returns how many. With dryRun it
// only counts. Senders do the rest, page after page, whatever becomes of this process. One that q does not
// select any more by then is left.
func (d *Desk) RedeliverAll(ctx context.Context, q Query, dryRun bool) (n int, err error) {
	if err := d.enabled(ctx, q.Project, q.Endpoint); err != nil {
		return 0, err
	}
	n, q.Cursor, err = d.Sender.Records.CountRecords(ctx, q)
	if err != nil || dryRun || n == 0 {
		return n, err
	}
	return n, d.Sender.Queue.Push(ctx, Task{
		Delivery: pipeline.NewID("run"), Project: q.Project, Endpoint: q.Endpoint, Queued: d.now(), Attempt: 1,
		Again: &q,
	})
}
