package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// What a store answers, besides the errors of its medium. They come wrapped: test with errors.Is.
var (
	// ErrNotFound: there is no object under the key.
	ErrNotFound = errors.New("object not found")
	// ErrExists: a Put with IfAbsent found an object under the key.
	ErrExists = errors.New("object exists already")
	// ErrRange: the range begins at or after the end of the object, or is negative.
	ErrRange = errors.New("range not satisfiable")
	// ErrKey: the key (or prefix) is none that ValidKey (or ValidPrefix) allows, or it takes the place
	// of a folder of other keys on a store that has folders.
	ErrKey = errors.New("invalid object key")
	// ErrSize: the reader gave more or fewer bytes than PutOptions.Size said.
	ErrSize = errors.New("object size differs from the declared size")
	// ErrFull: the medium has no room. It may have some later: retry, and answer 507.
	ErrFull = errors.New("storage is full")
	// ErrUnavailable: the store was not asked, since it failed too often just now (package guard). Retry, and
	// answer 503.
	ErrUnavailable = errors.New("storage is unavailable")
)

// Store keeps objects under keys. Every method refuses a key that fails ValidKey with ErrKey, and stops
// with the context's error when the context ends.
type Store interface {
	// Put reads r to its end and stores that under key, whole or not at all, in place of what was there.
	// The context is looked at between two reads: a Read that blocks is the caller's to unblock.
	// The Info it returns carries the SHA256. ErrExists, ErrSize, ErrFull, ErrKey; the reader's own error,
	// wrapped. After these nothing has changed. After an error of the medium (an answer lost, a folder
	// that cannot be synced) the object may be there, whole: put it again.
	Put(ctx context.Context, key string, r io.Reader, o PutOptions) (Info, error)

	// Get opens the object, or the part of it that rng names. Info.Size is the size of the whole object.
	// The caller closes the reader; the context governs it until then. ErrNotFound, ErrRange, ErrKey.
	Get(ctx context.Context, key string, rng Range) (io.ReadCloser, Info, error)

	// Stat tells of the object without opening it. ErrNotFound, ErrKey.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose key begins with prefix, in byte order of the keys. The prefix is a
	// plain string, not a folder: "a/b" matches "a/b/c" and "a/bc"; "" matches all. After an error,
	// which comes with a zero Info, the sequence ends. ErrKey when no valid key begins with prefix.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes the object. Deleting what is not there is no error. Readers that have the object
	// open read on. ErrKey.
	Delete(ctx context.Context, key string) error
}

// PutOptions say more about an object to be put. The zero value is fine.
type PutOptions struct {
	// Size in bytes, when known: a reader that gives more or fewer makes Put answer ErrSize and store
	// nothing. 0 or less: unknown, whatever comes is stored.
	Size int64
	// ContentType of the object; "" means ContentType(key). It is advice for the store that can keep it
	// (S3); a store that cannot (disk) reports ContentType(key), so use keys with proper extensions.
	ContentType string
	// IfAbsent makes Put answer ErrExists, and change nothing, when the key is taken. Of several at
	// once exactly one wins, given a server that honours If-None-Match (see storage/s3).
	IfAbsent bool
}

// Info describes an object.
type Info struct {
	Key  string
	Size int64 // bytes of the whole object
	// SHA256 of the bytes, 64 lower-case hex digits. Put sets it; Get, Stat and List leave it "".
	SHA256      string
	ContentType string
	// Modified is when the object was put, by the clock of the store; zero from a Put whose server does
	// not say.
	Modified time.Time
}

// Range is a part of an object, in bytes. The zero Range is the whole object, even an empty one.
type Range struct {
	Offset int64 // of the first byte
	Length int64 // 0: to the end; more than there is: to the end
}

// Resolve turns the range into offset and length within an object of size bytes, or says ErrRange.
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
