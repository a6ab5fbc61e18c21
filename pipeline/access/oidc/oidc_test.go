package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// TestGoodTokens: a token of each algorithm gets the grant that its claims say.
func TestGoodTokens(t *testing.T) {
	s := newSite(t)
	i := running(t, Config{Issuer: s.URL, Audience: "reelmill"})
	for _, a := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA} {
		key := newSigning(t, "key of "+string(a), a)
		s.publish(key.public())
		says := claimsOf(s)
		g, err := judge(t, i, key.sign(t, says, nil))
		must(t, err)
		ends := time.Unix(says["exp"].(int64), 0).Add(skew)
		if g.Project != "shop" || g.Actor != "user:ada" || !g.Expires.Equal(ends) || g.Key != "" ||
			!slices.Equal(g.Scopes, []access.Scope{access.Upload, access.Read}) {
			t.Errorf("%s: %+v, which should end %s", a, g, ends)
		}
	}
}

// TestClaims: what claims say of project and scopes, in the forms that issuers use.
func TestClaims(t *testing.T) {
	s := newSite(t)
	key := newSigning(t, "a", jose.ES256)
	s.publish(key.public())
	plain := Config{Issuer: s.URL, Audience: "reelmill"}
	named := plain
	named.ProjectClaim, named.ScopeClaim = "https://reelmill.example/project", "permissions"
	helped := plain
	helped.DefaultProject, helped.DefaultScopes = "default", []access.Scope{access.Read}
	for name, c := range map[string]struct {
		config  Config
		changes map[string]any
		project string // empty: refused
		scopes  []access.Scope
	}{
		"no scope":          {plain, map[string]any{"scope": nil}, "shop", nil},
		"unknown scopes":    {plain, map[string]any{"scope": "openid profile uploads READ"}, "shop", nil},
		"list of scopes":    {plain, map[string]any{"scope": []string{"write", "x"}}, "shop", []access.Scope{access.Write}},
		"scope is a number": {plain, map[string]any{"scope": 7}, "shop", nil},
		"scope is null":     {plain, map[string]any{"scope": json.RawMessage("null")}, "shop", nil},
		"operator":          {plain, map[string]any{"scope": "operator admin"}, "shop", []access.Scope{access.Admin}},
		"aud is a list":     {plain, map[string]any{"aud": []string{"x", "reelmill"}, "scope": nil}, "shop", nil},
		"no project":        {plain, map[string]any{"project": nil}, "", nil},
		"unknown project":   {plain, map[string]any{"project": "nowhere"}, "", nil},
		"all projects":      {plain, map[string]any{"project": "*"}, "", nil},
		"operator's token":  {plain, map[string]any{"project": "_operator"}, "", nil},
		"list of projects":  {plain, map[string]any{"project": []string{"shop"}}, "", nil},
		"empty project":     {helped, map[string]any{"project": ""}, "", nil},
		"other claims": {
			named, map[string]any{"https://reelmill.example/project": "default", "permissions": []string{"admin"}},
			"default", []access.Scope{access.Admin},
		},
		"defaults":      {helped, map[string]any{"project": nil, "scope": nil}, "default", []access.Scope{access.Read}},
		"no defaulting": {helped, map[string]any{"scope": "none"}, "shop", nil},
	} {
		g, err := judge(t, running(t, c.config), key.sign(t, with(claimsOf(s), c.changes), nil))
		if c.project == "" {
			if !errors.Is(err, access.ErrUnauthorized) {
				t.Errorf("%s: %+v, %v", name, g, err)
			}
			continue
		}
		if err != nil || g.Project != c.project || !slices.Equal(g.Scopes, c.scopes) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

// hostile returns tokens that must be refused, by what is wrong with them. The site has published key and other.
func hostile(t *testing.T, s *site, key, other signing) map[string]string {
	t.Helper()
	says := claimsOf(s)
	good := key.sign(t, says, nil)
	parts := strings.Split(good, ".")
	der, err := x509.MarshalPKIXPublicKey(key.private.Public())
	must(t, err)
	asPassword := func(password []byte) string {
		head := part(t, map[string]any{"alg": "HS256", "kid": key.id, "typ": "JWT"}) + "." + parts[1]
		mac := hmac.New(sha256.New, password)
		mac.Write([]byte(head))
		return head + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	stranger := newSigning(t, key.id, key.algorithm)
	embedded := jose.JSONWebKey{Key: stranger.private.Public(), KeyID: stranger.id}
	jwk, err := json.Marshal(embedded)
	must(t, err)
	now := time.Now()
	changed := func(name string, value any) string { return key.sign(t, with(says, map[string]any{name: value}), nil) }
	header := func(name string, value any) string { return key.sign(t, says, map[string]any{name: value}) }
	none := func(alg string) string {
		return part(t, map[string]any{"alg": alg, "kid": key.id}) + "." + parts[1] + "."
	}
	return map[string]string{
		"nothing": "", "dots": "..", "no token": "ey.ey.ey", "an API key": "rm_live_" + strings.Repeat("0", 49),
		"two parts": parts[0] + "." + parts[1], "four parts": good + "." + parts[2], "no signature": parts[0] + "." + parts[1] + ".",
		"cut": good[:len(good)-9], "other claims": parts[0] + "." + part(t, with(says, map[string]any{"sub": "eve"})) + "." + parts[2],
		"JSON": fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
		"none": none("none"), "None": none("None"), "NONE": none("NONE"), "empty alg": none(""),
		"none, signed": header("alg", "none"), "HS256 by PEM": asPassword(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 by DER": asPassword(der), "HS256 by nothing": asPassword(nil), "alg of another key": header("alg", "RS256"),
		"a stranger's key": stranger.sign(t, says, nil), "embedded jwk": stranger.sign(t, says, map[string]any{"jwk": json.RawMessage(jwk)}),
		"embedded jwk, no kid": stranger.sign(t, says, map[string]any{"jwk": json.RawMessage(jwk), "kid": nil}),
		"jku":                  stranger.sign(t, says, map[string]any{"jku": "http://127.0.0.1:1/keys"}),
		"kid of another key":   header("kid", other.id), "kid that is a path": stranger.sign(t, says, map[string]any{"kid": "../../dev/null"}),
		"kid that is SQL": stranger.sign(t, says, map[string]any{"kid": "' OR 1=1 --"}), "kid is a number": header("kid", 1),
		"no kid of two keys": header("kid", nil), "crit": header("crit", []string{"exp"}), "b64": header("b64", false),
		"typ of a logout token": header("typ", "logout+jwt"), "typ of a proof": header("typ", "dpop+jwt"),
		"wrong audience": changed("aud", "other"), "no audience": changed("aud", nil), "audience prefix": changed("aud", "reelmill2"),
		"empty audience": changed("aud", ""), "empty list": changed("aud", []string{}),
		"wrong issuer": changed("iss", "https://evil.example"), "no issuer": changed("iss", nil), "issuer with a slash": changed("iss", s.URL+"/"),
		"expired": changed("exp", now.Add(-skew-time.Second).Unix()), "no exp": changed("exp", nil), "exp 0": changed("exp", 0),
		"exp is a text": changed("exp", "2100-01-01"), "exp is beyond numbers": changed("exp", json.RawMessage("1e999")),
		"exp is negative": changed("exp", -1), "nbf is far": changed("nbf", now.Add(skew+time.Minute).Unix()), "nbf is a text": changed("nbf", "x"),
		"no sub": changed("sub", nil), "empty sub": changed("sub", ""), "long sub": changed("sub", strings.Repeat("a", 256)),
		"sub with a line break": changed("sub", "ada\nactor: system"), "sub is a number": changed("sub", 7),
		"bound to a key": changed("cnf", map[string]any{"jkt": "x"}), "logout token": changed("events", map[string]any{"x": 1}),
		"huge": changed("x", strings.Repeat("a", maxToken)), "deep": changed("x", json.RawMessage(strings.Repeat("[", 1500)+strings.Repeat("]", 1500))),
		"huge header": header("x", strings.Repeat("a", maxToken)),
	}
}

// TestHostileTokens: each is refused with the same error, and the log does not get the token.
func TestHostileTokens(t *testing.T) {
	var log pipelinetest.Buffer
	s := newSite(t)
	i := running(t, Config{
		Issuer: s.URL, Audience: "reelmill", DefaultProject: "default", DefaultScopes: []access.Scope{access.Read},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	key, other := newSigning(t, "a", jose.ES256), newSigning(t, "b", jose.ES256)
	s.publish(key.public(), other.public())
	if _, err := judge(t, i, key.sign(t, claimsOf(s), nil)); err != nil {
		t.Fatal(err)
	}
	for name, text := range hostile(t, s, key, other) {
		if name == "deep" { // it is valid, and costs nothing
			continue
		}
		g, err := judge(t, i, text)
		if err != access.ErrUnauthorized || g.Project != "" || g.Scopes != nil {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
		if len(text) > 20 && strings.Contains(log.String(), text[:20]) {
			t.Errorf("%s: the log has the token", name)
		}
	}
	if !strings.Contains(log.String(), "it has expired") || !strings.Contains(log.String(), "expected audience") {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

// TestSkew: clocks may be a minute apart, and no more.
func TestSkew(t *testing.T) {
	s := newSite(t)
	key := newSigning(t, "a", jose.EdDSA)
	s.publish(key.public())
	i := running(t, Config{Issuer: s.URL, Audience: "reelmill"})
	at := time.Unix(2_000_000_000, 0)
	now := at
	i.now = func() time.Time { return now }
	text := key.sign(t, with(claimsOf(s), map[string]any{"exp": at.Unix(), "nbf": at.Unix()}), nil)
	for offset, ok := range map[time.Duration]bool{
		-skew - time.Second: false, -skew: true, 0: true, skew - time.Second: true, skew: false, time.Hour: false,
	} {
		now = at.Add(offset)
		if _, err := judge(t, i, text); (err == nil) != ok {
			t.Errorf("%s off: %v", offset, err)
		}
	}
}

// TestRotationUnderLoad: while the issuer changes its keys, in each of the ways that issuers do, no valid token is
// refused, and none of a stranger is taken.
func TestRotationUnderLoad(t *testing.T) {
	s := newSite(t)
	i := running(t, Config{Issuer: s.URL, Audience: "reelmill"})
	key := newSigning(t, "0", jose.ES256)
	var current atomic.Pointer[signing]
	current.Store(&key)
	s.publish(key.public())
	stop := make(chan struct{})
	var accepted, refused atomic.Int64
	var load errgroup.Group
	for n := range 4 {
		load.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				k := current.Load()
				if n%2 == 0 {
					k = &signing{k.id, k.algorithm, newSigning(t, "", jose.ES256).private} // a stranger with the same kid
				}
				_, err := i.Authenticate(t.Context(), secret.New(k.sign(t, claimsOf(s), nil)))
				switch {
				case n%2 == 0 && err != access.ErrUnauthorized:
					return fmt.Errorf("a stranger's token: %v", err)
				case n%2 == 1 && err != nil:
					return fmt.Errorf("a valid token with key %s: %w", k.id, err)
				case err != nil:
					refused.Add(1)
				default:
					accepted.Add(1)
				}
			}
		})
	}
	settled := func() {
		a, r := accepted.Load()+5, refused.Load()+5
		pipelinetest.Until(t, "tokens under the new key", func() bool { return accepted.Load() > a && refused.Load() > r })
	}
	settled()
	for round := 1; round <= 8; round++ {
		next := newSigning(t, fmt.Sprint(round), jose.ES256)
		if round%4 == 3 {
			next.id = current.Load().id // some issuers use the name of a key again
		}
		old := *current.Load()
		if round%4 == 3 {
			s.publish(next.public(), old.public())
		} else {
			s.publish(old.public(), next.public()) // the old one stays for tokens that are on their way
		}
		current.Store(&next)
		settled()
		s.publish(next.public())
	}
	close(stop)
	must(t, load.Wait())
	t.Logf("%d accepted, %d of strangers refused, %d fetches", accepted.Load(), refused.Load(), s.fetches.Load())
}

// TestManyUsers: users who come at once are not mixed up.
func TestManyUsers(t *testing.T) {
	s := newSite(t)
	key := newSigning(t, "a", jose.EdDSA)
	s.publish(key.public())
	i := running(t, Config{Issuer: s.URL, Audience: "reelmill"})
	var g errgroup.Group
	for n := range 50 {
		g.Go(func() error {
			user := fmt.Sprint("user ", n)
			grant, err := i.Authenticate(t.Context(), secret.New(key.sign(t, with(claimsOf(s), map[string]any{"sub": user}), nil)))
			if err == nil && grant.Actor != "user:"+user {
				err = fmt.Errorf("%s got the grant of %s", user, grant.Actor)
			}
			return err
		})
	}
	must(t, g.Wait())
}

// TestConfig: mistakes are told at once, all of them.
func TestConfig(t *testing.T) {
	err := Config{
		Issuer: "login.example.com", JWKS: "ftp://x", DefaultProject: "No", DefaultScopes: []access.Scope{"reed"},
	}.Check()
	for _, flag := range []string{
		"--oidc-issuer", "--oidc-audience", "--oidc-jwks-url", "--oidc-default-project", "--oidc-default-scopes",
	} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is missing in %v", flag, err)
		}
	}
	if err := (Config{Issuer: "https://u:p@example.com", Audience: "a"}).Check(); err == nil || strings.Contains(err.Error(), "u:p") {
		t.Errorf("an issuer with a password: %v", err)
	}
	if _, err := Open(Config{}, shops{}); err == nil {
		t.Error("an issuer without anything is opened")
	}
	if (Config{Issuer: "https://a"}).Insecure() || !(Config{Issuer: "https://a", JWKS: "http://b"}).Insecure() {
		t.Error("http counts as secure, or https as not")
	}
}

// FuzzToken: no text but a token that the issuer has signed is taken, and none makes a panic.
func FuzzToken(f *testing.F) {
	key := newSigning(f, "a", jose.EdDSA)
	i, err := Open(Config{Issuer: "https://login.example.com", Audience: "reelmill"}, shops{})
	must(f, err)
	i.keys.take(time.Now(), []jose.JSONWebKey{key.public()}, nil)
	i.keys.worthAFetch = func([]byte) bool { return false }
	says := map[string]any{
		"iss": "https://login.example.com", "aud": "reelmill", "sub": "ada", "exp": 1 << 40, "project": "shop", "scope": "read",
	}
	f.Add(key.sign(f, says, nil))
	f.Add(key.sign(f, with(says, map[string]any{"aud": []string{"a", "reelmill"}}), map[string]any{"typ": "at+jwt"}))
	f.Add(part(f, map[string]any{"alg": "none"}) + "." + part(f, says) + ".")
	f.Add("ey.ey.ey")
	f.Add(`{"payload":"e30","signatures":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := i.Authenticate(context.Background(), secret.New(text))
		if err == nil && (g.Actor != "user:ada" || g.Project != "shop" || !slices.Equal(g.Scopes, []access.Scope{access.Read})) {
			t.Fatalf("%q: %+v", text, g)
		}
		if err != nil && err != access.ErrUnauthorized {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// FuzzKeys: whatever an issuer answers, there are only public keys for signatures.
func FuzzKeys(f *testing.F) {
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{newSigning(f, "a", jose.ES256).public()}})
	must(f, err)
	f.Add(raw)
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"OKP","crv":"X25519","x":"AA"},7,null]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		keys, err := readKeys(doc)
		if err != nil && keys != nil || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if !k.IsPublic() || kindOf(k) == "" || k.Use == "enc" {
				t.Fatalf("%+v", k)
			}
		}
	})
}
