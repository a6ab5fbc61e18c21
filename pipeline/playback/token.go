package playback

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/reelmill/reelmill/pipeline/access"
)

// Errors of judging. The text after their own says what is wrong, for whoever makes tokens.
var (
	// ErrInvalid: the token or pass was not made for this, or was changed, or its key is unknown or revoked.
	ErrInvalid = errors.New("invalid")
	// ErrExpired: it was valid, and has ended.
	ErrExpired = errors.New("expired")
)

// Audience is the aud of tokens.
const Audience = "playback"

// Skew is how much earlier than its nbf and iat a token may be used.
const Skew = 60 * time.Second

// Bounds of tokens, in bytes.
const (
	maxToken = 4 << 10
	maxPath  = 512
	maxKeyID = 64
)

// Keys knows projects and keys; access.Book is one.
type Keys interface {
	// Read calls do with all of them; access.ErrStale if they cannot be known now.
	Read(ctx context.Context, do func(*access.State)) error
}

// Judge says who may play a signed video. NewJudge makes one. Its methods may be called from many goroutines.
type Judge struct {
	key  []byte // of the HMAC of passes
	keys Keys
	now  func() time.Time
}

// NewJudge returns a Judge whose passes those with the same root understand.
func NewJudge(root access.Root, keys Keys) *Judge {
	return &Judge{key: root.Key(access.ForPlayback), keys: keys, now: time.Now}
}

// Asked is what somebody wants to play.
type Asked struct {
	Project string // of the video
	Video   string
	Path    string     // below the video, such as 720p/index.m3u8
	Client  netip.Addr // the zero Addr if unknown: then no permission for certain addresses fits
}

// Permit is what a token or pass allows.
type Permit struct {
	Video   string
	Expires time.Time    // in whole seconds; not valid from then on
	Issuer  string       // whose end ends it: the id of a signing key, or of an API key; empty for neither
	IP      netip.Prefix // where the viewer must be; the zero Prefix: anywhere
	Path    string       // what paths must begin with; empty: any
}

// Shared reports whether viewers may share it, so that a cache may answer all of them.
func (p Permit) Shared() bool { return !p.IP.IsValid() }

// claims are what a token says.
type claims struct {
	jwt.Claims
	IP   *string `json:"ip"`
	Path string  `json:"path"`
}

// Token judges the token of a viewer. ErrInvalid, ErrExpired, or access.ErrStale.
func (j *Judge) Token(ctx context.Context, a Asked, token string) (Permit, error) {
	if len(token) > maxToken {
		return Permit{}, fmt.Errorf("%w: it has more than %d bytes", ErrInvalid, maxToken)
	}
	parsed, err := jwt.ParseSigned(token, allowed())
	if err != nil || len(parsed.Headers) != 1 {
		return Permit{}, fmt.Errorf("%w: it is no JWT that is signed with ES256, EdDSA or RS256", ErrInvalid)
	}
	head := parsed.Headers[0]
	k, err := j.signingKey(ctx, a.Project, head.KeyID)
	if err != nil {
		return Permit{}, err
	}
	if head.Algorithm != string(k.Algorithm) {
		return Permit{}, fmt.Errorf("%w: its alg is not %s, the algorithm of its key", ErrInvalid, k.Algorithm)
	}
	var c claims
	if err := parsed.Claims(k.Public()); err != nil {
		return Permit{}, fmt.Errorf("%w: its signature is not that of the key %s", ErrInvalid, k.ID)
	}
	if err := parsed.Claims(k.Public(), &c); err != nil {
		return Permit{}, fmt.Errorf("%w: its claims cannot be read", ErrInvalid)
	}
	p, err := c.permit(k.ID, j.now())
	if err == nil {
		err = p.fits(a)
	}
	if err == nil && !p.Expires.After(j.now()) {
		err = fmt.Errorf("%w: it ended at %s", ErrExpired, p.Expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		return Permit{}, err
	}
	return p, nil
}

// allowed returns the algorithms that some key may have. None of them is symmetric, so that no public key can
// be taken for the secret of one.
func allowed() (all []jose.SignatureAlgorithm) {
	for _, a := range access.Algorithms {
		all = append(all, jose.SignatureAlgorithm(a))
	}
	return all
}

// signingKey finds a key of a project that is not revoked.
func (j *Judge) signingKey(ctx context.Context, project, id string) (access.SigningKey, error) {
	if id == "" || len(id) > maxKeyID {
		return access.SigningKey{}, fmt.Errorf("%w: its header has no kid, the id of a signing key", ErrInvalid)
	}
	var k access.SigningKey
	known := false
	if err := j.keys.Read(ctx, func(s *access.State) { k, known = s.SigningKey(project, id) }); err != nil {
		return k, err
	}
	switch {
	case !known:
		return k, fmt.Errorf("%w: its kid is no signing key of the video's project", ErrInvalid)
	case !k.Active():
		return k, fmt.Errorf("%w: its signing key %s is revoked", ErrInvalid, k.ID)
	}
	return k, nil
}

// permit returns what the claims allow, if they are complete and have begun.
func (c claims) permit(issuer string, now time.Time) (Permit, error) {
	invalid := func(format string, args ...any) (Permit, error) {
		return Permit{}, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case !c.Audience.Contains(Audience):
		return invalid("its aud is not %q", Audience)
	case c.Subject == "":
		return invalid("it has no sub, the id of a video")
	case c.Expiry == nil:
		return invalid("it has no exp")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(Skew)):
		return invalid("its nbf is in the future")
	case c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(Skew)):
		return invalid("its iat is in the future")
	case len(c.Path) > maxPath:
		return invalid("its path has more than %d bytes", maxPath)
	}
	p := Permit{Video: c.Subject, Expires: c.Expiry.Time(), Issuer: issuer, Path: c.Path}
	if c.IP != nil {
		network, err := parseNetwork(*c.IP)
		if err != nil {
			return invalid("its ip is neither an address nor a network such as 203.0.113.0/24")
		}
		p.IP = network
	}
	return p, nil
}

// parseNetwork reads a network, or an address as the network of itself.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() {
		err = errors.New("an IPv4 network is written as one")
	}
	return p.Masked(), err
}

// fits returns why a permit is not for what is asked, or nil.
func (p Permit) fits(a Asked) error {
	switch {
	case p.Video != a.Video:
		return fmt.Errorf("%w: it is for another video", ErrInvalid)
	case !strings.HasPrefix(a.Path, p.Path):
		return fmt.Errorf("%w: it is for other paths of the video", ErrInvalid)
	case p.IP.IsValid() && !p.IP.Contains(a.Client.Unmap()):
		return fmt.Errorf("%w: it is for another address than that of the request", ErrInvalid)
	}
	return nil
}
