package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
)

// usePrefix comes before the id of an API key in the subject of its last use.
const usePrefix = "$KV." + bucketControl + ".used."

// useReaders is how many requests for last uses are under way at once.
const useReaders = 16

// NoteKeyUse implements access.UseBucket. The note that is written last counts.
func (b *Bus) NoteKeyUse(ctx context.Context, key string, at time.Time) error {
	if !pipeline.ValidName(key) {
		return fmt.Errorf("note the use of key %q: %w", key, pipeline.ErrNotFound)
	}
	doc, err := json.Marshal(at.UTC().Truncate(time.Second))
	if err == nil {
		_, err = b.publish(ctx, documentOn(usePrefix+key, doc), jetstream.WithExpectStream(streamControl))
	}
	if err != nil {
		return fmt.Errorf("note the use of key %s: %w", key, err)
	}
	return nil
}

// KeyUses implements access.UseBucket. It makes a request for each key.
func (b *Bus) KeyUses(ctx context.Context, keys []string) (map[string]time.Time, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(useReaders)
	var mu sync.Mutex
	used := map[string]time.Time{}
	for _, key := range keys {
		g.Go(func() error {
			m, err := b.message(ctx, streamControl, want{LastOf: usePrefix + key})
			if err != nil || m == nil {
				return err
			}
			var at time.Time
			if err := json.Unmarshal(m.Data, &at); err != nil {
				return fmt.Errorf("decode the use of key %s: %w", key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			used[key] = at
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read when keys were used: %w", err)
	}
	return used, nil
}
