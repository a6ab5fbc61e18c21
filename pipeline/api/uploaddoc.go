package api

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/quota"
	"github.com/reelmill/reelmill/storage"
)

// uploadState is how far an upload is.
type uploadState string

// The states. The document says waiting until the upload has ended: whether bytes are kept the store knows.
const (
	uploadWaiting   uploadState = "waiting"   // no byte is kept
	uploadUploading uploadState = "uploading" // some are kept, or all, and no video yet
	uploadCompleted uploadState = "completed" // its video is in the log
	uploadErrored   uploadState = "errored"   // no video can be made of it
	uploadCanceled  uploadState = "canceled"  // somebody stopped it
	uploadExpired   uploadState = "expired"   // no byte came for too long
)

// ended reports whether the state is the last.
func (s uploadState) ended() bool { return s != uploadWaiting && s != uploadUploading }

// uploadDoc is an upload before its video exists. It is a JSON document in the object store, so that every
// server sees it and a restart loses nothing.
type uploadDoc struct {
	ID          string            `json:"id"`
	Project     string            `json:"project"`
	Video       string            `json:"video_id"`
	Filename    string            `json:"filename"`
	Size        int64             `json:"size"` // bytes of the source; 0: not known yet
	Key         string            `json:"key"`  // of the source
	Request     request           `json:"request"`
	TusMetadata map[string]string `json:"tus_metadata,omitempty"` // as a tus client sent it
	TraceParent string            `json:"traceparent,omitempty"`

	Method     uploadMethod `json:"method,omitempty"`     // how the bytes come; empty: byTus
	PartSize   int64        `json:"part_size,omitempty"`  // byMultipart: bytes of a part; 0: it is not begun yet
	Completing bool         `json:"completing,omitempty"` // byMultipart: the client has said that all is sent

	Types []string `json:"types,omitempty"` // media types that its upload token allows; empty: any

	// Reserved is what was taken for it from its project's bytes of the day; nil: bytes count as they arrive.
	Reserved *quota.Part `json:"reserved,omitempty"`

	TokenHash   string `json:"token_hash"`             // SHA-256 of the token's secret
	SealedToken []byte `json:"sealed_token,omitempty"` // the secret, which the idempotency key opens
	RequestHash string `json:"request_hash,omitempty"` // of what came with an idempotency key

	Status    uploadState    `json:"status"`
	Problem   *uploadProblem `json:"error,omitempty"`
	CreatedAt time.Time      `json:"created_at"`
	ExpiresAt time.Time      `json:"expires_at"`
	EndedAt   time.Time      `json:"ended_at,omitzero"`
}

// uploadProblem says why no video can be made of an upload.
type uploadProblem struct {
	Code      code   `json:"code" doc:"What failed"`
	Title     string `json:"title" doc:"The code in words, always the same"`
	Detail    string `json:"detail" doc:"What happened this time"`
	Remedy    string `json:"remedy" doc:"What to do about it"`
	Retryable bool   `json:"retryable" doc:"Whether the same upload may succeed later"`
}

// uploadsPrefix is that of the keys of all documents: uploads/<project>/<upload>/upload.json.
const uploadsPrefix = "uploads/"

// uploadKey returns the key of a document.
func uploadKey(project, id string) string { return uploadsPrefix + project + "/" + id + "/upload.json" }

// locateUpload parses the key of a document.
func locateUpload(key string) (project, id string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0]+"/" != uploadsPrefix || parts[3] != "upload.json" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// maxUploadDoc bounds a document, in bytes.
const maxUploadDoc = 1 << 20

// loadUpload reads a document. pipeline.ErrNotFound: there is none.
func (s *server) loadUpload(ctx context.Context, project, id string) (d uploadDoc, err error) {
	if !pipeline.ValidName(project) || !pipeline.ValidName(id) {
		return d, pipeline.ErrNotFound
	}
	r, _, err := s.cfg.Store.Get(ctx, uploadKey(project, id), storage.Range{})
	if errors.Is(err, storage.ErrNotFound) {
		return d, pipeline.ErrNotFound
	}
	if err != nil {
		return d, ofStore(err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxUploadDoc))
	if err = errors.Join(err, r.Close()); err != nil {
		return d, ofStore(err)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, fmt.Errorf("read the document of upload %s: %w", id, err)
	}
	return d, nil
}

// saveUpload writes a document. With fresh, it must not exist (storage.ErrExists).
func (s *server) saveUpload(ctx context.Context, d uploadDoc, fresh bool) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode upload %s: %w", d.ID, err)
	}
	_, err = s.cfg.Store.Put(ctx, uploadKey(d.Project, d.ID), bytes.NewReader(raw), storage.PutOptions{
		Size: int64(len(raw)), IfAbsent: fresh,
	})
	if errors.Is(err, storage.ErrExists) {
		return err
	}
	return ofStore(err)
}

