package guard

import (
	"context"
	"time"

	"github.com/reelmill/reelmill/storage"
)

// multipart guards a store that is a MultipartPresigner. Each of its methods may be repeated.
type multipart struct {
	g     *Guard
	inner storage.MultipartPresigner
}

// BeginMultipart implements storage.MultipartPresigner.
func (s *multipart) BeginMultipart(ctx context.Context, key string, size int64) (storage.Multipart, error) {
	return retry(ctx, s.g, s.g.config.Tries, func() (storage.Multipart, error) {
		return s.inner.BeginMultipart(ctx, key, size)
	})
}

// PresignParts implements storage.MultipartPresigner.
func (s *multipart) PresignParts(
	ctx context.Context, key string, numbers []int, ttl time.Duration,
) ([]storage.PresignedPart, error) {
	return retry(ctx, s.g, s.g.config.Tries, func() ([]storage.PresignedPart, error) {
		return s.inner.PresignParts(ctx, key, numbers, ttl)
	})
}

// ArrivedParts implements storage.MultipartPresigner.
func (s *multipart) ArrivedParts(ctx context.Context, key string) (
	m storage.Multipart, arrived []int, err error,
) {
	arrived, err = retry(ctx, s.g, s.g.config.Tries, func() (numbers []int, err error) {
		m, numbers, err = s.inner.ArrivedParts(ctx, key)
		return numbers, err
	})
	return m, arrived, err
}

// CompleteMultipart implements storage.MultipartPresigner.
func (s *multipart) CompleteMultipart(ctx context.Context, key string) (storage.Info, error) {
	return retry(ctx, s.g, s.g.config.Tries, func() (storage.Info, error) {
		return s.inner.CompleteMultipart(ctx, key)
	})
}

// AbortMultipart implements storage.MultipartPresigner.
func (s *multipart) AbortMultipart(ctx context.Context, key string) error {
	_, err := retry(ctx, s.g, s.g.config.Tries, func() (struct{}, error) {
		return struct{}{}, s.inner.AbortMultipart(ctx, key)
	})
	return err
}
