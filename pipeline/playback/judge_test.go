package playback

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// log is a log in memory, and the Keys that it leads to.
type log struct {
	events []pipeline.Event
	err    error // of Read
}

func (l *log) Append(_ context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if last, _ := l.Last(context.Background(), e.Subject); last[0].Sequence != after {
		return 0, pipeline.ErrConflict
	}
	e.Sequence = uint64(len(l.events) + 1)
	l.events = append(l.events, e)
	return e.Sequence, nil
}

func (l *log) Last(_ context.Context, subjects ...string) ([]pipeline.Event, error) {
	found := make([]pipeline.Event, len(subjects))
	for i, s := range subjects {
		for _, e := range l.events {
			if e.Subject == s {
				found[i] = e
			}
		}
	}
	return found, nil
}

func (l *log) Read(_ context.Context, do func(*access.State)) error {
	if l.err != nil {
		return l.err
	}
	s := access.NewState()
	for _, e := range l.events {
		s.Apply(e)
	}
	do(s)
	return nil
}

// KeepSecret implements access.Vault.
func (l *log) KeepSecret(context.Context, string, []byte) ([]byte, error) {
	return []byte(strings.Repeat("k", 32)), nil
}

// rig is a judge with a signing key of each algorithm.
type rig struct {
	*Judge
	log     *log
	keys    map[access.Algorithm]access.SigningKey
	private map[access.Algorithm]any
}

// at is the time by the clock of the rig.
var at = time.Unix(1_800_000_000, 0)

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{log: &log{}, keys: map[access.Algorithm]access.SigningKey{}, private: map[access.Algorithm]any{}}
	root, err := access.OpenRoot(context.Background(), r.log)
	must(t, err)
	r.Judge = NewJudge(root, r.log)
	r.now = func() time.Time { return at }
	for _, a := range access.Algorithms {
		k, private, _, err := access.CreateSigningKey(context.Background(), r.log, access.NewSigningKey{Project: "default", Algorithm: a})
		must(t, err)
		r.keys[a], r.private[a] = k, parsePrivate(t, private.Reveal())
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parsePrivate(t testing.TB, text string) any {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	return private
}

// payload is what a good token says.
func payload() map[string]any {
	return map[string]any{"sub": "vid_1", "aud": "playback", "exp": at.Unix() + 600}
}

// sign returns a token of a key.
func (r *rig) sign(t testing.TB, a access.Algorithm, payload any) string {
	t.Helper()
	return sign(t, jose.SignatureAlgorithm(a), r.private[a], r.keys[a].ID, payload)
}

func sign(t testing.TB, a jose.SignatureAlgorithm, key any, kid string, payload any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: a, Key: key}, options)
	must(t, err)
	text, err := jwt.Signed(s).Claims(payload).Serialize()
	must(t, err)
	return text
}

// asked is what a good token plays.
func asked() Asked {
	return Asked{Project: "default", Video: "vid_1", Path: "720p/index.m3u8", Client: netip.MustParseAddr("203.0.113.7")}
}

// with changes a payload.
func with(changes ...any) map[string]any {
	p := payload()
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(p, name)
		} else {
			p[name] = changes[i+1]
		}
	}
	return p
}

