package access

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// UseBucket keeps when keys were last used; bus.Bus is one. It is no log: losing it loses no right.
type UseBucket interface {
	// NoteKeyUse notes that a key was used at a time.
	NoteKeyUse(ctx context.Context, key string, at time.Time) error
	// KeyUses returns when keys were last used; keys that never were are missing.
	KeyUses(ctx context.Context, keys []string) (map[string]time.Time, error)
}

// useEvery is how often a process notes the use of a key at most.
const useEvery = time.Minute

// maxUnwritten is how many notes may wait to be written. Further ones are left out.
const maxUnwritten = 1024

// Uses notes when keys were last used, to a minute. NewUses makes one. Its methods may be called from many
// goroutines.
type Uses struct {
	bucket UseBucket
	noted  sync.Map // by key: the time of the last note, as an *atomic.Int64 in ns
	due    chan use
}

// use is a note that is not written yet.
type use struct {
	key string
	at  time.Time
}

// NewUses returns a Uses that writes to a bucket while Run runs.
func NewUses(bucket UseBucket) *Uses {
	return &Uses{bucket: bucket, due: make(chan use, maxUnwritten)}
}

// Note notes that a key is used now. It does not block, and writes once a minute at most. A nil Uses notes
// nothing, and of a credential without a key there is nothing to note.
func (u *Uses) Note(key string) {
	if u == nil || key == "" {
		return
	}
	now := time.Now()
	noted, known := u.noted.Load(key)
	if !known {
		noted, _ = u.noted.LoadOrStore(key, new(atomic.Int64))
	}
	last, _ := noted.(*atomic.Int64)
	before := last.Load()
	if now.UnixNano()-before < int64(useEvery) || !last.CompareAndSwap(before, now.UnixNano()) {
		return
	}
	select {
	case u.due <- use{key, now}:
	default:
		last.Store(before) // the next use tries again
	}
}

// Run writes what is noted until ctx ends, and then returns nil. A note that cannot be written is left out,
// and log says so.
func (u *Uses) Run(ctx context.Context, log *slog.Logger) error {
	failures := pipeline.Recurring{Logger: log}
	const what = "note that an API key is used"
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-u.due:
			switch err := u.bucket.NoteKeyUse(ctx, d.key, d.at); {
			case err == nil:
				failures.Works(what)
			case ctx.Err() == nil:
				failures.Failed(what, "key", d.key, "error", err)
			}
		}
	}
}

// Fill sets when keys were last used.
func (u *Uses) Fill(ctx context.Context, keys []Key) error {
	if u == nil {
		return nil
	}
	return FillUses(ctx, u.bucket, keys)
}

// FillUses sets when keys were last used.
func FillUses(ctx context.Context, bucket UseBucket, keys []Key) error {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	used, err := bucket.KeyUses(ctx, ids)
	if err != nil {
		return err
	}
	for i, k := range keys {
		if at, ok := used[k.ID]; ok {
			keys[i].LastUsedAt = &at
		}
	}
	return nil
}
