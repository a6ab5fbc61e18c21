package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
)

// presigned is the state of an upload whose parts clients send to the bucket themselves, as it is stored.
// Which parts have arrived the server alone knows.
type presigned struct {
	Key      string `json:"key"`
	Size     int64  `json:"size"`
	PartSize int64  `json:"part_size"`
	UploadID string `json:"upload_id"`
	// Finishing is set before the object is made. Before is then the ETag of the object that the key had.
	Finishing bool   `json:"finishing,omitempty"`
	Before    string `json:"before,omitempty"`
}

func (p *presigned) multipart() storage.Multipart {
	return storage.Multipart{Size: p.Size, PartSize: p.PartSize}
}

func (s *Store) presignedName(key string) string { return s.partialName(key) + ".presigned" }

// loadPresigned reads the state of a key and its ETag. ErrNotFound without one.
func (s *Store) loadPresigned(ctx context.Context, key string) (*presigned, string, error) {
	b, etag, err := s.readSmall(ctx, s.presignedName(key))
	if err != nil {
		return nil, "", err
	}
	p := &presigned{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, "", fmt.Errorf("state: %w", err)
	}
	if p.Key != key || p.Size < 1 || p.PartSize < 1 || p.UploadID == "" {
		return nil, "", fmt.Errorf("state of %s is damaged: abort the upload, and begin it anew", shown(p.Key))
	}
	return p, etag, nil
}

// savePresigned writes the state in the place of the one that has the ETag ("": of none).
func (s *Store) savePresigned(ctx context.Context, p *presigned, etag string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	_, err = s.replace(ctx, s.presignedName(p.Key), b, etag)
	return err
}

// BeginMultipart implements storage.MultipartPresigner.
func (s *Store) BeginMultipart(ctx context.Context, key string, size int64) (storage.Multipart, error) {
	m, err := s.beginMultipart(ctx, key, size)
	if err != nil {
		return storage.Multipart{}, fmt.Errorf("begin the multipart upload of %s: %w", shown(key), err)
	}
	return m, nil
}

func (s *Store) beginMultipart(ctx context.Context, key string, size int64) (m storage.Multipart, err error) {
	if err := check(ctx, key); err != nil {
		return m, err
	}
	if size < 1 || size > maxParts*maxPartSize {
		return m, fmt.Errorf("size is %d, want 1 to %d: %w", size, int64(maxParts*maxPartSize), storage.ErrSize)
	}
	p, _, err := s.loadPresigned(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		p, err = s.newPresigned(ctx, key, size)
	}
	if err != nil {
		return m, err
	}
	if p.Size != size {
		return m, fmt.Errorf("it was begun with %d bytes, not %d: %w", p.Size, size, storage.ErrSize)
	}
	return p.multipart(), nil
}

// newPresigned begins an upload, or returns the one that another process has begun just now.
func (s *Store) newPresigned(ctx context.Context, key string, size int64) (*presigned, error) {
	object := s.prefix + key
	id, err := s.core.NewMultipartUpload(ctx, s.config.Bucket, object,
		minio.PutObjectOptions{ContentType: storage.ContentType(key)})
	if err != nil {
		return nil, s.mapError(err)
	}
	p := &presigned{Key: key, Size: size, PartSize: s.config.partSizeFor(size), UploadID: id}
	err = s.savePresigned(ctx, p, "")
	if !errors.Is(err, storage.ErrBusy) { // after another error the write may still arrive
		return p, err
	}
	if err := s.abort(ctx, object, id); err != nil {
		return nil, err
	}
	p, _, err = s.loadPresigned(ctx, key)
	return p, err
}

// PresignParts implements storage.MultipartPresigner. The signature includes the length of the part, so the
// server refuses a body of any other.
func (s *Store) PresignParts(
	ctx context.Context, key string, numbers []int, ttl time.Duration,
) ([]storage.PresignedPart, error) {
	parts, err := s.presignParts(ctx, key, numbers, ttl)
	if err != nil {
		return nil, fmt.Errorf("presign parts of %s: %w", shown(key), err)
	}
	return parts, nil
}

func (s *Store) presignParts(
	ctx context.Context, key string, numbers []int, ttl time.Duration,
) (parts []storage.PresignedPart, err error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	if ttl < time.Second || ttl > maxTTL {
		return nil, fmt.Errorf("life of %s, want 1s to %s", ttl, maxTTL)
	}
	p, _, err := s.loadPresigned(ctx, key)
	if err != nil {
		return nil, err
	}
	for _, number := range numbers {
		size := p.multipart().SizeOf(number)
		if size == 0 {
			return nil, fmt.Errorf("part %d, want 1 to %d: %w", number, p.multipart().Parts(), storage.ErrRange)
		}
		u, err := s.public.PresignHeader(ctx, http.MethodPut, s.config.Bucket, s.prefix+key, ttl,
			url.Values{"uploadId": {p.UploadID}, "partNumber": {strconv.Itoa(number)}},
			http.Header{"Content-Length": {strconv.FormatInt(size, 10)}})
		if err != nil {
			return nil, err
		}
		parts = append(parts, storage.PresignedPart{Number: number, Size: size, URL: u.String()})
	}
	return parts, nil
}

// ArrivedParts implements storage.MultipartPresigner with a thousand parts per request.
func (s *Store) ArrivedParts(ctx context.Context, key string) (storage.Multipart, []int, error) {
	m, parts, err := s.arrivedParts(ctx, key)
	if err != nil {
		return storage.Multipart{}, nil, fmt.Errorf("list parts of %s: %w", shown(key), err)
	}
	var numbers []int
	for _, part := range parts {
		numbers = append(numbers, part.PartNumber)
	}
	return m, numbers, nil
}

