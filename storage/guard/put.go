package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/reelmill/reelmill/storage"
)

// Put implements storage.Store. See Guard.Store for IfAbsent.
func (s *guarded) Put(
	ctx context.Context, key string, r io.Reader, o storage.PutOptions,
) (storage.Info, error) {
	src := newSource(r)
	if src.seeker == nil {
		return retry(ctx, s.g, 1, func() (storage.Info, error) { return s.put(ctx, key, src, o) })
	}
	if o.IfAbsent {
		if err := s.wantAbsent(ctx, key); err != nil {
			return storage.Info{}, err
		}
	}
	begun := false
	return retry(ctx, s.g, s.g.config.Tries, func() (storage.Info, error) {
		if err := src.rewind(); err != nil {
			return storage.Info{}, callersError{fmt.Errorf("put %s: rewind: %w", key, err)}
		}
		info, err := s.put(ctx, key, src, o)
		if begun && o.IfAbsent && errors.Is(err, storage.ErrExists) {
			return s.claim(ctx, key, src, err)
		}
		begun = true
		return info, err
	})
}

// put is one try. It marks an error of the caller's reader.
func (s *guarded) put(
	ctx context.Context, key string, src *source, o storage.PutOptions,
) (storage.Info, error) {
	info, err := s.inner.Put(ctx, key, src, o)
	if err != nil && src.err != nil {
		err = callersError{err}
	}
	return info, err
}

// wantAbsent returns ErrExists when the key is taken.
func (s *guarded) wantAbsent(ctx context.Context, key string) error {
	_, err := s.Stat(ctx, key)
	switch {
	case err == nil:
		return fmt.Errorf("put %s: %w", key, storage.ErrExists)
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}

// claim checks whether the object in the way is the one that an earlier try put, with the bytes of src. If
// not, it returns exists, the store's error.
func (s *guarded) claim(ctx context.Context, key string, src *source, exists error) (storage.Info, error) {
	if err := src.rewind(); err != nil {
		return storage.Info{}, callersError{fmt.Errorf("put %s: rewind: %w", key, err)}
	}
	want, size, err := sum(contextReader{ctx, src})
	if err != nil {
		return storage.Info{}, callersError{fmt.Errorf("put %s: read again: %w", key, err)}
	}
	r, info, err := s.inner.Get(ctx, key, storage.Range{})
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Info{}, exists // it was there, and is gone again
	}
	if err != nil {
		return storage.Info{}, err
	}
	defer r.Close()
	if info.Size != size {
		return storage.Info{}, exists
	}
	got, n, err := sum(r)
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("put %s: read back: %w", key, err)
	}
	if got != want {
		return storage.Info{}, exists
	}
	info.SHA256 = want
	return info, nil
}

// sum returns the SHA-256 of what r yields, and its length.
func sum(r io.Reader) (string, int64, error) {
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	return hex.EncodeToString(hash.Sum(nil)), n, err
}

// source is the caller's reader. It remembers its error, since the store's error does not tell whose it is.
type source struct {
	r      io.Reader
	seeker io.Seeker // nil if it cannot go back
	start  int64
	err    error // except io.EOF
}

// newSource checks whether r can go back to its current offset. A pipe is an *os.File that cannot.
func newSource(r io.Reader) *source {
	src := &source{r: r}
	if seeker, ok := r.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			src.seeker, src.start = seeker, start
		}
	}
	return src
}

func (s *source) rewind() error {
	s.err = nil
	_, err := s.seeker.Seek(s.start, io.SeekStart)
	return err
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != io.EOF { // a wrapped io.EOF is a fault
		s.err = err
	}
	return n, err
}

// contextReader stops with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
