package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/storage"
)

// partialPrefix holds what belongs to unfinished objects. ValidKey refuses it, so no method of the store
// shows anything below it.
const partialPrefix = ".partial/"

// maxPartial is the size of the parts of an unfinished object, unless its size needs larger ones. An Append
// holds one or two of them in memory.
const maxPartial = 8 << 20

// partial is the state of an unfinished object, as it is stored. It is the truth: what it does not name is
// not kept.
type partial struct {
	Key      string  `json:"key"`
	Size     int64   `json:"size,omitempty"` // 0: unknown
	PartSize int64   `json:"part_size"`      // of every part
	UploadID string  `json:"upload_id,omitempty"`
	Parts    []part  `json:"parts,omitempty"`
	Next     int     `json:"next"`             // numbers from here on have never been sent by anybody
	Pieces   []piece `json:"pieces,omitempty"` // the bytes after the parts
	Hash     []byte  `json:"hash"`             // state of the SHA-256 of all bytes kept
	// Finishing is set before the object is made. Before is then the ETag of the object that the key had.
	Finishing bool   `json:"finishing,omitempty"`
	Before    string `json:"before,omitempty"`
	// Token differs in each write, so that no two have the same ETag.
	Token string `json:"token"`
}

type part struct {
	Number int    `json:"number"`
	ETag   string `json:"etag"`
}

// piece is an object with bytes that do not fill a part.
type piece struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// tail is how many bytes the pieces have.
func (p *partial) tail() (n int64) {
	for _, piece := range p.Pieces {
		n += piece.Size
	}
	return n
}

// kept is how many bytes are kept.
func (p *partial) kept() int64 { return int64(len(p.Parts))*p.PartSize + p.tail() }

// partialName is the name of the state of a key in the bucket, without its ending. It is a hash, since a
// server with folders refuses a key that is a folder of others.
func (s *Store) partialName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return s.prefix + partialPrefix + hex.EncodeToString(sum[:])
}

func (s *Store) stateName(key string) string { return s.partialName(key) + ".state" }

// load reads the state of a key and its ETag. ErrNotFound without one.
func (s *Store) load(ctx context.Context, key string) (*partial, string, error) {
	b, etag, err := s.readSmall(ctx, s.stateName(key))
	if err != nil {
		return nil, "", err
	}
	p := &partial{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, "", fmt.Errorf("state: %w", err)
	}
	if p.Key != key {
		return nil, "", fmt.Errorf("state belongs to %s", shown(p.Key))
	}
	return p, etag, nil
}

// readSmall reads an object that fits in memory, by its name in the bucket.
func (s *Store) readSmall(ctx context.Context, name string) ([]byte, string, error) {
	body, info, _, err := s.core.GetObject(ctx, s.config.Bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, "", s.mapError(err)
	}
	b, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err == nil && int64(len(b)) != info.Size {
		err = io.ErrUnexpectedEOF
	}
	return b, info.ETag, err
}

// swap writes the state in the place of the one that has the ETag, and returns the new ETag (replace).
func (s *Store) swap(ctx context.Context, p *partial, etag string) (string, error) {
	p.Token = rand.Text()
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("state: %w", err)
	}
	return s.replace(ctx, s.stateName(p.Key), b, etag)
}

// replace writes a state in the place of the one that has the ETag ("": of none) and returns the new ETag. If
// another one is there, the error is ErrBusy, or ErrNotFound if there is none. An answer may be lost, so
// replace looks what is there after any error.
func (s *Store) replace(ctx context.Context, name string, b []byte, etag string) (string, error) {
	opts := minio.PutObjectOptions{ContentType: "application/json"}
	if etag == "" {
		opts.SetMatchETagExcept("*")
	} else {
		opts.SetMatchETag(etag)
	}
	sum := sha256.Sum256(b)
	for try := 1; ; try++ {
		sent, err := s.core.PutObject(ctx, s.config.Bucket, name, bytes.NewReader(b), int64(len(b)), "",
			hex.EncodeToString(sum[:]), opts)
		if err == nil {
			return sent.ETag, nil
		}
		if response(err).StatusCode != http.StatusConflict || try == maxConflicts {
			return s.afterSwap(ctx, name, b, err)
		}
	}
}

// afterSwap says what a write of the state that failed with err has led to.
func (s *Store) afterSwap(ctx context.Context, name string, want []byte, err error) (string, error) {
	got, etag, readErr := s.readSmall(ctx, name)
	answer := response(err)
	lost := answer.StatusCode == http.StatusPreconditionFailed || answer.StatusCode == http.StatusConflict ||
		answer.Code == minio.NoSuchKey
	switch {
	case readErr == nil && bytes.Equal(got, want):
		return etag, nil
	case errors.Is(readErr, storage.ErrNotFound) && lost:
		return "", fmt.Errorf("state: %w", readErr)
	case lost:
		return "", fmt.Errorf("state was written by another: %w", storage.ErrBusy)
	}
	return "", fmt.Errorf("write state: %w", s.mapError(err))
}

// removeNames removes objects by their names in the bucket.
func (s *Store) removeNames(ctx context.Context, names ...string) error {
	for _, name := range names {
		err := s.core.RemoveObject(ctx, s.config.Bucket, name, minio.RemoveObjectOptions{})
		if err != nil && response(err).Code != minio.NoSuchKey {
			return fmt.Errorf("remove %s: %w", name, s.mapError(err))
		}
	}
	return nil
}

// names returns the names of pieces in the bucket.
func (s *Store) names(key string, pieces []piece) (names []string) {
	for _, piece := range pieces {
		names = append(names, s.partialName(key)+"."+piece.Name)
	}
	return names
}

// readPieces fills b with the bytes of the pieces, which it has exactly the length of.
func (s *Store) readPieces(ctx context.Context, key string, pieces []piece, b []byte) error {
	for i, name := range s.names(key, pieces) {
		var err error
		for range maxRetries {
			if err = s.readPiece(ctx, name, b[:pieces[i].Size]); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		b = b[pieces[i].Size:]
	}
	return nil
}

func (s *Store) readPiece(ctx context.Context, name string, b []byte) error {
	body, info, _, err := s.core.GetObject(ctx, s.config.Bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return fmt.Errorf("bytes that are kept are gone: %w", err) // not an ErrNotFound of the caller's key
	}
	_, err = io.ReadFull(body, b)
	if err = errors.Join(err, body.Close()); err == nil && info.Size != int64(len(b)) {
		err = fmt.Errorf("%d bytes, want %d", info.Size, len(b))
	}
	return err
}

// busyKeys are the keys that a call of this process writes.
type busyKeys struct {
	mu   sync.Mutex
	keys map[string]bool
}

// take takes the key, or returns ErrBusy. The caller calls release.
func (b *busyKeys) take(key string) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys[key] {
		return nil, storage.ErrBusy
	}
	if b.keys == nil {
		b.keys = map[string]bool{}
	}
	b.keys[key] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.keys, key)
	}, nil
}
