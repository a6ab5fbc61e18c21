package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

var (
	opCreateSigningKey = huma.Operation{
		OperationID: "create-signing-key", Method: http.MethodPost, Path: "/v1/signing_keys",
		Tags:    []string{"playback"},
		Summary: "Make a key that signs tokens for playback", DefaultStatus: http.StatusCreated,
		Description: "The answer has the private key, which nobody can read again: the server keeps the public " +
			"half. With a `public_key` of your own, it has none. Tokens are JWTs with the key's id as `kid`, the " +
			"video's id as `sub`, `playback` as `aud`, an `exp` and, if you like, `nbf`, `ip` (an address or " +
			"network) and `path` (what the paths below the video begin with).",
	}
	opListSigningKeys = huma.Operation{
		OperationID: "list-signing-keys", Method: http.MethodGet, Path: "/v1/signing_keys",
		Tags:    []string{"playback"},
		Summary: "List the signing keys of the project", Description: "The newest first, with revoked ones.",
	}
	opGetSigningKey = huma.Operation{
		OperationID: "get-signing-key", Method: http.MethodGet, Path: "/v1/signing_keys/{id}",
		Tags:    []string{"playback"},
		Summary: "Read a signing key, without its private half", Description: "Revoked ones, too.",
	}
	opRevokeSigningKey = huma.Operation{
		OperationID: "revoke-signing-key", Method: http.MethodPost, Path: "/v1/signing_keys/{id}/revoke",
		Tags: []string{"playback"}, Summary: "Revoke a signing key", DefaultStatus: http.StatusOK,
		Description: "Two seconds later nothing plays for its tokens, players that have begun included. Revoking " +
			"again does nothing.",
	}
)

// routeSigningKeys adds the routes of signing keys.
func (s *server) routeSigningKeys() {
	if s.cfg.Keys == nil {
		return
	}
	handle(s, opCreateSigningKey, s.createSigningKey)
	handle(s, opListSigningKeys, s.listSigningKeys)
	handle(s, opGetSigningKey, s.getSigningKey)
	handle(s, opRevokeSigningKey, s.revokeSigningKey)
}

// newSigningKey is the body of a request for a signing key.
type newSigningKey struct {
	_         struct{}         `additionalProperties:"false"`
	Name      string           `json:"name,omitempty" maxLength:"256" doc:"For people: who signs with it"`
	Algorithm access.Algorithm `json:"algorithm,omitempty" enum:"ES256,EdDSA,RS256" doc:"ES256 if left out, or that of public_key"`
	PublicKey string           `json:"public_key,omitempty" maxLength:"8192" doc:"PEM, PUBLIC KEY, of a pair of your own: ECDSA on P-256, Ed25519, or RSA of 2048 to 4096 bits. If left out, the server makes a pair"`
}

type createSigningKeyInput struct{ Body newSigningKey }

// signingKeyWithPrivate is a new signing key.
type signingKeyWithPrivate struct {
	access.SigningKey
	PrivateKey string `json:"private_key,omitempty" doc:"PEM (PKCS #8); shown only here. Absent if you brought the public key"`
}

type createSigningKeyOutput struct {
	Cache string `header:"Cache-Control"`
	Body  signingKeyWithPrivate
}

func (s *server) createSigningKey(
	ctx context.Context, in *createSigningKeyInput,
) (*createSigningKeyOutput, error) {
	k, private, e, err := access.CreateSigningKey(ctx, s.cfg.Log, access.NewSigningKey{
		Project: projectOf(ctx), Name: in.Body.Name, Algorithm: in.Body.Algorithm, PublicKey: in.Body.PublicKey,
	})
	if err != nil {
		return nil, invalidAccess(noSuch("project", err))
	}
	s.counts(ctx, e)
	return &createSigningKeyOutput{"no-store", signingKeyWithPrivate{k, private.Reveal()}}, nil
}

type listSigningKeysOutput struct{ Body list[access.SigningKey] }

func (s *server) listSigningKeys(ctx context.Context, _ *struct{}) (*listSigningKeysOutput, error) {
	var keys []access.SigningKey
	err := s.cfg.Keys.Read(ctx, func(state *access.State) { keys = state.SigningKeys(projectOf(ctx)) })
	if err != nil {
		return nil, err
	}
	return &listSigningKeysOutput{newList(keys, "")}, nil
}

type signingKeyInput struct {
	ID string `path:"id" maxLength:"64" doc:"The signing key's id"`
}

type signingKeyOutput struct{ Body access.SigningKey }

func (s *server) getSigningKey(ctx context.Context, in *signingKeyInput) (*signingKeyOutput, error) {
	var k access.SigningKey
	var ok bool
	err := s.cfg.Keys.Read(ctx, func(state *access.State) { k, ok = state.SigningKey(projectOf(ctx), in.ID) })
	if err == nil && !ok {
		err = noSuch("signing key", pipeline.ErrNotFound)
	}
	return &signingKeyOutput{k}, err
}

func (s *server) revokeSigningKey(ctx context.Context, in *signingKeyInput) (*signingKeyOutput, error) {
	e, err := access.RevokeSigningKey(ctx, s.cfg.Log, projectOf(ctx), in.ID)
	if err != nil {
		return nil, noSuch("signing key", err)
	}
	s.counts(ctx, e)
	return s.getSigningKey(ctx, in)
}
