package access

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// Algorithm is how a signing key signs, as the header of a JWT names it (RFC 7518, 3.1; RFC 8037, 3.1).
type Algorithm string

// The algorithms. ES256 is the default, since every library for JWT has it.
const (
	ES256 Algorithm = "ES256" // ECDSA with P-256 and SHA-256
	EdDSA Algorithm = "EdDSA" // with Ed25519
	RS256 Algorithm = "RS256" // RSA with PKCS #1 v1.5 and SHA-256
)

// Algorithms lists all algorithms.
var Algorithms = []Algorithm{ES256, EdDSA, RS256}

// Bits of RSA keys: of new ones, and the least and the most of those that people bring. A larger one would
// cost too much at each request.
const (
	rsaBits      = 2048
	rsaLeastBits = 2048
	rsaMostBits  = 4096
)

// signingPrefix begins the ids of signing keys, and of nothing else.
const signingPrefix = "sgk"

// IsSigningKey reports whether a thing of a project is a signing key.
func IsSigningKey(thing string) bool { return strings.HasPrefix(thing, signingPrefix+"_") }

// SigningKeyData is the data of signing_key.created.
type SigningKeyData struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Algorithm Algorithm `json:"algorithm"`
	PublicKey string    `json:"public_key"` // PEM, PUBLIC KEY (RFC 7468, 13)
}

// SigningKey is a key with which a site signs tokens for playback, as the server knows it: the public half.
type SigningKey struct {
	ID        string     `json:"id" doc:"sgk_ and 26 letters and digits: the kid of its tokens"`
	Project   string     `json:"project" doc:"Whose videos its tokens play"`
	Name      string     `json:"name" doc:"For people"`
	Algorithm Algorithm  `json:"algorithm" enum:"ES256,EdDSA,RS256" doc:"The alg of its tokens"`
	PublicKey string     `json:"public_key" doc:"PEM"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by,omitempty" doc:"The actor"`
	RevokedAt *time.Time `json:"revoked_at" doc:"null: it is not revoked"`
	RevokedBy string     `json:"revoked_by,omitempty" doc:"The actor"`

	public crypto.PublicKey
}

// Active reports whether the key is not revoked.
func (k SigningKey) Active() bool { return k.RevokedAt == nil }

// Public returns the key that verifies signatures: an *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey.
// It is nil unless the key comes from a State or from CreateSigningKey.
func (k SigningKey) Public() crypto.PublicKey { return k.public }

// ParsePublicKey reads a public key in PEM, and returns the algorithm that it is for. ErrInvalid: it is none,
// or one that is not allowed; the message says what to do.
func ParsePublicKey(text string) (crypto.PublicKey, Algorithm, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || len(strings.TrimSpace(string(rest))) > 0:
		return nil, "", fmt.Errorf("%w: the public key is not one block of PEM, -----BEGIN PUBLIC KEY-----",
			ErrInvalid)
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, "", fmt.Errorf("%w: this is a private key, which nobody else should have; send its public key "+
			"(`openssl pkey -in private.pem -pubout`)", ErrInvalid)
	case block.Type != "PUBLIC KEY":
		return nil, "", fmt.Errorf("%w: the PEM has the type %.40q, want PUBLIC KEY "+
			"(`openssl pkey -in private.pem -pubout`)", ErrInvalid, block.Type)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, "", fmt.Errorf("%w: the public key cannot be read: %w", ErrInvalid, err)
	}
	a, err := algorithmOf(public)
	return public, a, err
}

// algorithmOf returns the one algorithm that a public key may be used with.
func algorithmOf(public crypto.PublicKey) (Algorithm, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return ES256, nil
		}
	case ed25519.PublicKey:
		return EdDSA, nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < rsaLeastBits || n > rsaMostBits {
			return "", fmt.Errorf("%w: the RSA key has %d bits, want %d to %d",
				ErrInvalid, n, rsaLeastBits, rsaMostBits)
		}
		return RS256, nil
	}
	return "", fmt.Errorf("%w: the public key is neither ECDSA on P-256, Ed25519 nor RSA", ErrInvalid)
}

// NewSigningKey says what signing key to make.
type NewSigningKey struct {
	Project string
	Name    string
	// Algorithm is ES256 when empty. With a PublicKey, it is that of the key, and may be left out.
	Algorithm Algorithm
	// PublicKey is the key in PEM of a pair that somebody else has made. Empty: CreateSigningKey makes a pair.
	PublicKey string
}