// TestTokensThatPlay: a token of each algorithm plays its video, where and what it says.
func TestTokensThatPlay(t *testing.T) {
	r := newRig(t)
	for name, p := range map[string]map[string]any{
		"plain":                 payload(),
		"many audiences":        with("aud", []string{"other", "playback"}),
		"nbf now":               with("nbf", at.Unix()),
		"a clock 60 s ahead":    with("nbf", at.Unix()+60, "iat", at.Unix()+60),
		"of an address":         with("ip", "203.0.113.7"),
		"of a network":          with("ip", "203.0.113.0/24"),
		"of a path":             with("path", "720p/"),
		"of all paths":          with("path", ""),
		"claims of others":      with("jti", "x", "iss", "site", "role", "viewer"),
		"a second before it":    with("exp", at.Unix()+1),
		"a fraction of seconds": with("exp", float64(at.Unix())+1.5),
	} {
		for _, a := range access.Algorithms {
			got, err := r.Token(t.Context(), asked(), r.sign(t, a, p))
			if err != nil || got.Issuer != r.keys[a].ID || got.Video != "vid_1" || !got.Expires.After(at) {
				t.Errorf("%s, %s: %+v, %v", name, a, got, err)
			}
			if name == "of an address" && (got.Shared() || got.IP != netip.MustParsePrefix("203.0.113.7/32")) {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}

// TestTokensThatDoNotPlay: each kind of wrong token is refused, with the reason.
func TestTokensThatDoNotPlay(t *testing.T) {
	r := newRig(t)
	_, stolen, _, err := access.CreateSigningKey(t.Context(), r.log, access.NewSigningKey{Project: "default"})
	must(t, err)
	_, err = access.CreateProject(t.Context(), r.log, "elsewhere", access.Settings{})
	must(t, err)
	foreign, foreignKey, _, err := access.CreateSigningKey(t.Context(), r.log, access.NewSigningKey{Project: "elsewhere"})
	must(t, err)
	revoked, revokedKey, _, err := access.CreateSigningKey(t.Context(), r.log, access.NewSigningKey{Project: "default"})
	must(t, err)
	_, err = access.RevokeSigningKey(t.Context(), r.log, "default", revoked.ID)
	must(t, err)
	es, kid := r.keys[access.ES256], r.keys[access.ES256].ID
	good := r.sign(t, access.ES256, payload())
	parts := strings.Split(good, ".")
	raw := func(header string) string { return base64.RawURLEncoding.EncodeToString([]byte(header)) }
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)

	of := func(p map[string]any) string { return r.sign(t, access.ES256, p) }
	for name, c := range map[string]struct {
		token string
		want  error
		says  string
	}{
		"nothing":             {"", ErrInvalid, "no JWT"},
		"no JWT":              {"a.b.c", ErrInvalid, "no JWT"},
		"too long":            {strings.Repeat("a", maxToken+1), ErrInvalid, "bytes"},
		"alg none":            {raw(`{"alg":"none","kid":"`+kid+`"}`) + "." + parts[1] + ".", ErrInvalid, "no JWT"},
		"alg None":            {raw(`{"alg":"None","kid":"`+kid+`"}`) + "." + parts[1] + "." + parts[2], ErrInvalid, "no JWT"},
		"HS256 of public key": {sign(t, jose.HS256, []byte(es.PublicKey), kid, payload()), ErrInvalid, "no JWT"},
		"HS256 of its DER":    {sign(t, jose.HS256, derOf(t, es.PublicKey), kid, payload()), ErrInvalid, "no JWT"},
		"ES384":               {sign(t, jose.ES384, p384, kid, payload()), ErrInvalid, "no JWT"},
		"another algorithm":   {sign(t, jose.EdDSA, r.private[access.EdDSA], kid, payload()), ErrInvalid, "alg is not ES256"},
		"another key":         {sign(t, jose.ES256, parsePrivate(t, stolen.Reveal()), kid, payload()), ErrInvalid, "signature"},
		"changed payload":     {parts[0] + "." + raw(`{"sub":"vid_1","aud":"playback","exp":9999999999}`) + "." + parts[2], ErrInvalid, "signature"},
		"no signature":        {parts[0] + "." + parts[1] + ".", ErrInvalid, ""},
		"key in its header": {
			withJWK(t, parsePrivate(t, stolen.Reveal()), kid), ErrInvalid, "signature",
		},
		"no kid":                   {sign(t, jose.ES256, r.private[access.ES256], "", payload()), ErrInvalid, "no kid"},
		"unknown kid":              {sign(t, jose.ES256, r.private[access.ES256], "sgk_x", payload()), ErrInvalid, "no signing key"},
		"a path as kid":            {sign(t, jose.ES256, r.private[access.ES256], "../"+kid, payload()), ErrInvalid, "no signing key"},
		"a foreign project's key":  {sign(t, jose.ES256, parsePrivate(t, foreignKey.Reveal()), foreign.ID, payload()), ErrInvalid, "no signing key"},
		"a foreign project in kid": {sign(t, jose.ES256, parsePrivate(t, foreignKey.Reveal()), "elsewhere."+foreign.ID, payload()), ErrInvalid, "no signing key"},
		"revoked key":              {sign(t, jose.ES256, parsePrivate(t, revokedKey.Reveal()), revoked.ID, payload()), ErrInvalid, "revoked"},

		"no aud":            {of(with("aud", nil)), ErrInvalid, "aud"},
		"wrong aud":         {of(with("aud", "upload")), ErrInvalid, "aud"},
		"aud in capitals":   {of(with("aud", "Playback")), ErrInvalid, "aud"},
		"aud of a number":   {of(with("aud", 1)), ErrInvalid, "claims"},
		"no sub":            {of(with("sub", nil)), ErrInvalid, "no sub"},
		"wrong sub":         {of(with("sub", "vid_2")), ErrInvalid, "another video"},
		"no exp":            {of(with("exp", nil)), ErrInvalid, "no exp"},
		"exp is null":       {of(with("exp", json.RawMessage("null"))), ErrInvalid, "no exp"},
		"exp is a text":     {of(with("exp", "tomorrow")), ErrInvalid, "claims"},
		"exp beyond time":   {of(with("exp", json.RawMessage("1e30"))), ErrInvalid, "claims"},
		"ended now":         {of(with("exp", at.Unix())), ErrExpired, "ended"},
		"ended before":      {of(with("exp", at.Unix()-61)), ErrExpired, "ended"},
		"ended in 1969":     {of(with("exp", -1)), ErrExpired, "ended"},
		"nbf in 61 s":       {of(with("nbf", at.Unix()+61)), ErrInvalid, "nbf"},
		"iat in 61 s":       {of(with("iat", at.Unix()+61)), ErrInvalid, "iat"},
		"another address":   {of(with("ip", "203.0.113.8")), ErrInvalid, "another address"},
		"another network":   {of(with("ip", "198.51.100.0/24")), ErrInvalid, "another address"},
		"IPv6 for IPv4":     {of(with("ip", "::/0")), ErrInvalid, "another address"},
		"no address":        {of(with("ip", "")), ErrInvalid, "its ip"},
		"a name as ip":      {of(with("ip", "localhost")), ErrInvalid, "its ip"},
		"a number as ip":    {of(with("ip", 7)), ErrInvalid, "claims"},
		"another path":      {of(with("path", "360p/")), ErrInvalid, "other paths"},
		"path too long":     {of(with("path", strings.Repeat("a", maxPath+1))), ErrInvalid, "path"},
		"claims are a list": {of2(t, r, `[]`), ErrInvalid, ""},
	} {
		got, err := r.Token(t.Context(), asked(), c.token)
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || got != (Permit{}) {
			t.Errorf("%s: %+v, %v; want %v with %q", name, got, err, c.want, c.says)
		}
	}
	for name, a := range map[string]Asked{
		"a foreign project's video": {Project: "elsewhere", Video: "vid_1", Path: "x"},
		"no project":                {Video: "vid_1", Path: "x"},
	} {
		if got, err := r.Token(t.Context(), a, good); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	r.log.err = access.ErrStale
	if _, err := r.Token(t.Context(), asked(), good); !errors.Is(err, access.ErrStale) {
		t.Errorf("without news of keys: %v", err)
	}
}

// of2 returns a token with any text as payload.
func of2(t testing.TB, r *rig, payload string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: r.private[access.ES256]},
		(&jose.SignerOptions{}).WithHeader("kid", r.keys[access.ES256].ID))
	must(t, err)
	signed, err := s.Sign([]byte(payload))
	must(t, err)
	text, err := signed.CompactSerialize()
	must(t, err)
	return text
}

func derOf(t testing.TB, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	return block.Bytes
}

// withJWK returns a token that brings its own key, as a naive verifier would believe.
func withJWK(t testing.TB, private any, kid string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private},
		(&jose.SignerOptions{EmbedJWK: true}).WithHeader("kid", kid))
	must(t, err)
	text, err := jwt.Signed(s).Claims(payload()).Serialize()
	must(t, err)
	return text
}

