package s3

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
)

// Finish implements storage.Resumable. When the key is finished already, it reads the object to hash it.
func (s *Store) Finish(ctx context.Context, key string) (storage.Info, error) {
	info, err := s.finish(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("finish %s: %w", shown(key), err)
	}
	return info, nil
}

func (s *Store) finish(ctx context.Context, key string) (info storage.Info, err error) {
	if err := check(ctx, key); err != nil {
		return info, err
	}
	release, err := s.busy.take(key)
	if err != nil {
		return info, err
	}
	defer release()
	p, etag, err := s.load(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Sum(ctx, s, key)
	}
	if err != nil {
		return info, err
	}
	if p.Size > 0 && p.kept() != p.Size {
		return info, fmt.Errorf("%d of %d bytes are kept: %w", p.kept(), p.Size, storage.ErrSize)
	}
	h, err := storage.ResumeHash(p.Hash)
	if err != nil {
		return info, err
	}
	if len(p.Parts) == 0 {
		err = s.finishWhole(ctx, p, h)
	} else {
		err = s.finishParts(ctx, p, etag)
	}
	if err != nil {
		return info, err
	}
	if info, err = s.stat(ctx, key); err != nil {
		return info, err
	}
	if info.Size != p.kept() {
		return info, fmt.Errorf("the object has %d bytes, want %d: finish it again", info.Size, p.kept())
	}
	info.SHA256 = hex.EncodeToString(h.Sum(nil))
	return info, s.forget(ctx, p)
}

// forget removes the state, and then what it names. A kill in between leaves bytes for Reclaim, but never a
// state that names bytes that are gone. Parts of numbers that lost may be left in an upload that no state has
// completed, so it is aborted, too.
func (s *Store) forget(ctx context.Context, p *partial) error {
	if err := s.removeNames(ctx, s.stateName(p.Key)); err != nil {
		return err
	}
	if p.UploadID != "" {
		if err := s.abort(ctx, s.prefix+p.Key, p.UploadID); err != nil {
			return err
		}
	}
	return s.removeNames(ctx, s.names(p.Key, p.Pieces)...)
}

// finishWhole puts an object that has no part yet.
func (s *Store) finishWhole(ctx context.Context, p *partial, h hash.Hash) error {
	body := make([]byte, p.tail())
	if err := s.readPieces(ctx, p.Key, p.Pieces, body); err != nil {
		return err
	}
	o := storage.PutOptions{ContentType: storage.ContentType(p.Key)}
	_, err := s.commit(ctx, p.Key, o, func(opts minio.PutObjectOptions) (minio.UploadInfo, error) {
		return s.core.PutObject(ctx, s.config.Bucket, s.prefix+p.Key, bytes.NewReader(body), p.tail(), "",
			hex.EncodeToString(h.Sum(nil)), opts)
	})
	if err != nil {
		return s.mapError(err)
	}
	return nil
}

// finishParts sends the last part and completes the upload. If the server does not know the upload, an
// earlier try completed it, and its answer was lost: then the object is another than before.
func (s *Store) finishParts(ctx context.Context, p *partial, etag string) error {
	a := &appending{s: s, ctx: ctx, stored: p, etag: etag, now: *p}
	if !p.Finishing {
		before, err := s.etag(ctx, p.Key)
		if err != nil {
			return err
		}
		marked := *p
		marked.Finishing, marked.Before = true, before
		if a.etag, err = s.swap(ctx, &marked, etag); err != nil {
			return err
		}
		a.stored = &marked
	}
	parts, err := s.lastParts(a)
	if err == nil {
		_, err = s.commit(ctx, p.Key, storage.PutOptions{}, func(minio.PutObjectOptions) (minio.UploadInfo, error) {
			return s.core.CompleteMultipartUpload(ctx, s.config.Bucket, s.prefix+p.Key, p.UploadID, parts,
				minio.PutObjectOptions{})
		})
	}
	if err != nil && response(err).Code != minio.NoSuchUpload {
		return s.mapError(err)
	}
	now, statErr := s.etag(ctx, p.Key)
	if statErr != nil {
		return errors.Join(err, statErr)
	}
	if now == "" || now == a.stored.Before && err != nil {
		return fmt.Errorf("the server has no such object and no such upload: %w", errors.Join(err, errGone))
	}
	return nil
}

// errGone: the parts are lost, by a lifecycle rule or by hand.
var errGone = errors.New("the upload was aborted by others: abandon the object, and send it anew")

// etag returns the ETag of the object, "" without one.
func (s *Store) etag(ctx context.Context, key string) (string, error) {
	o, err := s.core.StatObject(ctx, s.config.Bucket, s.prefix+key, minio.StatObjectOptions{})
	if err = s.mapError(err); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return "", err
	}
	return o.ETag, nil
}

// lastParts returns all parts, the last one of which it makes of the pieces. It has a new number at each try.
func (s *Store) lastParts(a *appending) ([]minio.CompletePart, error) {
	var parts []minio.CompletePart
	for _, p := range a.now.Parts {
		parts = append(parts, minio.CompletePart{PartNumber: p.Number, ETag: p.ETag})
	}
	if len(a.now.Pieces) == 0 {
		return parts, nil
	}
	body := make([]byte, a.now.tail())
	if err := s.readPieces(a.ctx, a.now.Key, a.now.Pieces, body); err != nil {
		return nil, err
	}
	number, err := a.reserve()
	if err != nil {
		return nil, err
	}
	last, err := s.putPart(a.ctx, s.prefix+a.now.Key, a.now.UploadID, number, body)
	return append(parts, last), err
}

// Abandon implements storage.Resumable.
func (s *Store) Abandon(ctx context.Context, key string) error {
	err := check(ctx, key)
	if err == nil {
		err = s.abandon(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("abandon %s: %w", shown(key), err)
	}
	return nil
}

func (s *Store) abandon(ctx context.Context, key string) error {
	release, err := s.busy.take(key)
	if err != nil {
		return err
	}
	defer release()
	p, _, err := s.load(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.forget(ctx, p)
}

// named reports whether a state of a key names the upload.
func (s *Store) named(ctx context.Context, key, uploadID string) (bool, error) {
	p, _, err := s.load(ctx, key)
	if err == nil && p.UploadID == uploadID {
		return true, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	m, _, err := s.loadPresigned(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil && m.UploadID == uploadID, err
}
