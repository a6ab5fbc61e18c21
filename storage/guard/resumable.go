package guard

import (
	"context"
	"io"

	"github.com/reelmill/reelmill/storage"
)

// resumable guards a store that is Resumable.
type resumable struct {
	g     *Guard
	inner storage.Resumable
}

// Begin implements storage.Resumable.
func (s *resumable) Begin(ctx context.Context, key string, size int64) error {
	_, err := retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
		return struct{}{}, s.inner.Begin(ctx, key, size)
	})
	return err
}

// Kept implements storage.Resumable.
func (s *resumable) Kept(ctx context.Context, key string) (int64, error) {
	return retry(ctx, s.g, s.g.config.Tries, func() (int64, error) { return s.inner.Kept(ctx, key) })
}

// Append implements storage.Resumable. There is one try: after a failure nobody knows what the store has
// kept, and the bytes of most readers are gone. So the caller asks Kept, and goes on from there.
func (s *resumable) Append(
	ctx context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum,
) (kept int64, err error) {
	src := &source{r: r}
	_, err = retry(ctx, s.g, 1, func() (struct{}, error) {
		var err error
		kept, err = s.inner.Append(ctx, key, offset, src, sum)
		if err != nil && src.err != nil {
			err = callersError{err}
		}
		return struct{}{}, err
	})
	return kept, err
}

// Finish implements storage.Resumable.
func (s *resumable) Finish(ctx context.Context, key string) (storage.Info, error) {
	return retry(ctx, s.g, s.g.config.Tries, func() (storage.Info, error) { return s.inner.Finish(ctx, key) })
}

// Abandon implements storage.Resumable.
func (s *resumable) Abandon(ctx context.Context, key string) error {
	_, err := retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
		return struct{}{}, s.inner.Abandon(ctx, key)
	})
	return err
}