// TestPass: a pass allows what its token did, until its own end, in every process with the same secret.
func TestPass(t *testing.T) {
	r := newRig(t)
	for name, p := range map[string]map[string]any{
		"plain": payload(), "address": with("ip", "203.0.113.0/24"), "path": with("path", "720p/"),
		"both": with("path", "720p/\n.", "ip", "203.0.113.7"),
	} {
		a := asked()
		a.Path = "720p/\n.seg"
		permit, err := r.Token(t.Context(), a, r.sign(t, access.EdDSA, p))
		must(t, err)
		pass, end := r.NewPass(permit)
		if end.Before(permit.Expires) || end.Sub(permit.Expires) > 60*time.Second {
			t.Errorf("%s: it ends at %v, the token at %v", name, end, permit.Expires)
		}
		again, err := r.Pass(t.Context(), a, pass)
		permit.Expires = end
		if err != nil || again != permit || again.Shared() != (p["ip"] == nil) {
			t.Errorf("%s: %s allows %+v, %v; want %+v", name, pass, again, err, permit)
		}
		if strings.Trim(pass, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("%s: %s has letters that a path has not", name, pass)
		}
		r.refuses(t, name, a, pass, end)
	}
}

// refuses checks what a pass does not allow.
func (r *rig) refuses(t *testing.T, name string, a Asked, pass string, end time.Time) {
	t.Helper()
	for i := range pass {
		for _, letter := range "A9-._" {
			wrong := pass[:i] + string(letter) + pass[i+1:]
			if _, err := r.Pass(t.Context(), a, wrong); wrong != pass && !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %s, changed at %d, is taken: %v", name, wrong, i, err)
			}
		}
	}
	parts := strings.Split(pass, ".")
	for _, wrong := range []string{
		"", ".", "....", pass + ".", pass + "=", pass[1:], " " + pass, strings.ToUpper(pass), parts[0] + ".+" + strings.Join(parts[1:], "."),
		parts[0] + ".0" + strings.Join(parts[1:], "."), pass + strings.Repeat("A", maxPass),
	} {
		if _, err := r.Pass(t.Context(), a, wrong); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %s is taken: %v", name, wrong, err)
		}
	}
	other := a
	other.Video = "vid_2"
	if _, err := r.Pass(t.Context(), other, pass); !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: it plays another video: %v", name, err)
	}
	if strings.Contains(name, "address") || name == "both" {
		other = a
		other.Client = netip.MustParseAddr("198.51.100.1")
		if _, err := r.Pass(t.Context(), other, pass); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: it plays elsewhere: %v", name, err)
		}
	}
	r.now = func() time.Time { return end }
	if _, err := r.Pass(t.Context(), a, pass); !errors.Is(err, ErrExpired) {
		t.Errorf("%s: it plays at its end: %v", name, err)
	}
	r.now = func() time.Time { return at }
}

