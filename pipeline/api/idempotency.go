package api

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

const (
	// answersPrefix is that of the keys of all stored answers: idempotency/<project>/<hash of the key>/...
	answersPrefix = "idempotency/"
	// answerMemory is how long an answer is repeated.
	answerMemory = 24 * time.Hour
	// claimLease is how long a request may take whose server has died: then another may do it.
	claimLease = 2 * time.Minute
	// claimTries bounds how many servers may die with one request.
	claimTries = 20
	// maxStoredAnswer bounds a stored answer, in bytes. A larger one is not stored.
	maxStoredAnswer = 4 << 20
	sweepAnswers    = time.Hour
)

// storedAnswer is what a request with an Idempotency-Key was answered. The key itself, which the server does
// not keep, opens it: answers have secrets, such as the URL of an upload.
type storedAnswer struct {
	Request string      `json:"request"` // hash of address and body; the method is POST
	Status  int         `json:"status"`
	Header  http.Header `json:"header"`
	Body    []byte      `json:"body"`
}

// claim says that a server works on a request.
type claim struct {
	Request string    `json:"request"`
	At      time.Time `json:"at"`
}

// ownsItsKeys reports whether the handler of a POST keeps its own promises about Idempotency-Key: an upload
// becomes one video however often it is repeated, and its body is too large to be hashed before.
func ownsItsKeys(r *http.Request) bool { return boundsItsBody(r) }

// idempotent answers a POST with an Idempotency-Key once, and passes other requests on. Step by step:
//
//  1. A stored answer to the same request is answered again; to another one, it is a refusal (422).
//  2. The request claims the key, which only one can. While another has it, the answer is 409. The claim of a
//     server that died is over after claimLease; then the next claim is a new object: again only one has it.
//  3. The handler answers into memory. A success is stored before anybody sees it.
//  4. The claim is removed. A request that failed has changed nothing, so its key may be used again.
func (s *server) idempotent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		v1 := strings.HasPrefix(r.URL.Path, "/v1/")
		if r.Method != http.MethodPost || key == "" || !v1 || ownsItsKeys(r) {
			next.ServeHTTP(w, r)
			return
		}
		if err := s.answerOnce(w, r, key, next); err != nil {
			s.refuse(w, r, err)
		}
	})
}

func (s *server) answerOnce(w http.ResponseWriter, r *http.Request, key string, next http.Handler) error {
	if err := checkKey(key); err != nil {
		return err
	}
	request, err := hashRequest(r)
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context()) // a claim must be removed when the client is gone
	k := s.answerKey(projectOf(ctx), key)
	if before, err := k.load(ctx); err != nil || before != nil {
		return replay(w, before, request, err)
	}
	claimed, err := k.claim(ctx, request, time.Now())
	if err != nil {
		return err
	}
	defer func() {
		if err := s.cfg.Store.Delete(ctx, claimed); err != nil {
			s.cfg.Logger.WarnContext(ctx, "release an idempotency key; it is free in some minutes", "key", claimed,
				"request_id", requestID(ctx), "error", err)
		}
	}()
	if before, err := k.load(ctx); err != nil || before != nil { // the one before us was just done
		return replay(w, before, request, err)
	}
	buffered := &bufferedAnswer{ResponseWriter: w, header: maps.Clone(w.Header())}
	next.ServeHTTP(buffered, r.WithContext(context.WithValue(r.Context(), keyContext{}, key)))
	if buffered.succeeded() {
		answer := storedAnswer{request, buffered.status, buffered.own(w.Header()), buffered.body.Bytes()}
		if err := k.save(ctx, answer); err != nil {
			// The change is made: a failure would tell the client that it is not.
			s.cfg.Logger.WarnContext(ctx, "store the answer to an idempotency key; a retry does the request again",
				"request_id", requestID(ctx), "error", err)
		}
	}
	return buffered.send()
}

type keyContext struct{}

// derivedFor returns an id that belongs to the Idempotency-Key of the request; "" when it has none. What is
// made with such an id is made once, although the answer is lost before it is stored.
func derivedFor(ctx context.Context, prefix string) string {
	key, _ := ctx.Value(keyContext{}).(string)
	if key == "" {
		return ""
	}
	name := prefix + " of a key\n" + projectOf(ctx) + "\n" + key
	return pipeline.DerivedID(prefix, sha256.Sum256([]byte(name)))
}

// hashRequest returns a hash of what a request asks for, and leaves it readable.
func hashRequest(r *http.Request) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", r.URL.Path, r.URL.RawQuery)
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "", fail(codeBodyTooLarge, "The body has more than %d bytes, the limit here.", large.Limit)
		}
		if err != nil {
			return "", brokenBody(err)
		}
		h.Write(raw)
		r.Body = io.NopCloser(bytes.NewReader(raw))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// replay answers with a stored answer, if it is to the same request.
func replay(w http.ResponseWriter, before *storedAnswer, request string, err error) error {
	if err != nil {
		return err
	}
	if before.Request != request {
		return failAt("/header/Idempotency-Key", codeKeyReused, "This key belongs to another request.")
	}
	maps.Copy(w.Header(), before.Header)
	w.Header().Set("Idempotency-Replayed", "true")
	w.WriteHeader(before.Status)
	_, err = w.Write(before.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	return nil
}

// answerKey is an Idempotency-Key of a project.
type answerKey struct {
	store  storage.Store
	prefix string
	aead   cipher.AEAD
}

// answerKey returns where the answer to a key is. The name of its object is a hash of the key, and another
// hash seals it.
func (s *server) answerKey(project, key string) answerKey {
	name := sha256.Sum256([]byte("name of answer\n" + project + "\n" + key))
	secret := sha256.Sum256([]byte("seal of answer\n" + project + "\n" + key))
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // likewise
	}
	return answerKey{s.cfg.Store, answersPrefix + project + "/" + hex.EncodeToString(name[:16]) + "/", aead}
}

