package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/reelmill/reelmill/storage"
)

// Store is a storage.Store, Presigner, MultipartPresigner, PrefixDeleter, Reclaimer and Resumable in a
// bucket. Open makes one.
type Store struct {
	config Config // with defaults
	prefix string // "" or Config.Prefix and a slash
	core   minio.Core
	public *minio.Client // signs for Config.PublicEndpoint, and sends nothing
	close  func()

	busy    busyKeys
	buffers sync.Pool // of *[]byte, for Append
}

// Open connects to the bucket and checks that it exists. If the server does not answer, Open ends with its
// retries or with the context. The caller closes the store.
func Open(ctx context.Context, c Config) (*Store, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open s3 store: %w", err)
	}
	s := &Store{config: c, close: func() {}}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	if c.Transport == nil {
		t, err := minio.DefaultTransport(strings.HasPrefix(c.Endpoint, "https:"))
		if err != nil {
			return nil, fmt.Errorf("open s3 store: %w", err)
		}
		c.Transport, s.close = t, t.CloseIdleConnections
	}
	client, err := newClient(c, c.Endpoint)
	if err == nil {
		s.core = minio.Core{Client: client}
		s.public, err = newClient(c, c.PublicEndpoint)
	}
	if err == nil {
		err = s.findBucket(ctx)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("open s3 bucket %s at %s: %w", c.Bucket, c.Endpoint, err)
	}
	return s, nil
}

// maxRetries of one request. The library's default of 10 would hide from package guard, which retries too,
// how often the server fails.
const maxRetries = 3

func newClient(c Config, endpoint string) (*minio.Client, error) {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	return minio.New(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(c.AccessKey.Reveal(), c.SecretKey.Reveal(), c.SessionToken.Reveal()),
		Secure:       u.Scheme == "https",
		Transport:    c.Transport,
		Region:       c.Region,
		BucketLookup: lookup,
		MaxRetries:   maxRetries,
	})
}

// findBucket checks that the bucket exists, creates it if configured, and says what to do if it cannot.
func (s *Store) findBucket(ctx context.Context) error {
	found, err := s.core.BucketExists(ctx, s.config.Bucket)
	if err != nil {
		return s.withRemedy(err)
	}
	if found {
		return nil
	}
	if !s.config.CreateBucket {
		return errors.New("bucket does not exist: create it, or add create_bucket=true to the address of the store")
	}
	err = s.core.MakeBucket(ctx, s.config.Bucket, minio.MakeBucketOptions{Region: s.config.Region})
	if response(err).Code == minio.BucketAlreadyOwnedByYou { // another process was faster
		return nil
	}
	if err != nil {
		return fmt.Errorf("create bucket: %w", s.withRemedy(err))
	}
	return nil
}

// withRemedy adds to an error of the first requests what to check.
func (s *Store) withRemedy(err error) error {
	switch response(err).StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized, http.StatusNotFound:
		return fmt.Errorf("%w: check the access key, the secret key and the rights on the bucket", err)
	case http.StatusMovedPermanently, http.StatusBadRequest:
		return fmt.Errorf("%w: check the region, %s", err, s.config.Region)
	}
	return fmt.Errorf("%w: check the endpoint", err)
}

// Close closes idle connections. Open readers stay usable.
func (s *Store) Close() error {
	s.close()
	return nil
}

// Get implements storage.Store. Its reader is one answer of the server, so it is one version. If the
// connection breaks, the reader returns io.ErrUnexpectedEOF or a network error; the caller retries.
func (s *Store) Get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info, error) {
	body, info, err := s.get(ctx, key, rng)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %s: %w", shown(key), err)
	}
	return body, info, nil
}