// TestPassEndsWithItsKey: what a signing key or API key has allowed ends when it is revoked.
func TestPassEndsWithItsKey(t *testing.T) {
	r := newRig(t)
	_, err := access.CreateProject(t.Context(), r.log, "elsewhere", access.Settings{})
	must(t, err)
	key := func(project string, scope access.Scope) access.Key {
		k, _, _, err := access.CreateKey(t.Context(), r.log, access.NewKey{Project: project, Scopes: []access.Scope{scope}})
		must(t, err)
		return k
	}
	own, foreign, operator := key("default", access.Read), key("elsewhere", access.Read), key(access.Operator, access.Operate)
	signing := r.keys[access.RS256]
	pass := func(issuer string) string {
		text, _ := r.NewPass(Permit{Video: "vid_1", Expires: at.Add(time.Minute), Issuer: issuer})
		return text
	}
	judge := func(issuer string) error {
		_, err := r.Pass(t.Context(), asked(), pass(issuer))
		return err
	}
	for _, issuer := range []string{"", own.ID, operator.ID, signing.ID} {
		must(t, judge(issuer))
	}
	for _, issuer := range []string{foreign.ID, "key_unknown", "sgk_unknown"} {
		if err := judge(issuer); !errors.Is(err, ErrInvalid) {
			t.Errorf("issued by %s: %v", issuer, err)
		}
	}
	for _, k := range []access.Key{own, operator} {
		_, err := access.RevokeKey(t.Context(), r.log, k.Project, k.ID)
		must(t, err)
		if err := judge(k.ID); !errors.Is(err, ErrInvalid) {
			t.Errorf("issued by %s, which is revoked: %v", k.ID, err)
		}
	}
	_, err = access.RevokeSigningKey(t.Context(), r.log, "default", signing.ID)
	must(t, err)
	if err := judge(signing.ID); !errors.Is(err, ErrInvalid) {
		t.Errorf("issued by %s, which is revoked: %v", signing.ID, err)
	}
	must(t, judge(r.keys[access.ES256].ID))
	r.log.err = access.ErrStale
	if err := judge(r.keys[access.ES256].ID); !errors.Is(err, access.ErrStale) {
		t.Errorf("without news of keys: %v", err)
	}
}

// TestUntil: the end is rounded up by less than a tenth of what is left, or than a second, and viewers whose
// tokens end close to each other have one end.
func TestUntil(t *testing.T) {
	for left := time.Second; left < 1000*time.Hour; left = left*11/10 + 777*time.Millisecond {
		end := at.Add(left)
		got := Until(end, at)
		if extra := got.Sub(end); extra < 0 || extra >= max(left/10, time.Second) || extra >= maxGrid || got.Nanosecond() != 0 {
			t.Errorf("with %v left it is extended by %v", left, extra)
		}
	}
	ends := map[time.Time]int{}
	for i := range 50 {
		ends[Until(at.Add(time.Hour+time.Duration(i)*time.Second), at)]++
	}
	if len(ends) > 2 {
		t.Errorf("50 viewers have %d ends", len(ends))
	}
	if got := Until(at.Add(-time.Hour), at); !got.Equal(at.Add(-time.Hour)) {
		t.Errorf("what has ended ends at %v", got)
	}
}
