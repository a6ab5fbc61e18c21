package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

const (
	// refreshEvery is how often the keys are fetched: a key that the issuer withdraws is refused after it.
	refreshEvery = 5 * time.Minute
	// retryEvery is how often that is tried again while it fails.
	retryEvery = 15 * time.Second
	// fetchGap is the shortest time between two fetches, whatever tokens come.
	fetchGap = 5 * time.Second
	// patience is how long a token with an unknown key waits for a fetch.
	patience = fetchGap + 2*fetchTimeout
	// maxAge is how long keys count after they were fetched last.
	maxAge = 24 * time.Hour
	// maxWaiting is how many tokens may wait for a fetch at once.
	maxWaiting = 1000
	// maxKeys is how many keys an issuer may have, and minRSA how many bits an RSA key must have.
	maxKeys = 64
	minRSA  = 2048
)

// keySet is the keys of an issuer: an oidc.KeySet of the verifier.
type keySet struct {
	fetch       func(context.Context) ([]jose.JSONWebKey, error)
	worthAFetch func(payload []byte) bool // of a token: all but its signature is right
	gap         time.Duration             // fetchGap
	recurring   pipeline.Recurring
	waiting     atomic.Int64
	wanted      chan struct{} // a token wants a fetch

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time     // when the last fetch that succeeded began; zero: none has
	tried   time.Time     // when the last fetch began
	err     error         // of that one
	done    chan struct{} // closed and replaced when a fetch has ended
}

func newKeySet(fetch func(context.Context) ([]jose.JSONWebKey, error), log *slog.Logger) *keySet {
	return &keySet{
		fetch: fetch, gap: fetchGap, recurring: pipeline.Recurring{Logger: log},
		wanted: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// fetchLog is what the log calls a fetch.
const fetchLog = "fetch the keys of the OpenID Connect issuer"

// run fetches the keys until ctx ends.
func (k *keySet) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		began := time.Now()
		keys, err := k.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.take(began, keys, err)
		next := refreshEvery
		if err != nil {
			next = retryEvery
			k.recurring.Failed(fetchLog, "error", err)
		} else {
			k.recurring.Works(fetchLog)
		}
		if !sleep(ctx, timer, k.gap, nil) || !sleep(ctx, timer, next-k.gap, k.wanted) {
			return nil
		}
	}
}

// sleep waits for a time, or until there is something in wake. It returns false when ctx has ended.
func sleep(ctx context.Context, timer *time.Timer, d time.Duration, wake <-chan struct{}) bool {
	timer.Reset(d)
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// take takes the keys of a fetch. While fetches fail, the keys before count.
func (k *keySet) take(began time.Time, keys []jose.JSONWebKey, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = began, err
	if err == nil {
		k.keys, k.fetched = keys, began
	}
	close(k.done)
	k.done = make(chan struct{})
}

// glance is what a keySet knew at one time.
type glance struct {
	keys  []jose.JSONWebKey
	tried time.Time // when the last fetch that has ended began
	err   error     // of that one
	next  <-chan struct{}
}

// look returns what is known now.
func (k *keySet) look() glance {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := glance{k.keys, k.tried, k.err, k.done}
	if time.Since(k.fetched) > maxAge {
		g.keys = nil
	}
	return g
}

type causeKey struct{}

// withCause returns a context in which VerifySignature leaves its error, of which the verifier keeps only the
// text.
func withCause(ctx context.Context, cause *error) context.Context {
	return context.WithValue(ctx, causeKey{}, cause)
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	token, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, err
	}
	payload, err := k.verify(ctx, token)
	if cause, ok := ctx.Value(causeKey{}).(*error); ok {
		*cause = err
	}
	return payload, err
}

// verify returns the payload of a token that a key of the issuer has signed. A token that no known key has
// signed waits for a fetch that begins after it came: the issuer may have a new key.
func (k *keySet) verify(ctx context.Context, token *jose.JSONWebSignature) ([]byte, error) {
	arrived, known := time.Now(), k.look()
	payload, err := verifyBy(known.keys, token)
	if err == nil || !k.worthAFetch(token.UnsafePayloadWithoutVerification()) {
		return payload, err
	}
	if k.waiting.Add(1) > maxWaiting {
		k.waiting.Add(-1)
		return nil, access.ErrIssuerAway
	}
	defer k.waiting.Add(-1)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for known.tried.Before(arrived) {
		select {
		case k.wanted <- struct{}{}:
		default: // another token wants it already
		}
		select {
		case <-known.next:
		case <-limited.Done():
			return nil, errors.Join(access.ErrIssuerAway, ctx.Err())
		}
		known = k.look()
		if payload, err = verifyBy(known.keys, token); err == nil {
			return payload, nil
		}
	}
	if known.err != nil {
		return nil, access.ErrIssuerAway
	}
	return nil, err
}

// verifyBy returns the payload of a token that one of the keys has signed. A token without kid must leave no
// choice (OpenID Connect Core 1.0, 10.1).
func verifyBy(keys []jose.JSONWebKey, token *jose.JSONWebSignature) ([]byte, error) {
	header := token.Signatures[0].Protected
	var fit []jose.JSONWebKey
	for _, key := range keys {
		if (header.KeyID == "" || key.KeyID == header.KeyID) && fits(key, header.Algorithm) {
			fit = append(fit, key)
		}
	}
	if header.KeyID == "" && len(fit) > 1 {
		return nil, errors.New("it has no kid, and the issuer has several keys for its algorithm")
	}
	for _, key := range fit {
		if payload, err := token.Verify(&key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of the issuer has signed it")
}

// fits reports whether a key may be used with an algorithm.
func fits(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" {
		return key.Algorithm == algorithm
	}
	kind, ok := map[string]string{"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:2]]
	return ok && kindOf(key) == kind
}

// readKeys returns the keys of a JWKS that tokens may be signed with (RFC 7517, 5): it skips what it does not
// understand, and what is no public key for signatures.
func readKeys(doc []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, fmt.Errorf("read the keys of the issuer: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("read the keys of the issuer: the answer is no JWKS, since it has no member keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the issuer has %d keys; at most %d are taken", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && usable(key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// usable reports whether tokens may be signed with a key.
func usable(key jose.JSONWebKey) bool {
	if !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" || kindOf(key) == "" {
		return false
	}
	if rsa, ok := key.Key.(*rsa.PublicKey); ok && rsa.N.BitLen() < minRSA {
		return false
	}
	return key.Algorithm == "" || slices.Contains(algorithms, jose.SignatureAlgorithm(key.Algorithm))
}
