package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signing is a key pair with its algorithm.
type signing struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func newSigning(t testing.TB, id string, a jose.SignatureAlgorithm) signing {
	t.Helper()
	var private crypto.Signer
	var err error
	switch a {
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	must(t, err)
	return signing{id, a, private}
}

// public returns the key as a JWKS has it.
func (s signing) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.private.Public(), KeyID: s.id, Algorithm: string(s.algorithm), Use: "sig"}
}

// sign returns a token. header is added to the one that a token has.
func (s signing) sign(t testing.TB, says map[string]any, header map[string]any) string {
	t.Helper()
	h := map[string]any{"alg": s.algorithm, "typ": "JWT"}
	if s.id != "" {
		h["kid"] = s.id
	}
	for name, value := range header {
		if h[name] = value; value == nil {
			delete(h, name)
		}
	}
	text := part(t, h) + "." + part(t, says)
	return text + "." + base64.RawURLEncoding.EncodeToString(s.signature(t, text))
}

// signature signs a text by hand, so that tokens can be made that no library makes.
func (s signing) signature(t testing.TB, text string) []byte {
	t.Helper()
	var sum []byte
	var hash crypto.Hash
	switch s.algorithm {
	case jose.EdDSA:
		sum = []byte(text)
	case jose.ES384:
		hash = crypto.SHA384
	default:
		hash = crypto.SHA256
	}
	if hash != 0 {
		h := hash.New()
		h.Write([]byte(text))
		sum = h.Sum(nil)
	}
	if key, ok := s.private.(*ecdsa.PrivateKey); ok {
		r, v, err := ecdsa.Sign(rand.Reader, key, sum)
		must(t, err)
		size := (key.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), v.FillBytes(make([]byte, size))...)
	}
	var how crypto.SignerOpts = hash
	if s.algorithm == jose.PS256 {
		how = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	raw, err := s.private.Sign(rand.Reader, sum, how)
	must(t, err)
	return raw
}

func part(t testing.TB, v any) string {
	t.Helper()
	return base64.RawURLEncoding.EncodeToString([]byte(encode(t, v)))
}

func encode(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	must(t, err)
	return string(raw)
}

// site is an issuer: it answers discovery and its keys over HTTP.
type site struct {
	*httptest.Server
	fetches atomic.Int64 // of the keys

	mu   sync.Mutex
	keys []jose.JSONWebKey
	odd  func(w http.ResponseWriter, r *http.Request) bool // answers in place of the site, if it returns true
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		keys, odd := s.keys, s.odd
		s.mu.Unlock()
		if odd != nil && odd(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, s.URL, s.URL+"/keys")
		case "/keys":
			s.fetches.Add(1)
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: keys})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// publish makes these the keys of the site.
func (s *site) publish(keys ...jose.JSONWebKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// answer makes the site answer otherwise; nil: as it should.
func (s *site) answer(odd func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd = odd
}

// shops are the projects default and shop.
type shops struct{}

func (shops) Read(_ context.Context, do func(*access.State)) error {
	s := access.NewState()
	s.Apply(pipeline.Event{
		Subject: pipeline.AccessSubject("shop", access.ProjectThing), Type: pipeline.ProjectCreated, Data: []byte(`{}`),
		Sequence: 1,
	})
	do(s)
	return nil
}

// open opens an issuer, without running it.
func open(t testing.TB, c Config) *Issuer {
	t.Helper()
	i, err := Open(c, shops{})
	must(t, err)
	i.keys.gap = time.Millisecond
	return i
}

// running opens an issuer, and runs it until the test ends.
func running(t testing.TB, c Config) *Issuer {
	t.Helper()
	i := open(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	return i
}

// claimsOf returns what a good token of a site says.
func claimsOf(s *site) map[string]any {
	return map[string]any{
		"iss": s.URL, "aud": "reelmill", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(), "project": "shop",
		"scope": "openid upload read",
	}
}

// with returns claims with some changed; nil removes one.
func with(says map[string]any, changes map[string]any) map[string]any {
	all := map[string]any{}
	for name, value := range says {
		all[name] = value
	}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// judge asks an issuer about a token.
func judge(t testing.TB, i *Issuer, text string) (access.Grant, error) {
	t.Helper()
	return i.Authenticate(t.Context(), secret.New(text))
}
