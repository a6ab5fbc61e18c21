package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// TokenKind is what a token is for.
type TokenKind string

// The kinds of tokens.
const (
	UploadToken TokenKind = "upload" // makes one upload
	ReadToken   TokenKind = "read"   // reads one video, and follows its events
)

// MaxTokenLife is how long a token may be valid.
const MaxTokenLife = 24 * time.Hour

// Life returns how long tokens of the kind are valid unless somebody says otherwise.
func (k TokenKind) Life() time.Duration {
	if k == UploadToken {
		return time.Hour
	}
	return 10 * time.Minute
}

// prefix is what tokens of the kind begin with, so that a program that looks for leaked secrets finds them.
func (k TokenKind) prefix() string { return "rm_" + string(k) + "_" }

// KindOfToken returns which kind of token a text would be, by its beginning; empty: it is none.
func KindOfToken(text string) TokenKind {
	for _, k := range []TokenKind{UploadToken, ReadToken} {
		if strings.HasPrefix(text, k.prefix()) {
			return k
		}
	}
	return ""
}

// Bounds of what a token says.
const (
	maxTokenTypes  = 16
	maxTokenType   = 100  // bytes of a media type
	maxTokenOrigin = 300  // bytes
	maxTokenText   = 4096 // bytes
)

// Token is what a token says. It is no secret, but for its seal: everybody can read it in the text.
type Token struct {
	Kind    TokenKind `json:"-"`
	ID      string    `json:"id"` // tok_ and 26 letters and digits
	Project string    `json:"project"`
	By      string    `json:"by"`            // the actor who made it
	Key     string    `json:"key,omitempty"` // where State has the key that made it; the token ends with it
	Expires int64     `json:"exp"`           // seconds since 1970

	Video   string   `json:"video,omitempty"`    // of a ReadToken
	MaxSize int64    `json:"max_size,omitempty"` // bytes of the upload; 0: as many as the server allows
	Types   []string `json:"types,omitempty"`    // of the upload, such as video/mp4 or video/*; empty: any
	Origin  string   `json:"origin,omitempty"`   // of the web page that may use it; empty: any

	seal secret.Text
}

// ExpiresAt returns from when on the token is refused.
func (t Token) ExpiresAt() time.Time { return time.Unix(t.Expires, 0).UTC() }

// Seal returns the part of the text that only the server can make: whoever knows it has the token.
func (t Token) Seal() secret.Text { return t.seal }

// Tokens makes and opens tokens. It keeps nothing: a token holds all that it stands for, and a seal, an
// HMAC-SHA-256 with a key that no other kind of token has.
type Tokens struct{ keys map[TokenKind][]byte }

// NewTokens returns the Tokens of an installation.
func NewTokens(r Root) *Tokens {
	return &Tokens{map[TokenKind][]byte{UploadToken: r.Key(ForUploadTokens), ReadToken: r.Key(ForReadTokens)}}
}

// Make makes a token for the holder of a grant. t has the kind and the limits; Make adds the rest. life is
// how long the token is to be valid; 0: TokenKind.Life. A token never outlives the credential that made it.
// ErrInvalid: a limit or the life is not allowed, or the grant is itself that of a token.
func (m *Tokens) Make(g Grant, t Token, life time.Duration, now time.Time) (Token, secret.Text, error) {
	if life == 0 {
		life = t.Kind.Life()
	}
	if g.Token != nil || g.Bound != (Bound{}) {
		return t, secret.Text{}, fmt.Errorf("%w: a token cannot make tokens", ErrInvalid)
	}
	if life < time.Second || life > MaxTokenLife {
		return t, secret.Text{}, fmt.Errorf("%w: a token is valid for 1 s to %s, not %s", ErrInvalid,
			MaxTokenLife, life)
	}
	if err := t.check(); err != nil {
		return t, secret.Text{}, err
	}
	until := now.Add(life)
	if !g.Expires.IsZero() && g.Expires.Before(until) {
		until = g.Expires
	}
	t.ID, t.Project, t.By, t.Key, t.Expires = pipeline.NewID("tok"), g.Project, g.Actor, g.stored, until.Unix()
	text, err := m.write(&t)
	return t, secret.New(text), err
}

