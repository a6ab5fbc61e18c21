package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Errors of every store, besides those of its medium. They come wrapped: test with errors.Is.
var (
	// ErrNotFound: no object has this key.
	ErrNotFound = errors.New("object not found")
	// ErrExists: a Put with IfAbsent found an object under the key.
	ErrExists = errors.New("object exists already")
	// ErrRange: the range begins at or after the end of the object, or is negative.
	ErrRange = errors.New("range not satisfiable")
	// ErrKey: ValidKey refuses the key (or ValidPrefix the prefix), or the key is the name of a folder of
	// other keys on a store that has folders.
	ErrKey = errors.New("invalid object key")
	// ErrSize: the reader gave more or fewer bytes than PutOptions.Size.
	ErrSize = errors.New("object size differs from the declared size")
	// ErrFull: the medium has no space left. It may have some later: retry, and answer 507.
	ErrFull = errors.New("storage is full")
	// ErrUnavailable: the store failed too often just now, so it was not asked (package guard). Retry, and
	// answer 503.
	ErrUnavailable = errors.New("storage is unavailable")
)

// Store keeps objects under keys. Every method refuses a key that fails ValidKey with ErrKey, and returns
// the context's error when the context ends.
type Store interface {
	// Put reads r to its end and stores the bytes under key, all or nothing, replacing what was there. It
	// checks the context between two reads: the caller must unblock a Read that hangs. The returned Info
	// has the SHA256. Put fails with ErrExists, ErrSize, ErrFull, ErrKey or the reader's own error,
	// wrapped; after these the key is unchanged. After an error of the medium (a lost answer, a folder that
	// cannot be synced) the whole object may be stored: put it again.
	Put(ctx context.Context, key string, r io.Reader, o PutOptions) (Info, error)

	// Get opens the object, or the part that rng selects. Info.Size is the size of the whole object. The
	// caller closes the reader; until then the context governs it. ErrNotFound, ErrRange, ErrKey.
	Get(ctx context.Context, key string, rng Range) (io.ReadCloser, Info, error)

	// Stat describes the object without opening it. ErrNotFound, ErrKey.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose key begins with prefix, in byte order of the keys. The prefix is a
	// plain string, not a folder: "a/b" matches "a/b/c" and "a/bc"; "" matches all. An error comes with a
	// zero Info and ends the sequence. ErrKey if no valid key can begin with prefix.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes the object. Deleting a missing object is not an error. Open readers of the object can
	// read on. ErrKey.
	Delete(ctx context.Context, key string) error
}

// PutOptions are the options of Put. The zero value is valid.
type PutOptions struct {
	// Size in bytes, if known: when the reader gives more or fewer, Put returns ErrSize and stores nothing.
	// 0 or less means unknown: Put stores what comes.
	Size int64
	// ContentType of the object; "" means ContentType(key). Only S3 keeps it; the disk always reports
	// ContentType(key), so use keys with proper extensions.
	ContentType string
	// IfAbsent makes Put return ErrExists, and change nothing, when the key is taken. Of several concurrent
	// Puts exactly one wins, if the server honours If-None-Match (see storage/s3).
	IfAbsent bool
}

// Info describes an object.
type Info struct {
	Key  string
	Size int64 // bytes of the whole object
	// SHA256 of the bytes, 64 lower-case hex digits. Put sets it; Get, Stat and List leave it "".
	SHA256      string
	ContentType string
	// Modified is when the object was put, by the clock of the store. It is zero after a Put if the server
	// does not report it.
	Modified time.Time
}

// Range is a part of an object, in bytes. The zero Range is the whole object, even an empty one.
type Range struct {
	Offset int64 // of the first byte
	Length int64 // 0, or more than is left: to the end
}

// Resolve returns the offset and length that the range has in an object of size bytes, or ErrRange.
func (r Range) Resolve(size int64) (offset, length int64, err error) {
	if r == (Range{}) {
		return 0, size, nil
	}
	if r.Offset < 0 || r.Length < 0 || r.Offset >= size {
		return 0, 0, fmt.Errorf("bytes %d+%d of %d: %w", r.Offset, r.Length, size, ErrRange)
	}
	left := size - r.Offset
	if r.Length == 0 || r.Length > left {
		return r.Offset, left, nil
	}
	return r.Offset, r.Length, nil
}
