package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
)

// abortTimeout limits the clean-up of a failed upload. The clean-up may go on after the Put's context ends.
const abortTimeout = 30 * time.Second

// maxConflicts is how many times commit tries a write that conflicts with others.
const maxConflicts = 5

// firstBuffer is the first buffer of a Put of unknown size; it grows fourfold up to a part.
const firstBuffer = 64 << 10

// Put implements storage.Store. The package comment lists its steps.
func (s *Store) Put(
	ctx context.Context, key string, r io.Reader, o storage.PutOptions,
) (storage.Info, error) {
	info, err := s.put(ctx, key, r, o)
	if err != nil {
		return storage.Info{}, fmt.Errorf("put %s: %w", shown(key), err)
	}
	return info, nil
}

func (s *Store) put(
	ctx context.Context, key string, r io.Reader, o storage.PutOptions,
) (info storage.Info, err error) {
	if err := check(ctx, key); err != nil {
		return info, err
	}
	if o.IfAbsent {
		if err := s.wantAbsent(ctx, key); err != nil {
			return info, err
		}
	}
	if o.ContentType == "" {
		o.ContentType = storage.ContentType(key)
	}
	src := &source{ctx: ctx, r: r, want: o.Size, hash: sha256.New()}
	part, last, err := src.part(s.config.partSizeFor(o.Size))
	if err != nil {
		return info, err
	}
	var sent minio.UploadInfo
	if last {
		sent, err = s.putWhole(ctx, key, part, src, o)
	} else {
		sent, err = s.putParts(ctx, key, part, src, o)
	}
	if err != nil {
		return info, s.mapError(err)
	}
	return storage.Info{
		Key: key, Size: src.n, SHA256: src.sum(), ContentType: o.ContentType, Modified: sent.LastModified,
	}, nil
}

// wantAbsent returns ErrExists when the key is taken.
func (s *Store) wantAbsent(ctx context.Context, key string) error {
	_, err := s.stat(ctx, key)
	switch {
	case err == nil:
		return storage.ErrExists
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}

// putWhole sends an object that is in memory.
func (s *Store) putWhole(
	ctx context.Context, key string, body []byte, src *source, o storage.PutOptions,
) (minio.UploadInfo, error) {
	bucket, object, size := s.config.Bucket, s.prefix+key, int64(len(body))
	return s.commit(ctx, key, o, func(opts minio.PutObjectOptions) (minio.UploadInfo, error) {
		return s.core.PutObject(ctx, bucket, object, bytes.NewReader(body), size, "", src.sum(), opts)
	})
}

// putParts sends an object part by part. buf holds the first part, and is reused for the later ones.
func (s *Store) putParts(
	ctx context.Context, key string, buf []byte, src *source, o storage.PutOptions,
) (sent minio.UploadInfo, err error) {
	bucket, object := s.config.Bucket, s.prefix+key
	start := minio.PutObjectOptions{ContentType: o.ContentType}
	id, err := s.core.NewMultipartUpload(ctx, bucket, object, start)
	if err != nil {
		return sent, fmt.Errorf("begin upload: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.abort(ctx, object, id))
		}
	}()
	var parts []minio.CompletePart
	for last := false; ; {
		part, err := s.putPart(ctx, object, id, len(parts)+1, buf)
		if err != nil {
			return sent, fmt.Errorf("part %d: %w", len(parts)+1, err)
		}
		parts = append(parts, part)
		if last {
			break
		}
		if buf, last, err = src.refill(buf); err != nil {
			return sent, err
		}
		if len(buf) == 0 { // the previous part was the last
			break
		}
		if len(parts) == maxParts {
			return sent, fmt.Errorf("object needs more than %d parts: declare its size or set part_size", maxParts)
		}
	}
	return s.commit(ctx, key, o, func(opts minio.PutObjectOptions) (minio.UploadInfo, error) {
		return s.core.CompleteMultipartUpload(ctx, bucket, object, id, parts, opts)
	})
}

func (s *Store) putPart(
	ctx context.Context, object, id string, number int, body []byte,
) (minio.CompletePart, error) {
	sum := sha256.Sum256(body)
	part, err := s.core.PutObjectPart(ctx, s.config.Bucket, object, id, number, bytes.NewReader(body),
		int64(len(body)), minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:])})
	return minio.CompletePart{PartNumber: number, ETag: part.ETag}, err
}

// abort aborts the upload. If the server does not know the upload, it has aborted or completed it already.
func (s *Store) abort(ctx context.Context, object, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	err := s.core.AbortMultipartUpload(ctx, s.config.Bucket, object, id)
	if err != nil && response(err).Code != minio.NoSuchUpload {
		return fmt.Errorf("abort upload: %w", err)
	}
	return nil
}

// commit sends the request that makes the object visible. A 409 answer means that another write was in the
// way (AWS: two concurrent conditional writes; versitygw: a folder vanished meanwhile), so commit tries
// again. It stops when IfAbsent is set and the object exists now.
func (s *Store) commit(
	ctx context.Context, key string, o storage.PutOptions,
	send func(minio.PutObjectOptions) (minio.UploadInfo, error),
) (minio.UploadInfo, error) {
	opts := minio.PutObjectOptions{ContentType: o.ContentType}
	if o.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	for try := 1; ; try++ {
		sent, err := send(opts)
		if response(err).StatusCode != http.StatusConflict || try == maxConflicts {
			return sent, err
		}
		if !o.IfAbsent {
			continue
		}
		if _, statErr := s.stat(ctx, key); statErr == nil {
			return sent, fmt.Errorf("%w: %w", storage.ErrExists, err)
		}
	}
}

// source reads the caller's bytes: it counts and hashes them, stops with the context, and checks their
// number against the declared size.
type source struct {
	ctx  context.Context
	r    io.Reader
	want int64 // PutOptions.Size
	n    int64
	hash hash.Hash
	err  error // what ended it, except io.EOF
}

// part reads the first part, at most size bytes, without allocating much more than it reads. last reports
// that nothing follows.
func (s *source) part(size int64) (part []byte, last bool, err error) {
	first := int64(firstBuffer)
	if s.want > 0 {
		first = s.want + 1 // one byte more shows the end without growing
	}
	buf := make([]byte, min(first, size))
	for n := 0; ; {
		part, last, err = s.refill(buf[n:])
		n += len(part)
		if err != nil || last || int64(n) == size {
			return buf[:n], last, err
		}
		grown := make([]byte, min(4*int64(n), size))
		copy(grown, buf)
		buf = grown
	}
}

// refill reads the next part into buf, up to its length. io.ReadFull returns ErrUnexpectedEOF for a short
// read, and also passes on that of a broken connection: only s.err distinguishes them.
func (s *source) refill(buf []byte) (part []byte, last bool, err error) {
	n, err := io.ReadFull(s, buf)
	if s.err != nil {
		return nil, false, s.err
	}
	if err != nil {
		return buf[:n], true, s.checkEnd()
	}
	return buf[:n], false, nil
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.hash.Write(p[:n])
	if err == nil && s.want > 0 && s.n > s.want {
		err = s.checkEnd()
	}
	if err != io.EOF { //nolint:errorlint // a wrapped io.EOF is a fault
		s.err = err
	}
	return n, err
}

// checkEnd returns ErrSize when the number of bytes read is not the declared one.
func (s *source) checkEnd() error {
	if s.want > 0 && s.n != s.want {
		return fmt.Errorf("read %d of %d bytes: %w", s.n, s.want, storage.ErrSize)
	}
	return nil
}

func (s *source) sum() string {
	return hex.EncodeToString(s.hash.Sum(nil))
}
