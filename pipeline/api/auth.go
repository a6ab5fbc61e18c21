package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// Keys judges credentials, and knows projects and keys; access.Book is one.
type Keys interface {
	// Authenticate returns the grant of a secret: access.ErrUnauthorized if it has none, access.ErrStale if that
	// cannot be known now.
	Authenticate(ctx context.Context, key secret.Text) (access.Grant, error)
	// Read calls do with all projects and keys; access.ErrStale if they cannot be known now.
	Read(ctx context.Context, do func(*access.State)) error
	// WaitFor waits until the event of a sequence counts.
	WaitFor(ctx context.Context, sequence uint64) error
	// AuthenticateToken returns the grant of a token that is ours; see access.Book.
	AuthenticateToken(ctx context.Context, t access.Token, required bool) (access.Grant, error)
	// Lease follows whether a grant still holds; see access.Book.
	Lease(g access.Grant, tell func(over bool)) *access.Lease
}

// projectHeader names the project in which a credential with the scope operator acts.
const projectHeader = "X-Reelmill-Project"

type grantKey struct{}

// grantOf returns what the request of ctx may do.
func grantOf(ctx context.Context) access.Grant {
	g, _ := ctx.Value(grantKey{}).(access.Grant)
	return g
}

// authorize returns the request with its grant, project, actor and client in the context, or why it is
// refused. pattern is that of its route; empty: it has none, so that nothing but a credential is asked for.
func (s *server) authorize(r *http.Request, pattern string) (*http.Request, error) {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return r, nil // playback, health and documentation belong to no project
	}
	g, err := s.grant(r, pattern)
	if err != nil {
		return r, err
	}
	ctx := context.WithValue(pipeline.WithActor(r.Context(), g.Actor), grantKey{}, g)
	project := g.Project
	if project == access.Operator {
		project = access.OperatorToken
	}
	ctx = context.WithValue(ctx, projectKey{}, project)
	return withoutToken(r).WithContext(context.WithValue(ctx, clientKey{}, s.guard.clientOf(r))), nil
}

// grant returns what a request may do, if that is enough for its route.
func (s *server) grant(r *http.Request, pattern string) (access.Grant, error) {
	if t, ok := tokenIn(r.URL.Path); ok { // the token stands for the credential
		return access.Grant{
			Project: t.project, Actor: "token:" + t.id, Bound: access.Bound{Upload: t.id},
		}, nil
	}
	required, err := s.asksForCredentials(r.Context())
	if err != nil {
		return access.Grant{}, err
	}
	if token := tokenOf(r); !token.Empty() { // it counts also where no credential is needed
		return s.tokenGrant(r, pattern, token, required)
	}
	if !required {
		return s.anonymous(r)
	}
	if n := needs[pattern]; n == open || n == byURL { // a URL without a token leads to nothing
		return access.Grant{Actor: pipeline.ActorAnonymous}, nil
	}
	g, err := s.cfg.Keys.Authenticate(r.Context(), bearer(r))
	if err != nil {
		return g, err
	}
	if g, err = s.actIn(r, g); err != nil || pattern == "" {
		return g, err
	}
	if n := needs[pattern]; !g.Has(n) {
		return g, scopeMissing(n)
	}
	s.cfg.Uses.Note(g.Key)
	if g.Project == access.Operator && needs[pattern] != access.Operate {
		return g, failAt("/header/"+projectHeader, codeInvalid,
			"The credential is of no project: name one in the header %s.", projectHeader)
	}
	return g, nil
}

// asksForCredentials reports whether requests need a credential.
func (s *server) asksForCredentials(ctx context.Context) (bool, error) {
	if s.cfg.Keys == nil || s.cfg.CredentialsRequired == nil {
		return false, nil
	}
	return s.cfg.CredentialsRequired(ctx)
}

// anonymous returns the grant of a request to a server that asks for no credential.
func (s *server) anonymous(r *http.Request) (access.Grant, error) {
	g := access.Anonymous()
	project, err := s.project(r)
	if err != nil {
		return g, err
	}
	g.Project = project
	if s.cfg.Keys == nil {
		return g, nil
	}
	return s.actIn(r, g)
}

// actIn lets an operator act in the project that the request names. Nobody else may name one.
func (s *server) actIn(r *http.Request, g access.Grant) (access.Grant, error) {
	names := r.Header.Values(projectHeader)
	switch {
	case len(names) == 0:
		return g, nil
	case !g.Has(access.Operate):
		return g, scopeMissing(access.Operate)
	}
	known := false
	err := s.cfg.Keys.Read(r.Context(), func(state *access.State) {
		_, known = state.Project(names[0])
	})
	if err == nil && (!known || len(names) > 1) {
		err = fail(codeNotFound, "There is no such project.")
	}
	g.Project = names[0]
	return g, err
}

// lease follows whether the grant of a request still holds, for what may outlive it by much. tell must not
// block.
func (s *server) lease(ctx context.Context, tell func(over bool)) *access.Lease {
	if s.cfg.Keys == nil {
		return nil
	}
	return s.cfg.Keys.Lease(grantOf(ctx), tell)
}

// bearer returns the credential that a request brings (RFC 6750, 2.1); empty for none. A browser cannot set
// the header of a WebSocket and sends none.
func bearer(r *http.Request) secret.Text {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || len(r.Header.Values("Authorization")) != 1 {
		return secret.Text{}
	}
	return secret.New(strings.TrimSpace(token))
}

// scopeMissing is the failure of a credential without a scope.
func scopeMissing(n need) *failure {
	return fail(codeScope, "The credential lacks the scope %s.", n)
}

// authFailure turns an error of Keys into a failure; nil for any other error.
func authFailure(err error) *failure {
	switch {
	case errors.Is(err, access.ErrUnauthorized): // one answer for missing, unknown, revoked and expired ones
		return fail(codeUnauthorized, "The request has no valid credential.")
	case errors.Is(err, access.ErrIssuerAway):
		return fail(codeAuthUnavailable, "The credential has a key that the server does not know, and its issuer "+
			"does not answer.").because(err)
	case errors.Is(err, access.ErrStale):
		return fail(codeAuthUnavailable, "The server cannot reach the event log, so it cannot tell which "+
			"credentials are valid.").because(err)
	}
	return nil
}
