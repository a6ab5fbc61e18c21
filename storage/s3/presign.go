package s3

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/reelmill/reelmill/storage"
)

// maxTTL is the longest life of a signature (AWS, "Signature Version 4: X-Amz-Expires").
const maxTTL = 7 * 24 * time.Hour

// PresignGet implements storage.Presigner. It makes no request.
func (s *Store) PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error) {
	sign := func(ctx context.Context, bucket, object string, ttl time.Duration) (*url.URL, error) {
		return s.public.PresignedGetObject(ctx, bucket, object, ttl, nil)
	}
	return s.presign(ctx, key, ttl, sign)
}

// PresignPut implements storage.Presigner. It makes no request.
func (s *Store) PresignPut(ctx context.Context, key string, ttl time.Duration) (string, error) {
	return s.presign(ctx, key, ttl, s.public.PresignedPutObject)
}

func (s *Store) presign(
	ctx context.Context, key string, ttl time.Duration,
	sign func(ctx context.Context, bucket, object string, ttl time.Duration) (*url.URL, error),
) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", fmt.Errorf("presign %s: %w", shown(key), err)
	}
	if ttl < time.Second || ttl > maxTTL {
		return "", fmt.Errorf("presign %s: life of %s, want 1s to %s", key, ttl, maxTTL)
	}
	u, err := sign(ctx, s.config.Bucket, s.prefix+key, ttl)
	if err != nil {
		return "", fmt.Errorf("presign %s: %w", key, err)
	}
	return u.String(), nil
}

var (
	_ storage.Store         = (*Store)(nil)
	_ storage.Presigner     = (*Store)(nil)
	_ storage.PrefixDeleter = (*Store)(nil)
	_ storage.Reclaimer     = (*Store)(nil)
)