// load returns the stored answer; nil when there is none, or it is too old.
func (k answerKey) load(ctx context.Context) (*storedAnswer, error) {
	raw, info, err := k.read(ctx, "answer")
	if raw == nil || err != nil || time.Since(info.Modified) > answerMemory {
		return nil, err
	}
	raw, err = k.aead.Open(nil, nil, raw, nil)
	if err != nil {
		return nil, fmt.Errorf("open the answer to an idempotency key: %w", err)
	}
	var a storedAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("read the answer to an idempotency key: %w", err)
	}
	return &a, nil
}

// read returns an object of the key; nil when there is none.
func (k answerKey) read(ctx context.Context, name string) ([]byte, storage.Info, error) {
	r, info, err := k.store.Get(ctx, k.prefix+name, storage.Range{})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, info, nil
	}
	if err != nil {
		return nil, info, ofStore(err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxStoredAnswer))
	return raw, info, ofStore(errors.Join(err, r.Close()))
}

func (k answerKey) save(ctx context.Context, a storedAnswer) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	sealed := k.aead.Seal(nil, nil, raw, nil)
	if len(sealed) > maxStoredAnswer {
		return fmt.Errorf("the answer has %d bytes when it is sealed; at most %d are read again", len(sealed),
			maxStoredAnswer)
	}
	size := storage.PutOptions{Size: int64(len(sealed))}
	_, err = k.store.Put(ctx, k.prefix+"answer", bytes.NewReader(sealed), size)
	return err
}

// claim returns the object that says that this request alone works on the key.
func (k answerKey) claim(ctx context.Context, request string, now time.Time) (string, error) {
	raw, err := json.Marshal(claim{request, now.UTC()})
	if err != nil {
		return "", err
	}
	for n := range claimTries {
		name := "claim-" + strconv.Itoa(n)
		_, err := k.store.Put(ctx, k.prefix+name, bytes.NewReader(raw), storage.PutOptions{
			Size: int64(len(raw)), IfAbsent: true,
		})
		if err == nil {
			return k.prefix + name, nil
		}
		if !errors.Is(err, storage.ErrExists) {
			return "", ofStore(err)
		}
		held, _, err := k.read(ctx, name)
		if err != nil {
			return "", err
		}
		var other claim
		if held == nil || json.Unmarshal(held, &other) != nil || now.Sub(other.At) < claimLease {
			return "", failAt("/header/Idempotency-Key", codeKeyBusy, "Another request with this key is under way.")
		}
	}
	return "", failAt("/header/Idempotency-Key", codeKeyBusy, "%d requests with this key have broken off.",
		claimTries)
}

// bufferedAnswer keeps an answer in memory.
type bufferedAnswer struct {
	http.ResponseWriter
	header http.Header
	status int
	body   bytes.Buffer
}

// Unwrap lets http.ResponseController find the connection.
func (b *bufferedAnswer) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// Header returns the header of the answer.
func (b *bufferedAnswer) Header() http.Header { return b.header }

// WriteHeader keeps the status.
func (b *bufferedAnswer) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

// Write keeps a part of the body.
func (b *bufferedAnswer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

func (b *bufferedAnswer) succeeded() bool { return b.status >= 200 && b.status < 300 }

// own returns the header that the handler has set, without what every answer has.
func (b *bufferedAnswer) own(common http.Header) http.Header {
	own := b.header.Clone()
	for name := range common {
		delete(own, name)
	}
	return own
}

// send sends the answer.
func (b *bufferedAnswer) send() error {
	b.WriteHeader(http.StatusOK)
	maps.Copy(b.ResponseWriter.Header(), b.header)
	b.ResponseWriter.WriteHeader(b.status)
	if _, err := b.ResponseWriter.Write(b.body.Bytes()); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	return nil
}

// sweepStoredAnswers removes answers and claims that are older than answerMemory.
func (s *server) sweepStoredAnswers(ctx context.Context, now time.Time) error {
	for info, err := range s.cfg.Store.List(ctx, answersPrefix) {
		if err != nil {
			return err
		}
		if now.Add(-s.cfg.Jumped()).Sub(info.Modified) > answerMemory {
			if err := s.cfg.Store.Delete(ctx, info.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeKey documents the header of a POST that lacks it.
func describeKey(op *huma.Operation) {
	for _, p := range op.Parameters {
		if p.Name == "Idempotency-Key" {
			return
		}
	}
	longest := 255
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &longest},
		Description: "A new one for each request, and the same for every try of it. For 24 hours after a " +
			"success, the same request gets the same answer, with Idempotency-Replayed, and does nothing; another " +
			"request with the key is refused (422). While a request is under way, others with its key get 409. A " +
			"request that failed leaves its key free.",
	})
	for status, r := range op.Responses {
		if strings.HasPrefix(status, "2") {
			if r.Headers == nil {
				r.Headers = map[string]*huma.Param{}
			}
			r.Headers["Idempotency-Replayed"] = &huma.Param{
				Schema: text("true when an earlier request got this answer"),
			}
		}
	}
}