// CreateSigningKey appends signing_key.created and returns the key with its private half in PEM (PKCS #8),
// which nobody can read again; it is empty for a key that somebody brought. pipeline.ErrNotFound: there is no
// such project. ErrInvalid: the name, the algorithm or the public key is not allowed.
func CreateSigningKey(
	ctx context.Context, log pipeline.Log, n NewSigningKey,
) (SigningKey, secret.Text, pipeline.Event, error) {
	fail := func(err error) (SigningKey, secret.Text, pipeline.Event, error) {
		return SigningKey{}, secret.Text{}, pipeline.Event{}, err
	}
	private, data, err := n.pair()
	if err = errors.Join(CheckProject(n.Project), checkText("name", n.Name), err); err != nil {
		return fail(err)
	}
	last, err := log.Last(ctx, subject(n.Project, ProjectThing))
	if err != nil {
		return fail(err)
	}
	if !exists(n.Project, last[0]) {
		return fail(pipeline.ErrNotFound)
	}
	e, err := write(ctx, log, n.Project, data.ID, func(pipeline.Event) (pipeline.EventType, any, error) {
		return pipeline.SigningKeyCreated, data, nil
	})
	if err != nil {
		return fail(err)
	}
	k, err := newSigningKey(n.Project, data.ID, e)
	return k, private, e, err
}

// pair returns the private half, if it was made here, and the data of the event.
func (n NewSigningKey) pair() (secret.Text, SigningKeyData, error) {
	data := SigningKeyData{
		ID: pipeline.NewID(signingPrefix), Name: n.Name, Algorithm: n.Algorithm, PublicKey: n.PublicKey,
	}
	if n.PublicKey != "" {
		public, a, err := ParsePublicKey(n.PublicKey)
		if err == nil && n.Algorithm != "" && n.Algorithm != a {
			err = fmt.Errorf("%w: the public key is for %s, not for %.20q", ErrInvalid, a, n.Algorithm)
		}
		if err == nil {
			data.Algorithm = a
			data.PublicKey, err = publicPEM(public)
		}
		return secret.Text{}, data, err
	}
	data.Algorithm = cmp.Or(n.Algorithm, ES256)
	private, err := data.Algorithm.generate()
	if err != nil {
		return secret.Text{}, data, err
	}
	hidden, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return secret.Text{}, data, fmt.Errorf("encode the private key: %w", err)
	}
	data.PublicKey, err = publicPEM(private.Public())
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: hidden}))), data, err
}

func publicPEM(public crypto.PublicKey) (string, error) {
	raw, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode the public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})), nil
}

// generate makes a pair of keys.
func (a Algorithm) generate() (crypto.Signer, error) {
	switch a {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	names := make([]string, len(Algorithms))
	for i, known := range Algorithms {
		names[i] = string(known)
	}
	return nil, fmt.Errorf("%w: %s", ErrInvalid, pipeline.Unknown("algorithm", string(a), names))
}

// RevokeSigningKey appends signing_key.revoked. Revoking again does nothing and returns the first event.
// pipeline.ErrNotFound: the project has no such key.
func RevokeSigningKey(ctx context.Context, log pipeline.Log, project, id string) (pipeline.Event, error) {
	if !IsSigningKey(id) || CheckProject(project) != nil {
		return pipeline.Event{}, pipeline.ErrNotFound
	}
	return revoke(ctx, log, project, id, pipeline.SigningKeyRevoked)
}

// FoldSigningKey returns a signing key after an event of it; ok is false if the event changes nothing.
func FoldSigningKey(k SigningKey, e pipeline.Event) (after SigningKey, ok bool) {
	project, id := Address(e.Subject)
	switch {
	case !IsSigningKey(id):
		return k, false
	case e.Type == pipeline.SigningKeyCreated && k.ID == "":
		k, err := newSigningKey(project, id, e)
		return k, err == nil
	case (e.Type == pipeline.SigningKeyRevoked || e.Type == "") && k.ID != "" && k.Active():
		return VoidSigningKey(k, e), true
	}
	return k, false
}

func newSigningKey(project, id string, e pipeline.Event) (SigningKey, error) {
	var data SigningKeyData
	if err := e.Decode(&data); err != nil {
		return SigningKey{}, err
	}
	public, a, err := ParsePublicKey(data.PublicKey)
	if err == nil && a != data.Algorithm {
		err = fmt.Errorf("signing key %s is for %s, and its public key for %s", id, data.Algorithm, a)
	}
	return SigningKey{
		ID: id, Project: project, Name: data.Name, Algorithm: a, PublicKey: data.PublicKey, public: public,
		CreatedAt: e.Time, CreatedBy: e.Actor,
	}, err
}

// VoidSigningKey returns a key that is revoked by an event: its own revocation, or the deletion of its
// project.
func VoidSigningKey(k SigningKey, e pipeline.Event) SigningKey {
	at := e.Time
	k.RevokedAt, k.RevokedBy = &at, e.Actor
	return k
}

// SigningKey returns a signing key of a project, revoked or not.
func (s *State) SigningKey(project, id string) (SigningKey, bool) {
	k, ok := s.signing[project+"."+id]
	return k, ok
}

// SigningKeys returns the signing keys of a project, the newest first, revoked ones included.
func (s *State) SigningKeys(project string) []SigningKey {
	return newestFirst(s.signing, project, func(k SigningKey) (string, time.Time, string) {
		return k.Project, k.CreatedAt, k.ID
	})
}
