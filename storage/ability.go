package storage

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// LocalPather is a store whose objects are files on this machine.
type LocalPather interface {
	// LocalPath returns an absolute path under which the object can be read, and read only: writing
	// there breaks what Put promises. ok is false when there is no such object here.
	LocalPath(key string) (path string, ok bool)
}

// Presigner is a store that can let somebody read or write one object without our credentials.
type Presigner interface {
	// PresignGet returns a URL that serves a GET of the object, which need not exist yet, for ttl: from
	// one second to seven days.
	PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error)
	// PresignPut returns a URL that takes one PUT of the object. Neither size, hash nor absence is
	// checked by anyone: stat and hash the object before believing in it.
	PresignPut(ctx context.Context, key string, ttl time.Duration) (string, error)
}

// PrefixDeleter is a store that deletes many objects faster than one by one.
type PrefixDeleter interface {
	// DeletePrefix is the function of the same name; call that.
	DeletePrefix(ctx context.Context, prefix string) (int, error)
}

// Reclaimer is a store in which a killed Put leaves something that takes room but is no object: a
// temporary file, the parts of an upload. The janitor calls it.
type Reclaimer interface {
	// Reclaim removes what was begun longer than olderThan ago and never finished, and tells how many.
	// On S3, where no one can tell a live upload of another process from a dead one, olderThan must be
	// longer than any Put may take; 24 h is a good value.
	Reclaim(ctx context.Context, olderThan time.Duration) (int, error)
}

// DeletePrefix deletes every object whose key begins with prefix, and tells how many it deleted, also
// when it stopped at an error. The prefix must end in a slash, so that "videos/a/" never takes
// "videos/ab/" along, and an empty one never takes everything; else ErrKey. It can be repeated.
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
