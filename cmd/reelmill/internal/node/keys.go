package node

import (
	"context"
	"errors"
	"time"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/access/oidc"
	"github.com/reelmill/reelmill/pipeline/playback"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// Auth says when requests to the API need a credential.
type Auth int

// The values of Auth.
const (
	AuthOff      Auth = iota // never: everybody may do everything
	AuthOnceKeys             // once a key was made, revoked ones included
	AuthRequired             // always; a server without a usable key does not start
)

// ErrNoKey: the server requires keys, and there is none that may be used.
var ErrNoKey = errors.New("the server asks for API keys, and there is none that may be used")

// openKeys makes the tokens of the installation, the judge of viewers, and what judges the tokens of the
// issuer, if there is one. It refuses a start that would let nobody in.
func (s *Server) openKeys(ctx context.Context) error {
	s.uses = access.NewUses(s.bus)
	root, err := access.OpenRoot(ctx, s.bus)
	if err != nil {
		return err
	}
	s.judge = playback.NewJudge(root, s.keys)
	s.tokens = access.NewTokens(root)
	if s.server.OIDC.Issuer != "" {
		s.issuer, err = oidc.Open(s.server.OIDC, s.keys)
		return err
	}
	if s.server.Auth != AuthRequired {
		return nil
	}
	state, err := access.Load(ctx, s.bus)
	if err == nil && !state.Usable(time.Now()) {
		err = ErrNoKey
	}
	return err
}

// asksForKeys reports whether requests need a credential now.
func (s *Server) asksForKeys(ctx context.Context) (bool, error) {
	switch s.server.Auth {
	case AuthOff:
		return false, nil
	case AuthRequired:
		return true, nil
	}
	return s.keys.EverHadKeys(ctx)
}

// credentials judges API keys by the book, and JSON Web Tokens by their issuer.
type credentials struct {
	*access.Book
	issuer *oidc.Issuer // nil: there is none
}

// Authenticate implements api.Keys.
func (c credentials) Authenticate(ctx context.Context, credential secret.Text) (access.Grant, error) {
	if c.issuer != nil && oidc.IsToken(credential) {
		return c.issuer.Authenticate(ctx, credential)
	}
	return c.Book.Authenticate(ctx, credential)
}

// askIssuer fetches the keys of the issuer, if there is one, until ctx ends.
func (s *Server) askIssuer(ctx context.Context) error {
	if s.issuer == nil {
		return nil
	}
	return s.issuer.Run(ctx)
}
