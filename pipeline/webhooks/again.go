package webhooks

import (
	"context"
	"errors"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// again begins a new round, if the record is still as want says; nil: always. It writes the record first:
// what it does not queue then, a Sweeper queues.
func (s *Sender) again(ctx context.Context, project, endpoint, id string, want func(DeliveryRecord) bool,
) (DeliveryRecord, error) {
	for range maxConflicts {
		r, err := s.Records.Record(ctx, project, endpoint, id)
		if err != nil || want != nil && !want(r) {
			return r, err
		}
		now := s.Now().UTC().Truncate(time.Millisecond)
		r.Round, r.Done, r.Status, r.Reason, r.Next, r.UpdatedAt = r.Round+1, 0, Pending, "", &now, now
		err = s.Records.PutRecord(ctx, r)
		if errors.Is(err, pipeline.ErrConflict) {
			continue
		}
		if err != nil {
			return DeliveryRecord{}, err
		}
		return r, s.Queue.Push(ctx, r.taskOf())
	}
	return DeliveryRecord{}, pipeline.ErrConflict
}

// againPage is how many deliveries one task sends again.
const againPage = 100

// order does a page of an order to send deliveries again, and queues the next page before it removes the
// task. A page that is done again, since its process died, finds that those it has done are written after the
// order.
func (s *Sender) order(ctx context.Context, l Lease) error {
	t, q := l.Task(), *l.Task().Again
	e, err := s.Bucket.Endpoint(ctx, q.Project, q.Endpoint)
	if errors.Is(err, pipeline.ErrNotFound) || err == nil && !e.Enabled {
		return l.Ack(ctx) // as what is queued for it is not sent
	}
	if err != nil {
		return err
	}
	q.Limit = againPage
	page, next, err := s.Records.ListRecords(ctx, q)
	if err != nil {
		return err
	}
	for _, listed := range page {
		if err := l.Extend(ctx); err != nil {
			return err
		}
		_, err := s.again(ctx, q.Project, q.Endpoint, listed.ID, func(r DeliveryRecord) bool {
			return r.Round == listed.Round && q.Selects(r.Status, r.Type, r.CreatedAt)
		})
		if err != nil && !errors.Is(err, pipeline.ErrNotFound) { // it may be too old by now
			return err
		}
	}
	if next != "" {
		q.Cursor, t.Again, t.Attempt = next, &q, t.Attempt+1
		if err := s.Queue.PushAt(ctx, t, time.Now()); err != nil {
			return err
		}
	}
	return l.Ack(ctx)
}
