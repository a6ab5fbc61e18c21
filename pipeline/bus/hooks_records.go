package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// The headers of a record repeat what lists select by, so that a list reads no bodies but those of its
// page.
const (
	recordStatus  = "Reelmill-Status"
	recordType    = "Reelmill-Type"
	recordCreated = "Reelmill-Created"
)

// recordPrefix begins the subjects of records. Those of the attempts end as they do (hookSubject).
const recordPrefix = "delivery."

func recordSubject(project, endpoint, id string) string {
	return recordPrefix + project + "." + endpoint + "." + id
}

// Record implements webhooks.Records.
func (h *Hooks) Record(ctx context.Context, project, endpoint, id string) (webhooks.DeliveryRecord, error) {
	for _, name := range []string{project, endpoint, id} {
		if !pipeline.ValidName(name) {
			return webhooks.DeliveryRecord{}, pipeline.ErrNotFound
		}
	}
	m, err := h.b.message(ctx, streamDeliveries, want{LastOf: recordSubject(project, endpoint, id)})
	switch {
	case err != nil:
		return webhooks.DeliveryRecord{}, fmt.Errorf("read webhook delivery %s: %w", id, err)
	case m == nil:
		return webhooks.DeliveryRecord{}, pipeline.ErrNotFound
	}
	return decodeRecord(m)
}

func decodeRecord(m *message) (r webhooks.DeliveryRecord, err error) {
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return r, fmt.Errorf("decode webhook delivery: %w", err)
	}
	r.Revision = m.Sequence
	return r, nil
}

// PutRecord implements webhooks.Records.
func (h *Hooks) PutRecord(ctx context.Context, r webhooks.DeliveryRecord) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode webhook delivery %s: %w", r.ID, err)
	}
	m := documentOn(recordSubject(r.Project, r.Endpoint, r.ID), doc)
	m.Header.Set(recordStatus, string(r.Status))
	m.Header.Set(recordType, r.Type)
	m.Header.Set(recordCreated, r.CreatedAt.UTC().Format(time.RFC3339Nano))
	if _, err := h.b.swapIn(ctx, streamDeliveries, m, r.Revision); err != nil {
		return fmt.Errorf("keep webhook delivery %s: %w", r.ID, err)
	}
	return nil
}

// ListRecords implements webhooks.Records. It reads the headers of all records of the endpoint that were
// written since q.After, of which there are as many as the stream keeps. A cursor is a sequence of the
// stream.
//
// Not guaranteed: a record that is written while pages are read comes on none of the later ones.
func (h *Hooks) ListRecords(
	ctx context.Context, q webhooks.Query,
) ([]webhooks.DeliveryRecord, string, error) {
	before := uint64(0)
	if q.Cursor != "" {
		var err error
		if before, err = strconv.ParseUint(q.Cursor, 10, 64); err != nil || before == 0 {
			return nil, "", webhooks.ErrCursor
		}
	}
	found, err := h.scanRecords(ctx, q, before)
	if err != nil {
		return nil, "", fmt.Errorf("list webhook deliveries of %s: %w", q.Endpoint, err)
	}
	slices.SortFunc(found, func(a, b uint64) int { return cmp.Compare(b, a) })
	next := ""
	if len(found) > q.Limit {
		found = found[:q.Limit]
		next = strconv.FormatUint(found[q.Limit-1], 10)
	}
	records := make([]webhooks.DeliveryRecord, 0, len(found))
	for _, sequence := range found {
		m, err := h.b.message(ctx, streamDeliveries, want{Sequence: sequence})
		if err != nil {
			return nil, "", fmt.Errorf("list webhook deliveries of %s: %w", q.Endpoint, err)
		}
		if m == nil {
			continue // it was written again since, so it is at the head of the list
		}
		r, err := decodeRecord(m)
		if err != nil {
			h.b.log.Error("skip a webhook delivery that cannot be read", "subject", m.Subject, "error", err)
			continue
		}
		records = append(records, r)
	}
	return records, next, nil
}

// CountRecords implements webhooks.Records.
func (h *Hooks) CountRecords(ctx context.Context, q webhooks.Query) (n int, cursor string, err error) {
	found, err := h.scanRecords(ctx, q, 0)
	if err != nil || len(found) == 0 {
		return 0, "", err
	}
	return len(found), strconv.FormatUint(slices.Max(found)+1, 10), nil
}

// scanRecords returns the sequences of the selected records, of those below before if that is not 0.
func (h *Hooks) scanRecords(ctx context.Context, q webhooks.Query, before uint64,
) (found []uint64, err error) {
	if !pipeline.ValidName(q.Project) || !pipeline.ValidName(q.Endpoint) {
		return nil, nil
	}
	config := jetstream.ConsumerConfig{
		Description: "List of webhook deliveries", FilterSubject: recordSubject(q.Project, q.Endpoint, ">"),
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	if !q.After.IsZero() { // a record is written after its delivery was made
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &q.After
	}
	err = h.scanHeaders(ctx, config, func(m jetstream.Msg, meta *jetstream.MsgMetadata) bool {
		if selects(q, m.Headers()) && (before == 0 || meta.Sequence.Stream < before) {
			found = append(found, meta.Sequence.Stream)
		}
		return true
	})
	return found, err
}

// scanHeaders calls take with the headers of the records that a consumer selects, in the order in which they
// were written, until take returns false.
func (h *Hooks) scanHeaders(ctx context.Context, config jetstream.ConsumerConfig,
	take func(m jetstream.Msg, meta *jetstream.MsgMetadata) bool,
) error {
	config.AckPolicy, config.MemoryStorage, config.Replicas = jetstream.AckNonePolicy, true, 1
	config.HeadersOnly, config.InactiveThreshold = true, time.Minute
	var c jetstream.Consumer
	err := h.b.patiently(ctx, func(ctx context.Context) (err error) {
		c, err = h.b.js.CreateConsumer(ctx, streamDeliveries, config)
		return err
	})
	if err != nil {
		return err
	}
	defer h.dropConsumer(ctx, c)
	for left := c.CachedInfo().NumPending; left > 0; {
		var more bool
		if left, more, err = scanSome(ctx, c, left, take); err != nil || !more {
			return err
		}
	}
	return nil
}

// scanSome reads some of the headers that are left. more is false when take wants no more.
func scanSome(ctx context.Context, c jetstream.Consumer, left uint64,
	take func(jetstream.Msg, *jetstream.MsgMetadata) bool,
) (still uint64, more bool, err error) {
	limited, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := c.Fetch(int(min(left, recordBatch)), jetstream.FetchContext(limited))
	if err != nil {
		return 0, false, err
	}
	more = true
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return 0, false, err
		}
		left = meta.NumPending
		more = more && take(m, meta)
	}
	return left, more, batch.Error()
}

// recordBatch is how many headers of records are read at once.
const recordBatch = 1000

// selects reports whether a record is selected, by its headers.
func selects(q webhooks.Query, head nats.Header) bool {
	created, err := time.Parse(time.RFC3339Nano, head.Get(recordCreated))
	return err == nil && q.Selects(webhooks.Status(head.Get(recordStatus)), head.Get(recordType), created)
}

// dropConsumer deletes a consumer if the server answers quickly. Otherwise the server deletes it by itself.
func (h *Hooks) dropConsumer(ctx context.Context, c jetstream.Consumer) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := h.b.js.DeleteConsumer(limited, streamDeliveries, c.CachedInfo().Name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		h.b.log.Debug("delete the consumer of a list", "error", err)
	}
}
