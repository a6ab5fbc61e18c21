package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bulk"
)

// bulkPrefix comes before project and id in the subject of a bulk run.
const bulkPrefix = "$KV." + bucketControl + ".bulk."

func bulkSubject(project, id string) (string, error) {
	if !pipeline.ValidName(project) || !pipeline.ValidName(id) {
		return "", pipeline.ErrNotFound
	}
	return bulkPrefix + project + "." + id, nil
}

// bulkRuns is what BulkRuns read last.
type bulkRuns struct {
	mu   sync.Mutex
	seen uint64 // sequence of the last write that all has
	all  []bulk.Run
}

// BulkRuns implements bulk.Bucket. It reads the runs again only when one was written since, with a request
// for each.
func (b *Bus) BulkRuns(ctx context.Context) ([]bulk.Run, error) {
	last, err := b.message(ctx, streamControl, want{LastOf: bulkPrefix + ">"})
	if err != nil {
		return nil, fmt.Errorf("list bulk runs: %w", err)
	}
	if last == nil {
		return nil, nil
	}
	b.bulk.mu.Lock()
	defer b.bulk.mu.Unlock()
	if last.Sequence <= b.bulk.seen {
		return slices.Clone(b.bulk.all), nil
	}
	all, seen, err := b.readBulkRuns(ctx)
	if err != nil {
		return nil, fmt.Errorf("list bulk runs: %w", err)
	}
	b.bulk.all, b.bulk.seen = all, max(seen, last.Sequence)
	return slices.Clone(all), nil
}

// readBulkRuns reads all runs, and the sequence of the last write among them.
func (b *Bus) readBulkRuns(ctx context.Context) (runs []bulk.Run, seen uint64, err error) {
	for next := uint64(1); ; {
		m, err := b.message(ctx, streamControl, want{Sequence: next, NextOf: bulkPrefix + ">"})
		if err != nil || m == nil {
			return runs, seen, err
		}
		next, seen = m.Sequence+1, m.Sequence
		if isRemoval(m) {
			continue
		}
		r, err := decodeBulkRun(m)
		if err != nil {
			b.log.Error("skip a bulk run that cannot be read", "subject", m.Subject, "error", err)
			continue
		}
		runs = append(runs, r)
	}
}

func decodeBulkRun(m *message) (r bulk.Run, err error) {
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return r, fmt.Errorf("decode bulk run: %w", err)
	}
	r.Revision = m.Sequence
	return r, nil
}

// BulkRun implements bulk.Bucket.
func (b *Bus) BulkRun(ctx context.Context, project, id string) (bulk.Run, error) {
	subject, err := bulkSubject(project, id)
	if err != nil {
		return bulk.Run{}, err
	}
	m, err := b.message(ctx, streamControl, want{LastOf: subject})
	if err != nil {
		return bulk.Run{}, fmt.Errorf("read bulk run %s: %w", id, err)
	}
	if m == nil || isRemoval(m) {
		return bulk.Run{}, pipeline.ErrNotFound
	}
	return decodeBulkRun(m)
}

// PutBulkRun implements bulk.Bucket.
func (b *Bus) PutBulkRun(ctx context.Context, r bulk.Run) (bulk.Run, error) {
	subject, err := bulkSubject(r.Project, r.ID)
	if err != nil {
		return r, err
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return r, fmt.Errorf("encode bulk run %s: %w", r.ID, err)
	}
	revision, err := b.swapIn(ctx, streamControl, documentOn(subject, doc), r.Revision)
	if err != nil {
		return r, fmt.Errorf("store bulk run %s: %w", r.ID, err)
	}
	r.Revision = revision
	return r, nil
}

// DropBulkRun implements bulk.Bucket.
func (b *Bus) DropBulkRun(ctx context.Context, project, id string) error {
	subject, err := bulkSubject(project, id)
	if err != nil {
		return nil //nolint:nilerr // no run has such a name
	}
	_, err = b.publish(ctx, removalOf(subject), jetstream.WithExpectStream(streamControl))
	if err != nil {
		return fmt.Errorf("remove bulk run %s: %w", id, err)
	}
	return nil
}

// Load returns how many tasks of a worker type are in the queue, and how many events are not acted on yet,
// each of which may lead to a task.
func (b *Bus) Load(ctx context.Context, worker string) (int, error) {
	tasks, err := b.countFrom(ctx, "task."+worker+".>", 1)
	if err != nil {
		return 0, fmt.Errorf("count the tasks of %s: %w", worker, err)
	}
	lag, err := b.CoordinatorLag(ctx)
	if err != nil {
		return 0, err
	}
	return tasks + int(lag), nil //nolint:gosec // a log has fewer events than an int can count
}
