//go:build chaos

package node

import (
	"context"
	"io"
	"iter"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// chaosStore is a store without abilities that go past it, so that every byte goes through it. Any effect may
// kill the process, or fail before or after it happens. Bodies break off midway.
type chaosStore struct {
	store storage.Store
	chaos *chaos
}

// As passes on that the store takes objects in pieces (storage.As).
func (s chaosStore) As(target any) bool {
	t, asked := target.(*storage.Resumable)
	if !asked {
		return false
	}
	pieces, ok := storage.As[storage.Resumable](s.store)
	if ok {
		*t = chaosPieces{pieces, s.chaos}
	}
	return ok
}

// kind names a key in kill points: upload or output.
func kind(key string) string {
	if at, ok := pipeline.Locate(key); ok && at.Job == "" {
		return "source"
	}
	return "output"
}

// Put implements storage.Store.
func (s chaosStore) Put(ctx context.Context, key string, r io.Reader, o storage.PutOptions) (
	info storage.Info, err error,
) {
	if s.chaos.chance(s.chaos.StoreFail / 3) {
		r = &breaking{r: r, left: 1000}
	}
	err = s.chaos.around("store.put."+kind(key), func() error {
		return s.chaos.failing(s.chaos.StoreFail, func() error {
			info, err = s.store.Put(ctx, key, r, o)
			return err
		})
	})
	return info, err
}

// Get implements storage.Store.
func (s chaosStore) Get(ctx context.Context, key string, rng storage.Range) (
	io.ReadCloser, storage.Info, error,
) {
	s.chaos.point("store.get.before")
	if s.chaos.chance(s.chaos.StoreFail / 2) {
		return nil, storage.Info{}, errChaos
	}
	body, info, err := s.store.Get(ctx, key, rng)
	if err == nil && s.chaos.chance(s.chaos.StoreFail/2) {
		body = struct {
			io.Reader
			io.Closer
		}{&breaking{r: body, left: 1000}, body}
	}
	return body, info, err
}

// Stat implements storage.Store.
func (s chaosStore) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	if key == "readyz" { // the health check is asked for a process that is up, not for one whose store is
		return s.store.Stat(ctx, key)
	}
	err = s.chaos.failing(s.chaos.StoreFail, func() error {
		info, err = s.store.Stat(ctx, key)
		return err
	})
	return info, err
}

// List implements storage.Store.
func (s chaosStore) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if s.chaos.chance(s.chaos.StoreFail / 2) {
			yield(storage.Info{}, errChaos)
			return
		}
		cut := s.chaos.chance(s.chaos.StoreFail / 2)
		for info, err := range s.store.List(ctx, prefix) {
			if cut && err == nil {
				yield(storage.Info{}, errChaos)
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements storage.Store.
func (s chaosStore) Delete(ctx context.Context, key string) error {
	return s.chaos.around("store.delete", func() error {
		return s.chaos.failing(s.chaos.StoreFail, func() error { return s.store.Delete(ctx, key) })
	})
}

// chaosPieces is the part of a chaosStore that takes objects in pieces.
type chaosPieces struct {
	pieces storage.Resumable
	chaos  *chaos
}

// effect runs an effect that may kill the process, or fail before or after it happens.
func (s chaosPieces) effect(name string, do func() error) error {
	return s.chaos.around(name, func() error { return s.chaos.failing(s.chaos.StoreFail, do) })
}

// Begin implements storage.Resumable.
func (s chaosPieces) Begin(ctx context.Context, key string, size int64) error {
	return s.effect("store.begin", func() error { return s.pieces.Begin(ctx, key, size) })
}

// Kept implements storage.Resumable.
func (s chaosPieces) Kept(ctx context.Context, key string) (kept int64, err error) {
	err = s.chaos.failing(s.chaos.StoreFail, func() error {
		kept, err = s.pieces.Kept(ctx, key)
		return err
	})
	return kept, err
}

// Append implements storage.Resumable.
func (s chaosPieces) Append(
	ctx context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum,
) (kept int64, err error) {
	if s.chaos.chance(s.chaos.StoreFail / 3) {
		r = &breaking{r: r, left: 1000}
	}
	err = s.effect("store.append", func() error {
		kept, err = s.pieces.Append(ctx, key, offset, r, sum)
		return err
	})
	return kept, err
}

// Finish implements storage.Resumable.
func (s chaosPieces) Finish(ctx context.Context, key string) (info storage.Info, err error) {
	err = s.effect("store.finish", func() error {
		info, err = s.pieces.Finish(ctx, key)
		return err
	})
	return info, err
}

// Abandon implements storage.Resumable.
func (s chaosPieces) Abandon(ctx context.Context, key string) error {
	return s.effect("store.abandon", func() error { return s.pieces.Abandon(ctx, key) })
}

// breaking is a body that fails after some bytes.
type breaking struct {
	r    io.Reader
	left int
}

// Read implements io.Reader.
func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errChaos
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
