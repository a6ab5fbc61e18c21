package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
)

// afterEnd is how long an Append whose context ended may take to keep what it has read.
const afterEnd = 30 * time.Second

// Begin implements storage.Resumable. It looks first, for servers that ignore If-None-Match.
func (s *Store) Begin(ctx context.Context, key string, size int64) error {
	if err := s.begin(ctx, key, size); err != nil {
		return fmt.Errorf("begin %s: %w", shown(key), err)
	}
	return nil
}

func (s *Store) begin(ctx context.Context, key string, size int64) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	if _, _, err := s.load(ctx, key); err == nil || !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	state, err := storage.HashState(sha256.New())
	if err != nil {
		return err
	}
	p := &partial{Key: key, Size: max(0, size), PartSize: s.partialPartSize(size), Next: 1, Hash: state}
	if _, err = s.swap(ctx, p, ""); errors.Is(err, storage.ErrBusy) { // another began it just now
		return nil
	}
	return err
}

// partialPartSize returns the size of the parts of an unfinished object. A tenth of the numbers stays free,
// for parts that are sent again under another number.
func (s *Store) partialPartSize(size int64) int64 {
	const mib, most = 1 << 20, maxParts * 9 / 10
	base := min(s.config.PartSize, maxPartial)
	if size <= base*most || size > math.MaxInt64-most*mib {
		return base
	}
	need := (size + most - 1) / most
	return min((need+mib-1)/mib*mib, maxPartSize)
}

// Kept implements storage.Resumable.
func (s *Store) Kept(ctx context.Context, key string) (int64, error) {
	err := check(ctx, key)
	if err == nil {
		var p *partial
		if p, _, err = s.load(ctx, key); err == nil {
			return p.kept(), nil
		}
	}
	return 0, fmt.Errorf("kept of %s: %w", shown(key), err)
}

// Append implements storage.Resumable. The package comment lists its steps.
func (s *Store) Append(
	ctx context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum,
) (int64, error) {
	kept, err := s.append(ctx, key, offset, r, sum)
	if err != nil {
		return kept, fmt.Errorf("append to %s: %w", shown(key), err)
	}
	return kept, nil
}

func (s *Store) append(
	ctx context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum,
) (int64, error) {
	if err := check(ctx, key); err != nil {
		return 0, err
	}
	release, err := s.busy.take(key)
	if err != nil {
		return 0, err
	}
	defer release()
	p, etag, err := s.load(ctx, key)
	if err != nil {
		return 0, err
	}
	if kept := p.kept(); offset != kept {
		return kept, fmt.Errorf("offset %d, %d bytes are kept: %w", offset, kept, storage.ErrOffset)
	}
	h, err := storage.ResumeHash(p.Hash)
	if err != nil {
		return offset, err
	}
	work, stop := outlive(ctx)
	defer stop()
	a := &appending{s: s, ctx: work, stored: p, etag: etag, now: *p, hash: h, sum: sum}
	a.now.Parts = slices.Clone(p.Parts)
	return a.run(ctx, r)
}

// outlive returns a context that ends afterEnd after ctx does.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(afterEnd)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// appending is one Append.
type appending struct {
	s      *Store
	ctx    context.Context // outlives the caller's
	stored *partial        // what the server has
	etag   string          // of stored
	now    partial         // what is to be stored: more parts, other pieces
	hash   hash.Hash
	sum    *storage.Checksum
}

// run reads r to its end, part by part.
func (a *appending) run(ctx context.Context, r io.Reader) (int64, error) {
	buf := a.s.buffer(a.now.PartSize)
	defer func() { a.s.buffers.Put(&buf) }()
	for {
		held := a.now.tail()
		n, readErr := a.fill(ctx, r, buf[held:])
		err := a.verdict(readErr)
		if err == nil && held+n == a.now.PartSize {
			err = a.sendPart(buf)
		} else if err == nil && n > 0 {
			err = a.putPiece(buf, held, n)
		}
		if err != nil {
			return a.stored.kept(), err
		}
		if readErr != nil {
			return a.end(readErr)
		}
	}
}

// verdict compares the checksum when the reader has ended. Without a checksum, what came before an error
// counts.
func (a *appending) verdict(readErr error) error {
	switch {
	case a.sum == nil || readErr == nil:
		return nil
	case !errors.Is(readErr, errEnd):
		return readErr
	case !bytes.Equal(a.sum.Hash.Sum(nil), a.sum.Want):
		return storage.ErrChecksum
	}
	return nil
}

// errEnd is the end of the reader; io.EOF itself could be anything.
var errEnd = errors.New("end")

// fill reads into b until it is full or the reader ends. It hashes what it reads.
func (a *appending) fill(ctx context.Context, r io.Reader, b []byte) (n int64, err error) {
	for n < int64(len(b)) && err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		var m int
		m, err = r.Read(b[n:])
		n += int64(m)
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a fault
			err = errEnd
		}
	}
	a.hash.Write(b[:n])
	if a.sum != nil {
		a.sum.Hash.Write(b[:n])
	}
	return n, err
}

