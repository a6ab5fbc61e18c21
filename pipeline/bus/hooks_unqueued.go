package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// Unqueued implements webhooks.Leftovers.
func (h *Hooks) Unqueued(ctx context.Context, after uint64, before time.Time) (
	records []webhooks.DeliveryRecord, seen uint64, err error,
) {
	pending, seen, err := h.scanPending(ctx, after, before)
	if err != nil {
		return nil, after, fmt.Errorf("look for pending webhook deliveries: %w", err)
	}
	if len(pending) == 0 {
		return nil, seen, nil
	}
	queued, err := h.b.subjects(ctx, streamHookTasks, ">")
	if err != nil {
		return nil, after, fmt.Errorf("list webhook deliveries that are queued: %w", err)
	}
	for _, p := range pending {
		due, later := "hook."+p.address, "hookretry."+p.address
		if queued[due] > 0 || queued[later] > 0 {
			continue
		}
		r, err := h.unqueued(ctx, p.sequence, due, later)
		if err != nil {
			return nil, after, fmt.Errorf("look for a webhook delivery that is queued: %w", err)
		}
		if r != nil {
			records = append(records, *r)
		}
	}
	return records, seen, nil
}

// pendingRecord is where a pending record is, and the end of the subjects of its attempts.
type pendingRecord struct {
	sequence uint64
	address  string
}

// scanPending returns the pending records that were written after a sequence and before a time, and the
// sequence up to which it looked.
func (h *Hooks) scanPending(ctx context.Context, after uint64, before time.Time) (
	found []pendingRecord, seen uint64, err error,
) {
	stream, err := h.b.js.Stream(ctx, streamDeliveries)
	if err != nil {
		return nil, after, err
	}
	last := stream.CachedInfo().State.LastSeq
	switch {
	case last == after:
		return nil, after, nil
	case last < after: // the stream was made anew
		after = 0
	}
	config := jetstream.ConsumerConfig{
		Description: "Pending webhook deliveries", DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq: after + 1,
	}
	seen = after
	err = h.scanHeaders(ctx, config, func(m jetstream.Msg, meta *jetstream.MsgMetadata) bool {
		if !meta.Timestamp.Before(before) {
			return false
		}
		seen = meta.Sequence.Stream
		if webhooks.Status(m.Headers().Get(recordStatus)) == webhooks.Pending {
			found = append(found, pendingRecord{seen, strings.TrimPrefix(m.Subject(), recordPrefix)})
		}
		return true
	})
	return found, seen, err
}

// unqueued returns the record with a sequence if no attempt at it is queued; nil if there is one, or the
// record was written again since. An attempt that is due replaces one for later, and the other way round, so
// it looks for that for later on both sides of the other.
func (h *Hooks) unqueued(ctx context.Context, sequence uint64, due, later string) (
	*webhooks.DeliveryRecord, error,
) {
	for _, subject := range []string{later, due, later} {
		m, err := h.b.message(ctx, streamHookTasks, want{LastOf: subject})
		if err != nil || m != nil {
			return nil, err
		}
	}
	m, err := h.b.message(ctx, streamDeliveries, want{Sequence: sequence})
	if err != nil || m == nil {
		return nil, err
	}
	r, err := decodeRecord(m)
	if err != nil {
		h.b.log.Error("skip a webhook delivery that cannot be read", "subject", m.Subject, "error", err)
		return nil, nil // nobody can ever deliver it
	}
	return &r, nil
}
