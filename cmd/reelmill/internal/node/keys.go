package node

import (
	"context"
	"errors"
	"time"

	"github.com/reelmill/reelmill/pipeline/access"
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

// openKeys makes the book of projects and keys. It refuses a start that would let nobody in.
func (s *Server) openKeys(ctx context.Context) error {
	s.keys = access.NewBook()
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
