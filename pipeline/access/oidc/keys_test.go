package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// TestStrangersCannotMakeUsFetch: a flood of tokens with unknown keys leads to a fetch each fetchGap, each token is
// answered within two of those, and tokens under known keys wait for none.
func TestStrangersCannotMakeUsFetch(t *testing.T) {
	key, stranger := newSigning(t, "a", jose.EdDSA), newSigning(t, "b", jose.EdDSA)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var fetches atomic.Int64
		i, err := Open(Config{Issuer: "https://login.example.com", Audience: "reelmill"}, shops{})
		must(t, err)
		i.keys.fetch = func(context.Context) ([]jose.JSONWebKey, error) {
			fetches.Add(1)
			time.Sleep(time.Second) // a slow issuer
			return []jose.JSONWebKey{key.public()}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		says := map[string]any{
			"iss": "https://login.example.com", "aud": "reelmill", "sub": "a", "exp": 1 << 40, "project": "shop",
		}
		good, bad := key.sign(t, says, nil), stranger.sign(t, says, nil)
		answers := make(chan time.Duration)
		const tokens = 500
		for n := range tokens {
			go func() {
				time.Sleep(time.Duration(n) * 100 * time.Millisecond)
				since := time.Now()
				if _, err := judge(t, i, bad); err != access.ErrUnauthorized {
					t.Errorf("a stranger's token: %v", err)
				}
				answers <- time.Since(since)
			}()
		}
		for n := range tokens {
			if took := <-answers; took > 2*fetchGap+2*time.Second {
				t.Errorf("answer %d took %s", n, took)
			}
			since := time.Now()
			if _, err := judge(t, i, good); err != nil || time.Since(since) != 0 && fetches.Load() > 1 {
				t.Errorf("a good token: %v after %s", err, time.Since(since))
			}
		}
		if most := int64(time.Since(began)/fetchGap) + 1; fetches.Load() > most {
			t.Errorf("%d fetches in %s", fetches.Load(), time.Since(began))
		}
		before := fetches.Load()
		time.Sleep(time.Hour) // nobody comes: the keys are fetched each refreshEvery
		if n := fetches.Load() - before; n < 11 || n > 13 {
			t.Errorf("%d fetches in an hour", n)
		}
		cancel()
		must(t, <-done)
	})
}

// TestTooManyWait: when very many tokens wait for a fetch, further ones are answered at once.
func TestTooManyWait(t *testing.T) {
	k := newKeySet(nil, slog.New(slog.DiscardHandler))
	k.worthAFetch = func([]byte) bool { return true }
	k.waiting.Store(maxWaiting)
	text := newSigning(t, "b", jose.EdDSA).sign(t, map[string]any{}, nil)
	if _, err := k.VerifySignature(t.Context(), text); !errors.Is(err, access.ErrIssuerAway) {
		t.Error(err)
	}
}