// check returns ErrInvalid for limits that no token has.
func (t Token) check() error {
	switch {
	case (t.Kind == ReadToken) != (t.Video != ""):
		return fmt.Errorf("%w: a read token is for a video, and an upload token for none", ErrInvalid)
	case t.MaxSize < 0:
		return fmt.Errorf("%w: the largest size is %d bytes", ErrInvalid, t.MaxSize)
	case len(t.Types) > maxTokenTypes:
		return fmt.Errorf("%w: a token lists at most %d types", ErrInvalid, maxTokenTypes)
	case len(t.Origin) > maxTokenOrigin:
		return fmt.Errorf("%w: the origin has more than %d characters", ErrInvalid, maxTokenOrigin)
	}
	for _, media := range t.Types {
		if !isMediaType(media) {
			return fmt.Errorf("%w: %.100q is no media type; write one such as video/mp4 or video/*", ErrInvalid, media)
		}
	}
	return nil
}

// isMediaType reports whether a text is a media type in lower case, or a family of them such as video/*.
func isMediaType(text string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-.+_"
	family, sub, ok := strings.Cut(text, "/")
	return ok && family != "" && sub != "" && len(text) <= maxTokenType && strings.Trim(family, allowed) == "" &&
		(sub == "*" || strings.Trim(sub, allowed) == "")
}

// write writes a token: its prefix, what it says in JSON, and the seal of both, in base64 (RFC 4648, 5).
func (m *Tokens) write(t *Token) (string, error) {
	doc, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encode a token: %w", err)
	}
	body := t.Kind.prefix() + base64.RawURLEncoding.EncodeToString(doc)
	seal := m.sealOf(t.Kind, body)
	t.seal = secret.New(seal)
	return body + "." + seal, nil
}

func (m *Tokens) sealOf(k TokenKind, body string) string {
	mac := hmac.New(sha256.New, m.keys[k])
	mac.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Open returns what a token says, if its seal is ours; ErrUnauthorized otherwise. Whether it still holds, and
// for what, AuthenticateToken says.
func (m *Tokens) Open(text secret.Text) (Token, error) {
	t := Token{Kind: KindOfToken(text.Reveal())}
	body, seal, ok := strings.Cut(text.Reveal(), ".")
	if t.Kind == "" || !ok || len(text.Reveal()) > maxTokenText ||
		!hmac.Equal([]byte(seal), []byte(m.sealOf(t.Kind, body))) {
		return Token{}, ErrUnauthorized
	}
	doc, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(body, t.Kind.prefix()))
	if err == nil {
		err = json.Unmarshal(doc, &t)
	}
	if err != nil { // a later version has made it
		return Token{}, ErrUnauthorized
	}
	t.seal = secret.New(seal)
	return t, nil
}

// AuthenticateToken returns the grant of a token that Open returned. required says whether requests need a
// credential now: if they do, a token that was made while they did not is refused. ErrStale: as Authenticate.
// ErrUnauthorized: the token has expired, the key that made it may not be used any more, or its project is
// gone.
func (b *Book) AuthenticateToken(ctx context.Context, t Token, required bool) (Grant, error) {
	if err := b.fresh(ctx); err != nil {
		return Grant{}, err
	}
	defer b.mu.RUnlock()
	now := b.now()
	ofNobody := t.Key == "" && t.By == pipeline.ActorAnonymous
	if _, ok := b.state.Project(t.Project); !ok || ofNobody && required || !now.Before(t.ExpiresAt()) {
		return Grant{}, ErrUnauthorized
	}
	if k, ok := b.state.keys[t.Key]; t.Key != "" && (!ok || !k.Active(now)) {
		return Grant{}, ErrUnauthorized
	}
	g := Grant{
		Project: t.Project, Scopes: []Scope{Upload}, Actor: "token:" + t.ID, Expires: t.ExpiresAt(),
		Bound: Bound{Upload: t.ID}, Origin: t.Origin, stored: t.Key, Token: &t,
	}
	if t.Kind == ReadToken {
		g.Scopes, g.Bound = []Scope{Read}, Bound{Video: t.Video}
	}
	return g, nil
}
