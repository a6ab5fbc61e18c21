package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

const (
	// skew is how far the clocks of the issuer and of this process may be apart.
	skew = time.Minute
	// maxToken is how many bytes a token may have.
	maxToken = 8 << 10
	// maxSubject is how many bytes a subject may have (OpenID Connect Core 1.0, 2).
	maxSubject = 255
)

// Config says which tokens count, and what their holders may do.
type Config struct {
	Issuer   string // its URL, as tokens say it in iss
	Audience string // one of aud must be it
	// JWKS is the URL of the issuer's public keys. Empty: its discovery document says where they are.
	JWKS string
	// ProjectClaim and ScopeClaim are the claims that name the project and the scopes; "project" and "scope"
	// when empty. Scopes are words in a text, or a list of texts. Unknown ones do not count.
	ProjectClaim, ScopeClaim string
	// DefaultProject and DefaultScopes are those of tokens without the claim. Without a default, a token without
	// a project is refused, and one without scopes may do nothing.
	DefaultProject string
	DefaultScopes  []access.Scope
	// Logger logs why the keys cannot be fetched and, at debug level, why tokens are refused. May be nil.
	Logger *slog.Logger
}

// Check returns why a configuration is refused. Its errors begin with the name of a flag.
func (c Config) Check() error {
	var mistakes []error
	if err := checkAddress(c.Issuer); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--oidc-issuer: %w", err))
	}
	if c.Audience == "" {
		mistakes = append(mistakes, errors.New("--oidc-audience is missing: without it, a token that the issuer "+
			"made for any other program would count; name the audience that your tokens have"))
	}
	if c.JWKS != "" {
		if err := checkAddress(c.JWKS); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--oidc-jwks-url: %w", err))
		}
	}
	if c.DefaultProject != "" {
		if err := access.CheckProject(c.DefaultProject); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--oidc-default-project: %w", err))
		}
	}
	if len(c.DefaultScopes) > 0 {
		if err := access.CheckScopes(pipeline.DefaultProject, c.DefaultScopes); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--oidc-default-scopes: %w", err))
		}
	}
	return errors.Join(mistakes...)
}

// checkAddress returns why a text cannot be an address to fetch from.
func checkAddress(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.Fragment != "" {
		return fmt.Errorf("%.200q is no address; write one such as https://login.example.com", secret.Redact(text))
	}
	return nil
}

// Projects knows which projects exist; access.Book does.
type Projects interface {
	Read(ctx context.Context, do func(*access.State)) error
}

// Issuer judges the tokens of an issuer. Open makes one. Its methods may be called from many goroutines.
type Issuer struct {
	cfg      Config
	projects Projects
	keys     *keySet
	verifier *oidc.IDTokenVerifier
	now      func() time.Time
}

// Open returns an Issuer that has no keys yet: Run fetches them.
func Open(c Config, projects Projects) (*Issuer, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.ProjectClaim, c.ScopeClaim = cmp.Or(c.ProjectClaim, "project"), cmp.Or(c.ScopeClaim, "scope")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	i := &Issuer{cfg: c, projects: projects, now: time.Now}
	source := source{issuer: c.Issuer, jwks: c.JWKS, client: newClient()}
	i.keys = newKeySet(source.fetch, c.Logger)
	i.keys.worthAFetch = func(payload []byte) bool {
		_, err := i.read(payload)
		return err == nil
	}
	i.verifier = oidc.NewVerifier(c.Issuer, i.keys, &oidc.Config{
		ClientID: c.Audience, SupportedSigningAlgs: algorithmNames(),
		SkipExpiryCheck: true, // read checks it, with our skew
	})
	return i, nil
}

// algorithms are those that a token may be signed with. All are asymmetric: a token that is signed with
// nothing, or with a public key as if it were a password, is refused before anything else is looked at.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

func algorithmNames() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	return names
}

// Insecure reports whether somebody on the way to the issuer could forge its keys.
func (c Config) Insecure() bool {
	return strings.HasPrefix(c.Issuer, "http://") || strings.HasPrefix(c.JWKS, "http://")
}

// Run fetches the issuer's keys until ctx ends, and then returns nil.
func (i *Issuer) Run(ctx context.Context) error { return i.keys.run(ctx) }

// IsToken reports whether a credential has the form of a JSON Web Token, of whoever it is.
func IsToken(credential secret.Text) bool {
	text := credential.Reveal()
	return strings.HasPrefix(text, "ey") && strings.Count(text, ".") == 2
}

// Authenticate returns the grant of a token. access.ErrUnauthorized: it is not valid, or its project does not
// exist. access.ErrIssuerAway: its key is unknown, and the issuer does not answer. access.ErrStale: whether
// its project exists cannot be known now.
func (i *Issuer) Authenticate(ctx context.Context, token secret.Text) (access.Grant, error) {
	payload, err := i.verify(ctx, token)
	if err == nil {
		return i.grant(ctx, payload)
	}
	if errors.Is(err, access.ErrIssuerAway) || ctx.Err() != nil {
		return access.Grant{}, err
	}
	i.cfg.Logger.DebugContext(ctx, "refuse a token of the issuer", "reason", err)
	return access.Grant{}, access.ErrUnauthorized
}