// sendPart sends a full part and records it. Its number is reserved in the state first, so that no other
// process ever sends a part under the same number.
func (a *appending) sendPart(buf []byte) error {
	if err := a.s.readPieces(a.ctx, a.now.Key, a.now.Pieces, buf[:a.now.tail()]); err != nil {
		return err
	}
	number, err := a.reserve()
	if err != nil {
		return err
	}
	sent, err := a.s.putPart(a.ctx, a.s.prefix+a.now.Key, a.now.UploadID, number, buf)
	if err != nil {
		return fmt.Errorf("part %d: %w", number, a.s.mapError(err))
	}
	a.now.Parts = append(a.now.Parts, part{number, sent.ETag})
	a.now.Pieces = nil
	if a.sum != nil { // nothing counts before all of it is read
		return nil
	}
	return a.record()
}

// reserve returns a number for the next part, which the state names as taken. The first one begins the
// upload.
func (a *appending) reserve() (int, error) {
	taken := *a.stored
	if taken.Next > maxParts {
		return 0, fmt.Errorf("object needs more than %d parts: declare its size, or send it anew", maxParts)
	}
	object, begun := a.s.prefix+taken.Key, ""
	if taken.UploadID == "" {
		id, err := a.s.core.NewMultipartUpload(a.ctx, a.s.config.Bucket, object,
			minio.PutObjectOptions{ContentType: storage.ContentType(taken.Key)})
		if err != nil {
			return 0, fmt.Errorf("begin upload: %w", a.s.mapError(err))
		}
		taken.UploadID, begun = id, id
	}
	number := taken.Next
	taken.Next++
	etag, err := a.s.swap(a.ctx, &taken, a.etag)
	if err != nil {
		lost := errors.Is(err, storage.ErrBusy) || errors.Is(err, storage.ErrNotFound)
		if begun != "" && lost { // else the write may still arrive
			err = errors.Join(err, a.s.abort(a.ctx, object, begun))
		}
		return 0, err
	}
	a.stored, a.etag = &taken, etag
	a.now.UploadID, a.now.Next = taken.UploadID, taken.Next
	return number, nil
}

// putPiece puts the bytes read after those held, and the pieces before them that are not larger. So each byte
// is sent about as often as the pieces double in size.
func (a *appending) putPiece(buf []byte, held, n int64) error {
	pieces := slices.Clone(a.now.Pieces)
	from := held
	for len(pieces) > 0 && pieces[len(pieces)-1].Size <= held+n-from {
		from -= pieces[len(pieces)-1].Size
		pieces = pieces[:len(pieces)-1]
	}
	err := a.s.readPieces(a.ctx, a.now.Key, a.now.Pieces[len(pieces):], buf[from:held])
	if err != nil {
		return err
	}
	p := piece{Name: rand.Text(), Size: held + n - from}
	body := buf[from : held+n]
	sum := sha256.Sum256(body)
	name := a.s.names(a.now.Key, []piece{p})[0]
	_, err = a.s.core.PutObject(a.ctx, a.s.config.Bucket, name, bytes.NewReader(body), p.Size, "",
		hex.EncodeToString(sum[:]), minio.PutObjectOptions{})
	if err != nil {
		return fmt.Errorf("put the last bytes: %w", a.s.mapError(err))
	}
	a.now.Pieces = append(pieces, p)
	return nil
}

// end records what is not recorded yet.
func (a *appending) end(readErr error) (int64, error) {
	var err error
	if a.now.kept() != a.stored.kept() {
		err = a.record()
	}
	if errors.Is(readErr, errEnd) {
		readErr = nil
	}
	return a.stored.kept(), errors.Join(readErr, err)
}

// record writes the state after the part or piece that it names, and then removes the pieces that it names no
// more. When the write fails it may still arrive, so nothing is removed then: Reclaim finds it.
func (a *appending) record() (err error) {
	if a.now.Hash, err = storage.HashState(a.hash); err != nil {
		return err
	}
	next := a.now
	next.Parts = slices.Clone(a.now.Parts)
	etag, err := a.s.swap(a.ctx, &next, a.etag)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(a.stored.Pieces), func(p piece) bool {
		return slices.Contains(next.Pieces, p)
	})
	a.stored, a.etag = &next, etag
	return a.s.removeNames(a.ctx, a.s.names(next.Key, gone)...)
}

// buffer returns a buffer of size bytes.
func (s *Store) buffer(size int64) []byte {
	if b, ok := s.buffers.Get().(*[]byte); ok && int64(len(*b)) == size {
		return *b
	}
	return make([]byte, size)
}

var _ storage.Resumable = (*Store)(nil)
