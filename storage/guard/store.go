package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/reelmill/reelmill/storage"
)

// guarded implements storage.Store around a Guard.
type guarded struct {
	g     *Guard
	inner storage.Store
}

// As passes on abilities of the wrapped store (storage.As).
func (s *guarded) As(target any) (ok bool) {
	switch t := target.(type) {
	case *storage.LocalPather:
		*t, ok = storage.As[storage.LocalPather](s.inner)
	case *storage.Presigner:
		*t, ok = storage.As[storage.Presigner](s.inner)
	case *storage.Resumable:
		var inner storage.Resumable
		if inner, ok = storage.As[storage.Resumable](s.inner); ok {
			*t = &resumable{s.g, inner}
		}
	case *storage.MultipartPresigner:
		var inner storage.MultipartPresigner
		if inner, ok = storage.As[storage.MultipartPresigner](s.inner); ok {
			*t = &multipart{s.g, inner}
		}
	}
	return ok
}

// Stat implements storage.Store.
func (s *guarded) Stat(ctx context.Context, key string) (storage.Info, error) {
	return retry(ctx, s.g, s.g.config.Tries, func() (storage.Info, error) { return s.inner.Stat(ctx, key) })
}

// Delete implements storage.Store.
func (s *guarded) Delete(ctx context.Context, key string) error {
	_, err := retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
		return struct{}{}, s.inner.Delete(ctx, key)
	})
	return err
}

// List implements storage.Store.
func (s *guarded) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		last := "" // the last key yielded
		_, err := retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
			for info, err := range s.inner.List(ctx, prefix) {
				if err != nil {
					return struct{}{}, err
				}
				if info.Key <= last {
					continue
				}
				if last = info.Key; !yield(info, nil) {
					break
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			yield(storage.Info{}, err)
		}
	}
}

// DeletePrefix implements storage.PrefixDeleter. If the store does not implement it, each deletion is guarded
// by itself.
func (s *guarded) DeletePrefix(ctx context.Context, prefix string) (total int, err error) {
	if _, ok := storage.As[storage.PrefixDeleter](s.inner); !ok {
		return storage.DeletePrefix(ctx, struct{ storage.Store }{s}, prefix)
	}
	_, err = retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
		n, err := storage.DeletePrefix(ctx, s.inner, prefix)
		total += n
		return struct{}{}, err
	})
	return total, err
}

// Reclaim implements storage.Reclaimer. A store that is no Reclaimer leaves nothing to reclaim.
func (s *guarded) Reclaim(ctx context.Context, olderThan time.Duration) (total int, err error) {
	r, ok := storage.As[storage.Reclaimer](s.inner)
	if !ok {
		return 0, ctx.Err()
	}
	_, err = retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
		n, err := r.Reclaim(ctx, olderThan)
		total += n
		return struct{}{}, err
	})
	return total, err
}

// Get implements storage.Store.
func (s *guarded) Get(
	ctx context.Context, key string, rng storage.Range,
) (io.ReadCloser, storage.Info, error) {
	r, info, err := s.open(ctx, key, rng)
	if err != nil {
		return nil, storage.Info{}, err
	}
	offset, length, err := rng.Resolve(info.Size)
	if err != nil {
		return nil, storage.Info{}, errors.Join(fmt.Errorf("get %s: %w", key, err), r.Close())
	}
	return &body{s: s, ctx: ctx, info: info, key: key, r: r, at: offset, end: offset + length}, info, nil
}

// open is Get without resuming.
func (s *guarded) open(
	ctx context.Context, key string, rng storage.Range,
) (io.ReadCloser, storage.Info, error) {
	var info storage.Info
	r, err := retry(ctx, s.g, s.g.config.Tries, func() (r io.ReadCloser, err error) {
		r, info, err = s.inner.Get(ctx, key, rng)
		return r, err
	})
	return r, info, err
}

var (
	_ storage.Store         = (*guarded)(nil)
	_ storage.PrefixDeleter = (*guarded)(nil)
	_ storage.Reclaimer     = (*guarded)(nil)
)