// TestIssuerIsAway: an issuer that hangs, fails or answers nonsense keeps nobody out whose key is known. Others are
// told that the issuer does not answer; and once it does, they are let in.
func TestIssuerIsAway(t *testing.T) {
	s := newSite(t)
	release := make(chan struct{})
	defer close(release)
	old, fresh := newSigning(t, "old", jose.ES256), newSigning(t, "new", jose.ES256)
	s.publish(old.public())
	var log pipelinetest.Buffer
	i := running(t, Config{Issuer: s.URL, Audience: "reelmill", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	known, unknown := old.sign(t, claimsOf(s), nil), fresh.sign(t, claimsOf(s), nil)
	_, err := judge(t, i, known)
	must(t, err)
	for name, odd := range map[string]func(http.ResponseWriter, *http.Request){
		"an error":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusInternalServerError) },
		"a page":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"other JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[`+strings.Repeat(" ", maxAnswer)+"]}")
		},
		"a loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"another name": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://evil.example","jwks_uri":"https://evil.example/"}`)
		},
		"cut off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		s.answer(func(w http.ResponseWriter, r *http.Request) bool { odd(w, r); return true })
		if _, err := judge(t, i, unknown); !errors.Is(err, access.ErrIssuerAway) {
			t.Errorf("%s: an unknown key: %v", name, err)
		}
		if _, err := judge(t, i, known); err != nil {
			t.Errorf("%s: a known key: %v", name, err)
		}
	}
	asked := make(chan struct{}, 100)
	s.answer(func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	waiting, leave := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := i.Authenticate(waiting, secret.New(unknown))
		answered <- err
	}()
	pipelinetest.Receive(t, "a request that hangs", asked)
	if _, err := judge(t, i, known); err != nil {
		t.Errorf("while the issuer hangs: %v", err)
	}
	leave()
	if err := pipelinetest.Receive(t, "the end of a client that has left", answered); !errors.Is(err, context.Canceled) &&
		!errors.Is(err, access.ErrIssuerAway) {
		t.Errorf("a client that has left: %v", err)
	}
	s.answer(nil)
	s.publish(old.public(), fresh.public())
	pipelinetest.Until(t, "the new key counts", func() bool {
		_, err := judge(t, i, unknown)
		return err == nil
	})
	if !strings.Contains(log.String(), fetchLog) {
		t.Errorf("the log does not say that the issuer was away: %s", log.String())
	}
}

// TestWithdrawnKey: a key that the issuer has withdrawn is refused after the next fetch; and keys that could not be
// fetched for a day count no more.
func TestWithdrawnKey(t *testing.T) {
	key := newSigning(t, "a", jose.EdDSA)
	synctest.Test(t, func(t *testing.T) {
		i, err := Open(Config{Issuer: "https://login.example.com", Audience: "reelmill"}, shops{})
		must(t, err)
		text := key.sign(t, map[string]any{
			"iss": "https://login.example.com", "aud": "reelmill", "sub": "a", "exp": 1 << 40, "project": "shop",
		}, nil)
		type answer struct {
			published []jose.JSONWebKey
			failing   error
		}
		var issuer atomic.Value
		good := answer{published: []jose.JSONWebKey{key.public()}}
		issuer.Store(good)
		i.keys.fetch = func(context.Context) ([]jose.JSONWebKey, error) {
			a := issuer.Load().(answer)
			return a.published, a.failing
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		synctest.Wait()
		if _, err := judge(t, i, text); err != nil {
			t.Fatal(err)
		}
		issuer.Store(answer{failing: errors.New("away")})
		time.Sleep(maxAge - time.Hour)
		if _, err := judge(t, i, text); err != nil {
			t.Errorf("after most of a day: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := judge(t, i, text); !errors.Is(err, access.ErrIssuerAway) {
			t.Errorf("after a day: %v", err)
		}
		issuer.Store(good)
		time.Sleep(refreshEvery)
		if _, err := judge(t, i, text); err != nil {
			t.Errorf("after its return: %v", err)
		}
		issuer.Store(answer{})
		time.Sleep(refreshEvery + time.Second)
		if _, err := judge(t, i, text); err != access.ErrUnauthorized {
			t.Errorf("a withdrawn key: %v", err)
		}
		cancel()
		must(t, <-done)
	})
}

// TestKeysOfIssuers: what is no key for signatures is skipped, and so is what nobody knows.
func TestKeysOfIssuers(t *testing.T) {
	good := newSigning(t, "good", jose.ES256).public()
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // it must be refused
	must(t, err)
	private := newSigning(t, "private", jose.ES256)
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		good, {Key: []byte("a password of many bytes"), KeyID: "oct"}, {Key: &small.PublicKey, KeyID: "small"},
		{Key: private.private.(*ecdsa.PrivateKey), KeyID: "private"}, {Key: good.Key, KeyID: "enc", Use: "enc"},
		{Key: good.Key, KeyID: "RSA-OAEP", Algorithm: "RSA-OAEP"},
	}}
	doc := strings.Replace(encode(t, set), `{"keys":[`, `{"keys":[{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"},{"kty":"EC"},7,`, 1)
	keys, err := readKeys([]byte(doc))
	if err != nil || len(keys) != 1 || keys[0].KeyID != "good" {
		t.Errorf("%+v, %v", keys, err)
	}
	many := `{"keys":[` + strings.TrimSuffix(strings.Repeat("{},", maxKeys+1), ",") + `]}`
	if _, err := readKeys([]byte(many)); err == nil {
		t.Errorf("%d keys are taken", maxKeys+1)
	}
}

// TestOneKeyWithoutName: a token without kid counts if the issuer leaves no choice.
func TestOneKeyWithoutName(t *testing.T) {
	s := newSite(t)
	i := running(t, Config{Issuer: s.URL, Audience: "reelmill", JWKS: s.URL + "/keys"}) // without discovery
	key, other := newSigning(t, "", jose.ES256), newSigning(t, "rsa", jose.RS256)
	s.publish(key.public(), other.public())
	if _, err := judge(t, i, key.sign(t, claimsOf(s), nil)); err != nil {
		t.Error(err)
	}
}

// TestRedirects: an issuer behind https cannot be led to http, where somebody could forge its keys.
func TestRedirects(t *testing.T) {
	from, err := http.NewRequest(http.MethodGet, "https://login.example.com/keys", nil)
	must(t, err)
	to, err := http.NewRequest(http.MethodGet, "http://login.example.com/keys", nil)
	must(t, err)
	if checkRedirect(to, []*http.Request{from}) == nil {
		t.Error("a redirect from https to http is followed")
	}
	if err := checkRedirect(from, []*http.Request{to, to}); err != nil {
		t.Error(err)
	}
}
