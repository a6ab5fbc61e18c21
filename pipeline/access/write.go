package access

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// role is who writes the events, in their source.
const role = "access"

// tries bounds how often a write is made again because another one was faster.
const tries = 8

// CreateProject appends project.created. ErrExists: there is one of this name. ErrInvalid: the name or a
// setting is not allowed.
func CreateProject(ctx context.Context, log pipeline.Log, name string, s Settings) (pipeline.Event, error) {
	if err := errors.Join(CheckProject(name), s.check()); err != nil {
		return pipeline.Event{}, err
	}
	return write(ctx, log, name, ProjectThing, func(last pipeline.Event) (pipeline.EventType, any, error) {
		if exists(name, last) {
			return "", nil, ErrExists
		}
		return pipeline.ProjectCreated, s, nil
	})
}

// ChangeProject appends project.changed with the whole new settings, which change makes of the old ones. Who
// changes a project at the same time loses nothing. pipeline.ErrNotFound: there is no such project.
// ErrInvalid: a setting is not allowed.
func ChangeProject(ctx context.Context, log pipeline.Log, name string, change func(Settings) Settings,
) (pipeline.Event, error) {
	if CheckProject(name) != nil {
		return pipeline.Event{}, pipeline.ErrNotFound
	}
	return write(ctx, log, name, ProjectThing, func(last pipeline.Event) (pipeline.EventType, any, error) {
		if !exists(name, last) {
			return "", nil, pipeline.ErrNotFound
		}
		before, _ := FoldProject(Project{}, last)
		s := change(before.Settings)
		if err := s.check(); err != nil {
			return "", nil, err
		}
		return pipeline.ProjectChanged, s, nil
	})
}

// DeleteProject appends project.deleted, which also makes the project's keys void. The caller has checked
// that it is empty; what another process adds meanwhile is out of reach until somebody creates the project
// again. The default project cannot be deleted (ErrInvalid). pipeline.ErrNotFound: there is no such
// project.
func DeleteProject(ctx context.Context, log pipeline.Log, name string) (pipeline.Event, error) {
	if name == pipeline.DefaultProject {
		return pipeline.Event{}, fmt.Errorf("%w: the project %s always exists", ErrInvalid, name)
	}
	return write(ctx, log, name, ProjectThing, func(last pipeline.Event) (pipeline.EventType, any, error) {
		if !exists(name, last) {
			return "", nil, pipeline.ErrNotFound
		}
		return pipeline.ProjectDeleted, struct{}{}, nil
	})
}

// exists reports whether a project exists whose subject has this last event.
func exists(name string, last pipeline.Event) bool {
	if last.Sequence == 0 {
		return name == pipeline.DefaultProject
	}
	return last.Type != pipeline.ProjectDeleted
}

// NewKey says what key to make.
type NewKey struct {
	Project   string // Operator for a key of the operator
	Name      string
	Scopes    []Scope
	ExpiresAt time.Time // zero: never
	// RequestsPerSecond limits the key alone, beside the limit of its project; 0: it has no limit of its own.
	RequestsPerSecond int
}

// CreateKey appends key.created and returns the key with its secret, which nobody can read again.
// pipeline.ErrNotFound: there is no such project. ErrInvalid: the name, a scope or the time is not allowed.
func CreateKey(ctx context.Context, log pipeline.Log, n NewKey) (Key, secret.Text, pipeline.Event, error) {
	fail := func(err error) (Key, secret.Text, pipeline.Event, error) {
		return Key{}, secret.Text{}, pipeline.Event{}, err
	}
	if err := n.check(); err != nil {
		return fail(err)
	}
	if n.Project != Operator {
		last, err := log.Last(ctx, subject(n.Project, ProjectThing))
		if err != nil {
			return fail(err)
		}
		if !exists(n.Project, last[0]) {
			return fail(pipeline.ErrNotFound)
		}
	}
	text := newSecret()
	sum := sumOf(text.Reveal())
	data := KeyData{
		ID: pipeline.NewID("key"), Name: n.Name, Scopes: n.Scopes, SHA256: hex.EncodeToString(sum[:]),
		RequestsPerSecond: n.RequestsPerSecond,
	}
	if !n.ExpiresAt.IsZero() {
		at := n.ExpiresAt.UTC()
		data.ExpiresAt = &at
	}
	e, err := write(ctx, log, n.Project, data.ID, func(pipeline.Event) (pipeline.EventType, any, error) {
		return pipeline.KeyCreated, data, nil
	})
	if err != nil {
		return fail(err)
	}
	k, err := newKey(n.Project, data.ID, e)
	return k, text, e, err
}

func (n NewKey) check() error {
	var project error
	if n.Project != Operator {
		project = CheckProject(n.Project)
	}
	var expiry error
	if !n.ExpiresAt.IsZero() && !n.ExpiresAt.After(time.Now()) {
		expiry = fmt.Errorf("%w: the key would expire in the past, %s", ErrInvalid, pipeline.Clock(n.ExpiresAt))
	}
	return errors.Join(project, checkText("name", n.Name), CheckScopes(n.Project, n.Scopes), expiry,
		checkRate(n.RequestsPerSecond))
}

// RevokeKey appends key.revoked. Revoking again does nothing and returns the first event.
// pipeline.ErrNotFound: the project has no such key.
func RevokeKey(ctx context.Context, log pipeline.Log, project, id string) (pipeline.Event, error) {
	if !pipeline.ValidName(id) || id == ProjectThing || IsSigningKey(id) ||
		project != Operator && CheckProject(project) != nil {
		return pipeline.Event{}, pipeline.ErrNotFound
	}
	return revoke(ctx, log, project, id, pipeline.KeyRevoked)
}

// revoke appends the event with which a key of either kind ends, unless it is there.
func revoke(
	ctx context.Context, log pipeline.Log, project, id string, revoked pipeline.EventType,
) (pipeline.Event, error) {
	if !pipeline.ValidName(id) {
		return pipeline.Event{}, pipeline.ErrNotFound
	}
	return write(ctx, log, project, id, func(last pipeline.Event) (pipeline.EventType, any, error) {
		switch {
		case last.Sequence == 0:
			return "", nil, pipeline.ErrNotFound
		case last.Type == revoked:
			return "", nil, nil
		}
		return revoked, struct{}{}, nil
	})
}

// write appends the event that next wants after the last one of a thing's subject. With no type it appends
// nothing and returns the last one.
func write(ctx context.Context, log pipeline.Log, project, thing string,
	next func(last pipeline.Event) (pipeline.EventType, any, error),
) (pipeline.Event, error) {
	at := subject(project, thing)
	about := thing
	if thing == ProjectThing || strings.HasPrefix(thing, quotaPrefix) {
		about = project
	}
	for range tries {
		last, err := log.Last(ctx, at)
		if err != nil {
			return pipeline.Event{}, err
		}
		kind, data, err := next(last[0])
		if err != nil || kind == "" {
			return last[0], err
		}
		e, err := pipeline.NewEvent(role, kind, at, about, last[0], data)
		if err != nil {
			return pipeline.Event{}, err
		}
		e, err = pipeline.Append(ctx, log, e, last[0].Sequence)
		if !errors.Is(err, pipeline.ErrConflict) {
			return e, err
		}
	}
	return pipeline.Event{}, pipeline.ErrConflict
}
