package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
)

// List implements storage.Store with a thousand keys per request. A listing does not report content types,
// so the Info has the one that the key suggests. List skips invalid keys, such as the "folders" that web
// consoles make.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := storage.ValidPrefix(prefix); err != nil {
			yield(storage.Info{}, fmt.Errorf("list: %w", err))
			return
		}
		options := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
		for object := range s.core.ListObjectsIter(ctx, s.config.Bucket, options) {
			if object.Err != nil {
				yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, s.mapError(object.Err)))
				return
			}
			info := s.info(object)
			if storage.ValidKey(info.Key) == nil && !yield(info, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil { // then the library may end a listing without an error
			yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := check(ctx, key)
	if err == nil {
		err = s.core.RemoveObject(ctx, s.config.Bucket, s.prefix+key, minio.RemoveObjectOptions{})
	}
	if err != nil && response(err).Code != minio.NoSuchKey {
		return fmt.Errorf("delete %s: %w", shown(key), s.mapError(err))
	}
	return nil
}

// DeletePrefix implements storage.PrefixDeleter with a thousand keys per request.
func (s *Store) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	var listErr error
	asked := 0
	objects := func(yield func(minio.ObjectInfo) bool) {
		for info, err := range s.List(ctx, prefix) {
			if err != nil {
				listErr = err
				return
			}
			asked++
			if !yield(minio.ObjectInfo{Key: s.prefix + info.Key}) {
				return
			}
		}
	}
	results, err := s.core.RemoveObjectsWithIter(ctx, s.config.Bucket, objects, minio.RemoveObjectsOptions{})
	if err != nil {
		return 0, fmt.Errorf("delete prefix %q: %w", prefix, err)
	}
	n := 0
	var deleteErr error
	for result := range results {
		switch {
		case result.Err == nil:
			n++
		case deleteErr == nil: // report the first; the others are still tried
			deleteErr = fmt.Errorf("%s: %w", result.ObjectName, s.mapError(result.Err))
		}
	}
	err = errors.Join(listErr, deleteErr, ctx.Err())
	if err == nil && n < asked {
		err = s.wantNone(ctx, prefix)
	}
	if err != nil {
		return n, fmt.Errorf("delete prefix %q: %w", prefix, err)
	}
	return n, nil
}

// wantNone returns an error when there is an object below the prefix. The library drops some refusals to
// delete an object, and some servers do not mention an object that was gone.
func (s *Store) wantNone(ctx context.Context, prefix string) error {
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			return err
		}
		return fmt.Errorf("the server did not delete %s", info.Key)
	}
	return nil
}

// Reclaim implements storage.Reclaimer: it aborts old uploads below the store's prefix, and removes the old
// bytes of unfinished objects, unless the state of an unfinished object names them.
func (s *Store) Reclaim(ctx context.Context, olderThan time.Duration) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	uploads := s.core.ListIncompleteUploads(ctx, s.config.Bucket, s.prefix, true)
	defer func() {
		cancel()
		for range uploads { // until the lister's goroutine ends
		}
	}()
	n := 0
	for upload := range uploads {
		if upload.Err != nil {
			return n, fmt.Errorf("reclaim: %w", s.mapError(upload.Err))
		}
		if time.Since(upload.Initiated) < olderThan {
			continue
		}
		live, err := s.named(ctx, strings.TrimPrefix(upload.Key, s.prefix), upload.UploadID)
		if err != nil {
			return n, fmt.Errorf("reclaim %s: %w", upload.Key, err)
		}
		if live {
			continue
		}
		if err := s.abort(ctx, upload.Key, upload.UploadID); err != nil {
			return n, fmt.Errorf("reclaim %s: %w", upload.Key, err)
		}
		n++
	}
	if err := ctx.Err(); err != nil {
		return n, fmt.Errorf("reclaim: %w", err)
	}
	pieces, err := s.reclaimPieces(ctx, olderThan)
	return n + pieces, err
}

// reclaimPieces removes old bytes that no state names.
func (s *Store) reclaimPieces(ctx context.Context, olderThan time.Duration) (n int, err error) {
	var named []string
	last := ""
	options := minio.ListObjectsOptions{Prefix: s.prefix + partialPrefix, Recursive: true}
	for object := range s.core.ListObjectsIter(ctx, s.config.Bucket, options) {
		if object.Err != nil {
			return n, fmt.Errorf("reclaim: %w", s.mapError(object.Err))
		}
		base, ending, _ := strings.Cut(strings.TrimPrefix(object.Key, s.prefix+partialPrefix), ".")
		if ending == "state" || ending == "presigned" || time.Since(object.LastModified) < olderThan {
			continue
		}
		if base != last {
			if named, err = s.namedPieces(ctx, s.prefix+partialPrefix+base+".state"); err != nil {
				return n, fmt.Errorf("reclaim: %w", err)
			}
			last = base
		}
		if slices.Contains(named, ending) {
			continue
		}
		if err := s.removeNames(ctx, object.Key); err != nil {
			return n, fmt.Errorf("reclaim: %w", err)
		}
		n++
	}
	if err := ctx.Err(); err != nil {
		return n, fmt.Errorf("reclaim: %w", err)
	}
	return n, nil
}

// namedPieces returns the names that a state has, without the beginning that all have.
func (s *Store) namedPieces(ctx context.Context, state string) (names []string, err error) {
	b, _, err := s.readSmall(ctx, state)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	var p partial
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	for _, piece := range p.Pieces {
		names = append(names, piece.Name)
	}
	return names, err
}
