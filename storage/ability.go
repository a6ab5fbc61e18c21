package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
)

// As returns the ability T of a store, such as Resumable, and whether the store has it. A store has it if it
// implements T. So does a store that wraps another one and passes the ability on: its method
// As(target any) bool sets the *T in target and returns true.
func As[T any](s Store) (ability T, ok bool) {
	if ability, ok = s.(T); ok {
		return ability, true
	}
	wrapper, ok := s.(interface{ As(target any) bool })
	return ability, ok && wrapper.As(&ability)
}

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

// Errors of a Resumable, besides those of every store. They come wrapped: test with errors.Is.
var (
	// ErrOffset: Append got an offset other than the number of bytes kept.
	ErrOffset = errors.New("offset differs from the bytes kept")
	// ErrChecksum: the bytes of an Append do not have the checksum that came with them.
	ErrChecksum = errors.New("checksum differs")
	// ErrBusy: another call, perhaps of another process, writes this unfinished object.
	ErrBusy = errors.New("another write of the object is under way")
)

// Resumable is a store that takes an object in pieces, over many requests, restarts and power cuts. The
// unfinished object of a key is not an object: Get, Stat and List do not see it until Finish. It stays until
// Finish or Abandon, so whoever begins one keeps a note of it. Calls for different keys do not wait for each
// other.
type Resumable interface {
	// Begin makes the unfinished object of a key, without any bytes. size is the number of bytes that will
	// come; 0 if it is unknown. If there is one already, Begin leaves it as it is. ErrKey.
	Begin(ctx context.Context, key string, size int64) error

	// Kept returns how many bytes of the unfinished object are kept. ErrNotFound without one, ErrKey.
	Kept(ctx context.Context, key string) (int64, error)

	// Append reads r to its end, and returns how many bytes of the unfinished object are kept now: all of
	// these survive a power cut. offset must be what Kept returns, or nothing is read and the error is
	// ErrOffset. If r fails, or ctx ends, Append keeps what came before and returns the error, wrapped. With a
	// checksum it keeps all bytes of r or, when they differ, none: ErrChecksum. ErrNotFound, ErrBusy, ErrFull,
	// ErrKey.
	Append(ctx context.Context, key string, offset int64, r io.Reader, sum *Checksum) (kept int64, err error)

	// Finish makes an object of the bytes kept, durable like that of a Put, and returns its Info, with the
	// SHA256. It may be repeated: the object of a finished key has the same Info. ErrSize, if Begin named
	// another size; ErrNotFound, ErrBusy, ErrFull, ErrKey.
	Finish(ctx context.Context, key string) (Info, error)

	// Abandon removes the unfinished object. Without one it does nothing. ErrBusy, ErrKey.
	Abandon(ctx context.Context, key string) error
}

// Checksum is what the bytes of an Append must hash to.
type Checksum struct {
	Hash hash.Hash // a new one; Append writes the bytes into it
	Want []byte
}

// MultipartPresigner is a store to which a client can send the parts of an object itself, over URLs, without
// our credentials. Begin it, hand out URLs, ask what has arrived, and complete it. The unfinished object is
// not an object: Get, Stat and List do not see it. It stays until CompleteMultipart or AbortMultipart, so
// whoever begins one keeps a note of it. It is apart from the unfinished object of Resumable: use one of the
// two for a key.
type MultipartPresigner interface {
	// BeginMultipart begins the upload of an object of size bytes, at least 1. If there is one already for the
	// key, with the same size, it returns that one. ErrSize, if it has another size, or the store cannot take
	// so much; ErrKey.
	BeginMultipart(ctx context.Context, key string, size int64) (Multipart, error)

	// PresignParts returns URLs for parts, in the order of their numbers given. Each accepts PUTs of exactly
	// the bytes of its part for ttl, from one second to seven days. A part may be sent again: the last one
	// counts. ErrRange for a number that no part has, ErrNotFound without an upload, ErrKey.
	PresignParts(ctx context.Context, key string, numbers []int, ttl time.Duration) ([]PresignedPart, error)

	// ArrivedParts returns the numbers of the parts that the store has whole, in ascending order.
	// ErrNotFound without an upload, ErrKey.
	ArrivedParts(ctx context.Context, key string) (Multipart, []int, error)

	// CompleteMultipart makes the object of its parts and returns its Info. Nobody has read the bytes, so
	// SHA256 is "": call Sum. It may be repeated. ErrSize, if a part is missing or has another size, and
	// ErrBusy, if one was sent again meanwhile; the upload then goes on. ErrNotFound without an upload and
	// without an object, ErrKey.
	CompleteMultipart(ctx context.Context, key string) (Info, error)

	// AbortMultipart removes the upload and its parts; its URLs accept nothing any more. Without one it does
	// nothing. ErrBusy, ErrKey.
	AbortMultipart(ctx context.Context, key string) error
}

// Multipart says how a client divides an object.
type Multipart struct {
	Size     int64 // bytes of the object
	PartSize int64 // bytes of each part; the last one has what is left
}

// Parts is how many parts there are. The first one has number 1.
func (m Multipart) Parts() int { return int((m.Size + m.PartSize - 1) / m.PartSize) }

// SizeOf is how many bytes a part has; 0 if there is no part of that number.
func (m Multipart) SizeOf(number int) int64 {
	if number < 1 || number > m.Parts() {
		return 0
	}
	return min(m.PartSize, m.Size-int64(number-1)*m.PartSize)
}

// PresignedPart is where a client sends one part, by PUT.
type PresignedPart struct {
	Number int
	Size   int64 // bytes that the URL accepts
	URL    string
}

// Sum reads the whole object and returns its Info with the SHA256. ErrNotFound, ErrKey.
func Sum(ctx context.Context, s Store, key string) (Info, error) {
	r, info, err := s.Get(ctx, key, Range{})
	if err != nil {
		return Info{}, err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return Info{}, fmt.Errorf("hash %s: %w", key, err)
	}
	if n != info.Size {
		return Info{}, fmt.Errorf("hash %s: read %d of %d bytes: %w", key, n, info.Size, io.ErrUnexpectedEOF)
	}
	info.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return info, nil
}

// DeletePrefix deletes every object whose key begins with prefix and returns how many it deleted, even when
// it stops at an error. The prefix must end in a slash, so that "videos/a/" never matches "videos/ab/"; an
// empty prefix is refused. Both errors are ErrKey. Calling it again is safe.
func DeletePrefix(ctx context.Context, s Store, prefix string) (int, error) {
	if !strings.HasSuffix(prefix, "/") {
		return 0, fmt.Errorf("delete prefix %q: want a slash at the end: %w", prefix, ErrKey)
	}
	if d, ok := As[PrefixDeleter](s); ok {
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