// ofStore returns the failure for an error of the store; nil for nil.
func ofStore(err error) error {
	if err == nil {
		return nil
	}
	switch f := classify(err); {
	case errors.Is(err, storage.ErrBusy):
		return fail(codeUploadBusy, "Another request writes to the upload.").because(err)
	case errors.Is(err, storage.ErrOffset):
		return fail(codeOffset, "The server keeps another number of bytes than the request says.").because(err)
	case f.code != codeInternal:
		return f
	}
	return fail(codeStorageFailed, "The object store failed.").because(err)
}

// uploadToken is what the URL of an upload holds: whoever has it may send the bytes, and stop the upload,
// without any credential. project and id say where the document is; only the secret is secret.
type uploadToken struct{ project, id, secret string }

// secretBytes is how many random bytes a secret has.
const secretBytes = 16

// String returns the token as one segment of a path.
func (t uploadToken) String() string { return t.project + "." + t.id + "." + t.secret }

// parseToken reads a segment of a path. ok is false if it cannot be a token.
func parseToken(text string) (t uploadToken, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || !pipeline.ValidName(parts[0]) || !pipeline.ValidName(parts[1]) {
		return t, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[2])
	return uploadToken{parts[0], parts[1], parts[2]}, err == nil && len(raw) == secretBytes
}

// tokenIn returns the token in the path of a request that sends bytes, or has others send them: that is
// /v1/tus/<token>, or /v1/uploads/<token>/ and content, parts or complete.
func tokenIn(path string) (t uploadToken, ok bool) {
	if rest, found := strings.CutPrefix(path, "/v1/tus/"); found {
		return parseToken(rest)
	}
	rest, begins := strings.CutPrefix(path, "/v1/uploads/")
	token, what, _ := strings.Cut(rest, "/")
	if !begins || what != "content" && what != "parts" && what != "complete" {
		return t, false
	}
	return parseToken(token)
}

// shownPath returns a path for the log, without a token's secret.
func shownPath(path string) string {
	if t, ok := tokenIn(path); ok {
		return strings.Replace(path, t.secret, "***", 1)
	}
	return shownPlayPath(path)
}

// newToken returns a token for d, and notes its hash there. With an idempotency key, d also keeps the secret,
// sealed with the key: a repeated request gets the same URL.
func newToken(d *uploadDoc, key string) uploadToken {
	raw := make([]byte, secretBytes)
	rand.Read(raw) // never fails
	t := uploadToken{d.Project, d.ID, base64.RawURLEncoding.EncodeToString(raw)}
	d.TokenHash = hashSecret(t.secret)
	if key != "" {
		d.SealedToken = seal(d.ID, key, raw)
	}
	return t
}

// reopenToken returns the token of a document that was made with an idempotency key.
func reopenToken(d uploadDoc, key string) (uploadToken, error) {
	raw := seal(d.ID, key, d.SealedToken)
	t := uploadToken{d.Project, d.ID, base64.RawURLEncoding.EncodeToString(raw)}
	if len(raw) != secretBytes || !d.fits(t) {
		return uploadToken{}, fmt.Errorf("the token of upload %s cannot be opened", d.ID)
	}
	return t, nil
}

// seal encrypts a secret with a key, or decrypts it: a pad that is used once, for this upload.
func seal(id, key string, secret []byte) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("upload token " + id))
	pad := mac.Sum(nil)
	if len(secret) > len(pad) {
		return nil
	}
	sealed := make([]byte, len(secret))
	subtle.XORBytes(sealed, secret, pad)
	return sealed
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// fits reports whether a token is that of the upload, in a time that does not depend on the token.
func (d uploadDoc) fits(t uploadToken) bool {
	return subtle.ConstantTimeCompare([]byte(hashSecret(t.secret)), []byte(d.TokenHash)) == 1
}

// uploadOf returns the document of the upload that a token belongs to. A wrong secret and a missing upload
// get the same error.
func (s *server) uploadOf(ctx context.Context, text string) (uploadDoc, error) {
	t, ok := parseToken(text)
	if !ok {
		return uploadDoc{}, noSuch("upload", pipeline.ErrNotFound)
	}
	d, err := s.loadUpload(ctx, t.project, t.id)
	if err != nil {
		return uploadDoc{}, noSuch("upload", err)
	}
	if !d.fits(t) {
		return uploadDoc{}, noSuch("upload", pipeline.ErrNotFound)
	}
	return d, nil
}
