package storage

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// LocalPather is a store whose objects are files on this machine.
type LocalPather interface {
	// LocalPath returns an absolute path at which the object can be read. The path is read-only: writing to
	// it breaks what Put promises. ok is false when the object does not exist.
	LocalPath(key string) (path string, ok bool)
}

// Presigner is a store that can give others access to one object without sharing our credentials.
type Presigner interface {
	// PresignGet returns a URL that serves a GET of the object for ttl, from one second to seven days. The
	// object need not exist yet.
	PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error)
	// PresignPut returns a URL that accepts one PUT of the object. Nobody checks its size, its hash, or
	// whether the key is free: stat and hash the object before you trust it.
	PresignPut(ctx context.Context, key string, ttl time.Duration) (string, error)
}

// PrefixDeleter is a store that has a faster way to delete many objects than one by one.
type PrefixDeleter interface {
	// DeletePrefix implements the function DeletePrefix; call that.
	DeletePrefix(ctx context.Context, prefix string) (int, error)
}

// Reclaimer is a store in which a killed Put leaves something that uses space but is not an object: a
// temporary file, the parts of an upload. The janitor calls it.
type Reclaimer interface {
	// Reclaim removes unfinished writes that began more than olderThan ago and returns how many it removed.
	// S3 cannot tell a live upload of another process from a dead one, so there olderThan must be longer
	// than any Put may take; 24 h is a good value.
	Reclaim(ctx context.Context, olderThan time.Duration) (int, error)
}

// DeletePrefix deletes every object whose key begins with prefix and returns how many it deleted, even when
// it stops at an error. The prefix must end in a slash, so that "videos/a/" never matches "videos/ab/"; an
// empty prefix is refused. Both errors are ErrKey. Calling it again is safe.
func DeletePrefix(ctx context.Context, s Store, prefix string) (int, error) {
	if !strings.HasSuffix(prefix, "/") {
		return 0, fmt.Errorf("delete prefix %q: want a slash at the end: %w", prefix, ErrKey)
	}
	if d, ok := s.(PrefixDeleter); ok {
		return d.DeletePrefix(ctx, prefix)
	}
	n := 0
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			return n, err
		}
		if err := s.Delete(ctx, info.Key); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
