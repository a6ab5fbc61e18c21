package webhooks

import (
	"context"
	"errors"
	"time"
)

// Bucket keeps endpoints.
type Bucket interface {
	// AllEndpoints returns the endpoints of all projects, and sees every write that returned before.
	AllEndpoints(ctx context.Context) ([]Endpoint, error)
	// Endpoint returns one endpoint, or pipeline.ErrNotFound.
	Endpoint(ctx context.Context, project, id string) (Endpoint, error)
	// PutEndpoint writes e if its Revision is that of the last write (0: there is none), and returns it with
	// its new Revision; otherwise pipeline.ErrConflict.
	PutEndpoint(ctx context.Context, e Endpoint) (Endpoint, error)
	// DeleteEndpoint removes an endpoint and its health; a missing one is no error.
	DeleteEndpoint(ctx context.Context, project, id string) error
	// Health returns the health of an endpoint; the zero Health when none is kept.
	Health(ctx context.Context, project, id string) (Health, error)
	// PutHealth writes h as PutEndpoint writes an endpoint.
	PutHealth(ctx context.Context, project, id string, h Health) error
}

// Queue holds tasks.
type Queue interface {
	// Push queues a task for now. Pushing the same attempt again within minutes does nothing.
	Push(ctx context.Context, t Task) error
	// PushAt queues a task for a time. A later call for the same delivery replaces it until then.
	PushAt(ctx context.Context, t Task, at time.Time) error
	// Take waits for tasks and returns 1 to most of them, leased to this process. It returns ctx.Err() when
	// ctx ends.
	Take(ctx context.Context, most int) ([]Lease, error)
}

// Lease is a task that this process has taken.
type Lease interface {
	Task() Task
	Extend(ctx context.Context) error // renews the lease
	Ack(ctx context.Context) error    // removes the task
	// Return makes the task be delivered again after the delay.
	Return(ctx context.Context, delay time.Duration) error
}

// Records keeps what is known of deliveries.
type Records interface {
	// Record returns a record, or pipeline.ErrNotFound.
	Record(ctx context.Context, project, endpoint, id string) (DeliveryRecord, error)
	// PutRecord writes r if its Revision is that of the last write (0: there is none), otherwise
	// pipeline.ErrConflict.
	PutRecord(ctx context.Context, r DeliveryRecord) error
	// ListRecords returns the records that q selects, those written last first, and the cursor of the next
	// page; "" on the last one.
	ListRecords(ctx context.Context, q Query) ([]DeliveryRecord, string, error)
	// CountRecords returns how many records q selects, and a cursor from which a list has these, and none that
	// is written later.
	CountRecords(ctx context.Context, q Query) (n int, cursor string, err error)
}

// ErrCursor says that a cursor is not one that ListRecords returned.
var ErrCursor = errors.New("the cursor is invalid")

// Query selects records of an endpoint.
type Query struct {
	Project  string    `json:"project"`
	Endpoint string    `json:"endpoint"`
	Status   []Status  `json:"status,omitempty"` // none: all
	Types    []string  `json:"types,omitempty"`  // of events; none: all
	After    time.Time `json:"after,omitzero"`   // when the delivery was made: After <= t < Before
	Before   time.Time `json:"before,omitzero"`  // zero: no bound
	Limit    int       `json:"limit"`
	Cursor   string    `json:"cursor,omitempty"` // of the previous page
}

// Selects reports whether a record with these properties is selected.
func (q Query) Selects(status Status, kind string, created time.Time) bool {
	return selected(q.Status, status) && selected(q.Types, kind) &&
		(q.After.IsZero() || !created.Before(q.After)) && (q.Before.IsZero() || created.Before(q.Before))
}

// selected reports whether a list is empty or has v.
func selected[T comparable](list []T, v T) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return len(list) == 0
}