func (s *Store) arrivedParts(ctx context.Context, key string) (
	m storage.Multipart, parts []minio.CompletePart, err error,
) {
	if err := check(ctx, key); err != nil {
		return m, nil, err
	}
	p, _, err := s.loadPresigned(ctx, key)
	if err != nil {
		return m, nil, err
	}
	parts, err = s.listParts(ctx, p)
	if p.Finishing && response(err).Code == minio.NoSuchUpload { // complete, and the state is still there
		for number := range p.multipart().Parts() {
			parts = append(parts, minio.CompletePart{PartNumber: number + 1})
		}
		err = nil
	}
	return p.multipart(), parts, s.explainGone(err)
}

// listParts returns the parts that the server has whole.
func (s *Store) listParts(ctx context.Context, p *presigned) (parts []minio.CompletePart, err error) {
	for after := 0; ; {
		page, err := s.core.ListObjectParts(ctx, s.config.Bucket, s.prefix+p.Key, p.UploadID, after, 1000)
		if err != nil {
			return nil, err
		}
		for _, part := range page.ObjectParts {
			if part.Size == p.multipart().SizeOf(part.PartNumber) {
				parts = append(parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
			}
		}
		if !page.IsTruncated {
			return parts, nil
		}
		if page.NextPartNumberMarker <= after {
			return nil, fmt.Errorf("the server lists parts after %d again", after)
		}
		after = page.NextPartNumberMarker
	}
}

// explainGone says of an upload that the server does not know that it is gone, and maps other errors.
func (s *Store) explainGone(err error) error {
	if response(err).Code == minio.NoSuchUpload {
		return fmt.Errorf("%w: %w: %w", storage.ErrNotFound, errGone, err)
	}
	return s.mapError(err)
}

// CompleteMultipart implements storage.MultipartPresigner.
func (s *Store) CompleteMultipart(ctx context.Context, key string) (storage.Info, error) {
	info, err := s.completeMultipart(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("complete the multipart upload of %s: %w", shown(key), err)
	}
	return info, nil
}

func (s *Store) completeMultipart(ctx context.Context, key string) (info storage.Info, err error) {
	if err := check(ctx, key); err != nil {
		return info, err
	}
	release, err := s.busy.take(key)
	if err != nil {
		return info, err
	}
	defer release()
	p, etag, err := s.loadPresigned(ctx, key)
	if errors.Is(err, storage.ErrNotFound) { // completed before, or never begun
		return s.stat(ctx, key)
	}
	if err != nil {
		return info, err
	}
	if err := s.joinParts(ctx, p, etag); err != nil {
		return info, err
	}
	if info, err = s.stat(ctx, key); err != nil {
		return info, err
	}
	if info.Size != p.Size {
		return info, fmt.Errorf("the object has %d bytes, want %d: %w", info.Size, p.Size, storage.ErrSize)
	}
	return info, s.removeNames(ctx, s.presignedName(key))
}

// joinParts makes the object. The server compares the ETags, so a part that was sent again after they were
// listed cannot slip in. If the server does not know the upload, an earlier try has made the object, and its
// answer was lost: then the object is another than before.
func (s *Store) joinParts(ctx context.Context, p *presigned, etag string) error {
	parts, err := s.listParts(ctx, p)
	if err == nil && len(parts) != p.multipart().Parts() {
		return fmt.Errorf("%d of %d parts have arrived: %w", len(parts), p.multipart().Parts(), storage.ErrSize)
	}
	if err == nil && !p.Finishing {
		if p.Before, err = s.etag(ctx, p.Key); err != nil {
			return err
		}
		p.Finishing = true
		if err = s.savePresigned(ctx, p, etag); err != nil {
			return err
		}
	}
	if err == nil {
		_, err = s.commit(ctx, p.Key, storage.PutOptions{}, func(minio.PutObjectOptions) (minio.UploadInfo, error) {
			return s.core.CompleteMultipartUpload(ctx, s.config.Bucket, s.prefix+p.Key, p.UploadID, parts,
				minio.PutObjectOptions{})
		})
	}
	switch response(err).Code {
	case "InvalidPart":
		return fmt.Errorf("%w: %w", storage.ErrBusy, err)
	case minio.NoSuchUpload:
		now, statErr := s.etag(ctx, p.Key)
		if statErr != nil {
			return errors.Join(err, statErr)
		}
		if p.Finishing && now != "" && now != p.Before {
			return nil
		}
	}
	return s.explainGone(err)
}

// maxAborts is how often AbortMultipart tries to get rid of parts that are still arriving.
const maxAborts = 5

// AbortMultipart implements storage.MultipartPresigner. A part that arrives meanwhile may survive an abort
// (AWS, "AbortMultipartUpload"), so it aborts until the server does not know the upload any more.
func (s *Store) AbortMultipart(ctx context.Context, key string) error {
	err := check(ctx, key)
	if err == nil {
		err = s.abortMultipart(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("abort the multipart upload of %s: %w", shown(key), err)
	}
	return nil
}

func (s *Store) abortMultipart(ctx context.Context, key string) error {
	release, err := s.busy.take(key)
	if err != nil {
		return err
	}
	defer release()
	p, _, err := s.loadPresigned(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for range maxAborts {
		if err := s.abort(ctx, s.prefix+key, p.UploadID); err != nil {
			return err
		}
		_, err := s.core.ListObjectParts(ctx, s.config.Bucket, s.prefix+key, p.UploadID, 0, 1)
		if response(err).Code == minio.NoSuchUpload {
			return s.removeNames(ctx, s.presignedName(key))
		}
		if err != nil {
			return s.mapError(err)
		}
	}
	return fmt.Errorf("parts are still arriving: %w", storage.ErrBusy)
}

var _ storage.MultipartPresigner = (*Store)(nil)