// verify returns the claims of a token that the issuer has made for us, and that is valid now.
func (i *Issuer) verify(ctx context.Context, token secret.Text) (claims, error) {
	text := token.Reveal()
	if len(text) > maxToken || !IsToken(token) {
		return claims{}, errors.New("it is too long, or not in the compact form")
	}
	if err := checkHeader(text); err != nil {
		return claims{}, err
	}
	var cause error
	verified, err := i.verifier.Verify(withCause(ctx, &cause), text)
	if err != nil {
		return claims{}, cmp.Or(cause, err)
	}
	var raw json.RawMessage
	if err := verified.Claims(&raw); err != nil {
		return claims{}, err
	}
	return i.read(raw)
}

// checkHeader refuses tokens that the issuer has made to be something else than a credential: RFC 8725, 3.11.
func checkHeader(text string) error {
	parsed, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return err
	}
	kind, _ := parsed.Signatures[0].Protected.ExtraHeaders["typ"].(string)
	kind = strings.TrimPrefix(strings.ToLower(kind), "application/")
	if !slices.Contains([]string{"", "jwt", "at+jwt"}, kind) {
		return fmt.Errorf("its typ is %.40q, not JWT or at+jwt", kind)
	}
	return nil
}

// claims are what a token says.
type claims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Expires   *float64        `json:"exp"`
	NotBefore *float64        `json:"nbf"`
	Bound     json.RawMessage `json:"cnf"`    // to a key that the sender must prove to have
	Events    json.RawMessage `json:"events"` // of a logout token, and of others that tell of something
	all       map[string]json.RawMessage
}

// read reads claims, and checks all but the audience, which the verifier checks.
func (i *Issuer) read(payload []byte) (c claims, err error) {
	if err := json.Unmarshal(payload, &c); err != nil {
		return c, err
	}
	if err := json.Unmarshal(payload, &c.all); err != nil {
		return c, err
	}
	now := float64(i.now().UnixMilli()) / 1000
	switch {
	case c.Issuer != i.cfg.Issuer:
		return c, fmt.Errorf("its issuer is %.200q", c.Issuer)
	case c.Expires == nil:
		return c, errors.New("it has no exp")
	case now >= *c.Expires+skew.Seconds():
		return c, errors.New("it has expired")
	case c.NotBefore != nil && now < *c.NotBefore-skew.Seconds():
		return c, errors.New("it is not valid yet")
	case c.Bound != nil:
		return c, errors.New("it is bound to a key of its sender (cnf), which cannot be checked")
	case c.Events != nil:
		return c, errors.New("it tells of events, so it is no credential")
	}
	return c, checkSubject(c.Subject)
}

// checkSubject refuses what cannot be the name of a user.
func checkSubject(sub string) error {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if sub == "" || len(sub) > maxSubject || !utf8.ValidString(sub) || strings.ContainsFunc(sub, hidden) {
		return fmt.Errorf("its sub is empty, longer than %d bytes, or not printable", maxSubject)
	}
	return nil
}

// grant returns what the holder of a token with these claims may do.
func (i *Issuer) grant(ctx context.Context, c claims) (access.Grant, error) {
	project, scopes := i.project(c), i.scopes(c)
	known := false
	if err := i.projects.Read(ctx, func(s *access.State) { _, known = s.Project(project) }); err != nil {
		return access.Grant{}, err
	}
	if !known {
		i.cfg.Logger.DebugContext(ctx, "refuse a token of the issuer", "reason", "there is no such project",
			"claim", i.cfg.ProjectClaim, "project", project)
		return access.Grant{}, access.ErrUnauthorized
	}
	return access.Grant{
		Project: project, Scopes: scopes, Actor: "user:" + c.Subject, Expires: endOf(*c.Expires),
	}, nil
}

// endOf returns when a token that expires at a time, in seconds since 1970, is refused.
func endOf(expires float64) time.Time {
	const farAway = 1 << 35 // seconds: more than 1,000 years
	return time.Unix(int64(min(expires, farAway)), 0).Add(skew).UTC()
}

// project returns the project that a token names; empty for none.
func (i *Issuer) project(c claims) string {
	raw, named := c.all[i.cfg.ProjectClaim]
	if !named {
		return i.cfg.DefaultProject
	}
	var name string
	if json.Unmarshal(raw, &name) != nil || access.CheckProject(name) != nil {
		return ""
	}
	return name
}

// scopes returns the scopes that a token names. Nobody is an operator by a token: whoever configures the
// issuer could be everybody.
func (i *Issuer) scopes(c claims) []access.Scope {
	raw, named := c.all[i.cfg.ScopeClaim]
	if !named {
		return i.cfg.DefaultScopes
	}
	var text string
	var words []string
	if json.Unmarshal(raw, &text) == nil {
		words = strings.Fields(text)
	} else if json.Unmarshal(raw, &words) != nil {
		return nil
	}
	var scopes []access.Scope
	for _, s := range access.Scopes {
		if s != access.Operate && slices.Contains(words, string(s)) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// newClient returns the client that fetches keys.
func newClient() *http.Client {
	return &http.Client{Timeout: fetchTimeout, Transport: newTransport(), CheckRedirect: checkRedirect}
}
