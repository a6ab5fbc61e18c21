package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

var (
	opCreateKey = huma.Operation{
		OperationID: "create-key", Method: http.MethodPost, Path: "/v1/keys", Tags: []string{"access"},
		Summary: "Make an API key", DefaultStatus: http.StatusCreated,
		Description: "Of the project of the credential. The answer has the `secret`, which nobody can read " +
			"again. Whoever has the scope admin can make keys with every scope but operator.",
	}
	opListKeys = huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: "/v1/keys", Tags: []string{"access"},
		Summary:     "List the API keys of the project",
		Description: "The newest first, with revoked and expired ones.",
	}
	opGetKey = huma.Operation{
		OperationID: "get-key", Method: http.MethodGet, Path: "/v1/keys/{id}", Tags: []string{"access"},
		Summary: "Read an API key, without its secret", Description: "Revoked and expired ones, too.",
	}
	opRevokeKey = huma.Operation{
		OperationID: "revoke-key", Method: http.MethodPost, Path: "/v1/keys/{id}/revoke", Tags: []string{"access"},
		Summary: "Revoke an API key", DefaultStatus: http.StatusOK,
		Description: "No process honours it two seconds later. Revoking again does nothing.",
	}
)

// routeKeys adds the routes of keys.
func (s *server) routeKeys() {
	if s.cfg.Keys == nil {
		return
	}
	handle(s, opCreateKey, s.createKey)
	handle(s, opListKeys, s.listKeys)
	handle(s, opGetKey, s.getKey)
	handle(s, opRevokeKey, s.revokeKey)
}

// newKey is the body of a request for a key.
type newKey struct {
	_         struct{}       `additionalProperties:"false"`
	Name      string         `json:"name" maxLength:"256" doc:"For people: who or what has the key"`
	Scopes    []access.Scope `json:"scopes" minItems:"1" maxItems:"6" doc:"upload, read, write, admin, work"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty" doc:"It never expires when left out"`

	RequestsPerSecond int `json:"requests_per_second,omitempty" minimum:"0" maximum:"1000000" doc:"Requests a second that each server process answers, and twice as many at once, beside the limit of the project"`
}

type createKeyInput struct{ Body newKey }

// keyWithSecret is a new key.
type keyWithSecret struct {
	access.Key
	Secret string `json:"secret" doc:"The credential; shown only here"`
}

type createKeyOutput struct {
	Cache string `header:"Cache-Control"`
	Body  keyWithSecret
}

func (s *server) createKey(ctx context.Context, in *createKeyInput) (*createKeyOutput, error) {
	n := access.NewKey{
		Project: projectOf(ctx), Name: in.Body.Name, Scopes: in.Body.Scopes,
		RequestsPerSecond: in.Body.RequestsPerSecond,
	}
	if in.Body.ExpiresAt != nil {
		n.ExpiresAt = *in.Body.ExpiresAt
	}
	k, text, e, err := access.CreateKey(ctx, s.cfg.Log, n)
	if err != nil {
		return nil, invalidAccess(noSuch("project", err))
	}
	s.counts(ctx, e)
	return &createKeyOutput{"no-store", keyWithSecret{k, text.Reveal()}}, nil
}

// counts waits briefly until this process knows of an event of projects and keys.
func (s *server) counts(ctx context.Context, e pipeline.Event) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.ReadYourWrites)
	defer cancel()
	if err := s.cfg.Keys.WaitFor(ctx, e.Sequence); err != nil {
		s.cfg.Logger.DebugContext(ctx, "projects and keys are late", "sequence", e.Sequence, "error", err)
	}
}

// invalidAccess turns access.ErrInvalid and access.ErrExists into failures.
func invalidAccess(err error) error {
	switch {
	case errors.Is(err, access.ErrInvalid):
		var lines []string
		for line := range strings.SplitSeq(err.Error(), "\n") {
			lines = append(lines, sentence(strings.TrimPrefix(line, access.ErrInvalid.Error()+": "))+".")
		}
		return failAt("/body", codeInvalid, "%s", strings.Join(lines, " "))
	case errors.Is(err, access.ErrExists):
		return fail(codeProjectExists, "There is a project of this name.")
	case errors.Is(err, access.ErrNotEmpty):
		return fail(codeNotEmpty, "%s.", sentence(err.Error()))
	}
	return err
}

type listKeysOutput struct{ Body list[access.Key] }

func (s *server) listKeys(ctx context.Context, _ *struct{}) (*listKeysOutput, error) {
	var keys []access.Key
	err := s.cfg.Keys.Read(ctx, func(state *access.State) { keys = state.Keys(projectOf(ctx)) })
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Uses.Fill(ctx, keys); err != nil {
		return nil, brokerFailed(err)
	}
	return &listKeysOutput{newList(keys, "")}, nil
}

type keyInput struct {
	ID string `path:"id" maxLength:"64" doc:"The key's id"`
}

type keyOutput struct{ Body access.Key }

func (s *server) getKey(ctx context.Context, in *keyInput) (*keyOutput, error) {
	var k access.Key
	var ok bool
	err := s.cfg.Keys.Read(ctx, func(state *access.State) { k, ok = state.Key(projectOf(ctx), in.ID) })
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noSuch("key", pipeline.ErrNotFound)
	}
	one := []access.Key{k}
	if err := s.cfg.Uses.Fill(ctx, one); err != nil {
		return nil, brokerFailed(err)
	}
	return &keyOutput{one[0]}, nil
}

func (s *server) revokeKey(ctx context.Context, in *keyInput) (*keyOutput, error) {
	e, err := access.RevokeKey(ctx, s.cfg.Log, projectOf(ctx), in.ID)
	if err != nil {
		return nil, noSuch("key", err)
	}
	s.counts(ctx, e)
	return s.getKey(ctx, in)
}