func (s *Store) get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := check(ctx, key); err != nil {
		return nil, storage.Info{}, err
	}
	var opts minio.GetObjectOptions
	whole := rng == storage.Range{}
	if !whole {
		value, err := rangeHeader(rng)
		if err != nil {
			return nil, storage.Info{}, err
		}
		opts.Set("Range", value)
	}
	body, object, header, err := s.core.GetObject(ctx, s.config.Bucket, s.prefix+key, opts)
	if err != nil {
		return nil, storage.Info{}, s.mapError(err)
	}
	if !whole {
		if object.Size, err = totalSize(header.Get("Content-Range"), rng); err != nil {
			return nil, storage.Info{}, errors.Join(err, body.Close())
		}
	}
	return contextBody{ctx, body}, s.info(object), nil
}

// contextBody is the body of an answer that stops with its context. The transport's own body may go on
// while it has buffered bytes.
type contextBody struct {
	ctx context.Context
	io.ReadCloser
}

// Read implements io.Reader.
func (b contextBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// rangeHeader formats the range for HTTP, which includes the last byte.
func rangeHeader(rng storage.Range) (string, error) {
	// Resolve against the largest size: it refuses negative numbers and caps the end.
	offset, length, err := rng.Resolve(math.MaxInt64)
	if err != nil {
		return "", err
	}
	if rng.Length == 0 {
		return fmt.Sprintf("bytes=%d-", offset), nil
	}
	return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1), nil
}

// totalSize returns the whole size from the Content-Range of an answer, such as "bytes 5-9/20" (RFC 9110,
// section 14.4). It refuses an answer that is not exactly the part that rng selects. A server that ignores
// the range sends no such header.
func totalSize(contentRange string, rng storage.Range) (int64, error) {
	_, total, _ := strings.Cut(contentRange, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err == nil && size > 0 {
		offset, length, err := rng.Resolve(size)
		if err == nil && contentRange == fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, size) {
			return size, nil
		}
	}
	return 0, fmt.Errorf("server answered a range with Content-Range %q", contentRange)
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := s.stat(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", shown(key), err)
	}
	return info, nil
}

func (s *Store) stat(ctx context.Context, key string) (storage.Info, error) {
	if err := check(ctx, key); err != nil {
		return storage.Info{}, err
	}
	object, err := s.core.StatObject(ctx, s.config.Bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return storage.Info{}, s.mapError(err)
	}
	return s.info(object), nil
}

// info converts the server's description of an object. A listing has no content type.
func (s *Store) info(o minio.ObjectInfo) storage.Info {
	key := strings.TrimPrefix(o.Key, s.prefix)
	if o.ContentType == "" {
		o.ContentType = storage.ContentType(key)
	}
	return storage.Info{Key: key, Size: o.Size, ContentType: o.ContentType, Modified: o.LastModified}
}

// check refuses an ended context and an invalid key. Every method calls it first.
func check(ctx context.Context, key string) error {
	if err := storage.ValidKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// shown shortens a key for an error message, since it may be invalid and long.
func shown(key string) string {
	if storage.ValidKey(key) != nil {
		return fmt.Sprintf("%.80q", key)
	}
	return key
}

// response returns the server's answer within err, or a zero one. (minio.ToErrorResponse does not unwrap.)
func response(err error) minio.ErrorResponse {
	r, _ := errors.AsType[minio.ErrorResponse](err)
	return r
}

// mapError adds the contract's error to an error of the server. A missing bucket or upload is a 404 too,
// but not a missing object.
func (s *Store) mapError(err error) error {
	e := response(err)
	switch {
	case e.Code == minio.NoSuchKey:
		return fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	case e.Code == minio.NoSuchBucket:
		return fmt.Errorf("bucket %s is gone: %w", s.config.Bucket, err)
	case e.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", storage.ErrRange, err)
	case e.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", storage.ErrExists, err)
	case e.Code == "ExistingObjectIsDirectory", e.Code == "ObjectParentIsFile": // servers with folders
		return fmt.Errorf("%w: %w", storage.ErrKey, err)
	case e.StatusCode == http.StatusInsufficientStorage, e.Code == "QuotaExceeded":
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	return err
}
