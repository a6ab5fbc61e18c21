package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// Announce says that the process name is there, with a document on what it can do. It is forgotten after 30
// s, so it is said again every 10 s or so.
func (b *Bus) Announce(ctx context.Context, name string, doc []byte) error {
	if !pipeline.ValidName(name) {
		return fmt.Errorf("announce: unusable name %q", name)
	}
	put := func() error {
		kv, err := b.js.KeyValue(ctx, bucketWorkers)
		if err == nil {
			_, err = kv.Put(ctx, name, doc)
		}
		return err
	}
	err := put()
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		// A single server that was restarted under us has lost what it kept in memory.
		if err := b.ensureVolatile(ctx); err != nil {
			return err
		}
		err = put()
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", name, err)
	}
	return nil
}

// Workers returns the documents of the processes that are there, by name.
func (b *Bus) Workers(ctx context.Context) (map[string][]byte, error) {
	workers := map[string][]byte{}
	kv, err := b.js.KeyValue(ctx, bucketWorkers)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return workers, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	watch, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	defer watch.Stop() //nolint:errcheck // it fails when the connection is closed, and then is gone too
	for {
		select {
		case entry, ok := <-watch.Updates():
			if entry == nil || !ok {
				return workers, nil // nil marks the end of what is there
			}
			workers[entry.Key()] = entry.Value()
		case <-ctx.Done():
			return nil, fmt.Errorf("list workers: %w", ctx.Err())
		}
	}
}

// ensureVolatile creates what is kept in memory.
func (b *Bus) ensureVolatile(ctx context.Context) error {
	for _, want := range b.streams() {
		if want.Storage != jetstream.MemoryStorage {
			continue
		}
		if _, err := b.ensureStream(ctx, want); err != nil {
			return err
		}
	}
	return nil
}
