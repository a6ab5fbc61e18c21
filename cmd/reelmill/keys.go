package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// keysCommand makes, lists and revokes API keys.
type keysCommand struct {
	Create keysCreate `cmd:"" help:"Make an API key, and print its secret once."`
	List   keysList   `cmd:"" help:"List the API keys of a project."`
	Revoke keysRevoke `cmd:"" help:"Revoke API keys: two seconds later no server honours them."`
}

// bookFlags say where projects and keys are: at a server, or in an event log.
type bookFlags struct {
	serverFlags
	dataFlags
	Offline bool `help:"${offline_help}"`
}

// within calls do with the event log and what it has of projects and keys.
func (f bookFlags) within(ctx context.Context, log *slog.Logger,
	do func(*bus.Bus, *access.State) error,
) (err error) {
	b, err := broker.Open(ctx, f.broker(), f.Data, log)
	if err != nil {
		return fmt.Errorf("%w; if a server is running, ask it: leave out --offline", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	events, err := bus.Open(ctx, b.Conn, bus.Config{
		Replicas: f.Replicas, EventsMaxBytes: int64(f.EventsMax), Exclusive: b.Exclusive(), Logger: log,
	})
	if err != nil {
		return err
	}
	state, err := access.Load(ctx, events)
	if err != nil {
		return err
	}
	return do(events, state)
}

// operator returns a context for what the operator of the machine does.
func operator(ctx context.Context) context.Context {
	return pipeline.WithActor(ctx, pipeline.ActorOperator)
}

// keysCreate makes a key.
type keysCreate struct {
	bookFlags
	Project string         `help:"${key_project_help}" placeholder:"NAME"`
	Name    string         `help:"For people: who or what has the key."`
	Scopes  []access.Scope `help:"${scopes_help}" default:"upload,read,write"`
	Expires time.Duration  `help:"How long it is valid, such as 720h. Default: until it is revoked."`
	Rate    int            `help:"How many requests a second each server process answers, and twice as many at once. Default: as many as for the project." placeholder:"N"`
}

// Validate is called by kong.
func (c keysCreate) Validate() error {
	if err := c.bookFlags.Validate(); err != nil {
		return err
	}
	if c.Expires < 0 {
		return fmt.Errorf("--expires must be above 0, not %s", c.Expires)
	}
	if c.Rate < 0 {
		return fmt.Errorf("--rate must be above 0, not %d", c.Rate)
	}
	return nil
}

// Run makes the key.
func (c keysCreate) Run(ctx context.Context, s streams, log *slog.Logger) error {
	n := access.NewKey{Project: c.Project, Name: c.Name, Scopes: c.Scopes, RequestsPerSecond: c.Rate}
	if c.Expires > 0 {
		n.ExpiresAt = time.Now().Add(c.Expires)
	}
	if !c.Offline {
		k, text, err := c.clientIn(c.Project).CreateKey(ctx, n)
		if err != nil {
			return err
		}
		return c.tell(s, k, text)
	}
	if n.Project == "" {
		n.Project = pipeline.DefaultProject
	}
	return c.within(ctx, log, func(events *bus.Bus, _ *access.State) error {
		k, text, _, err := access.CreateKey(operator(ctx), events, n)
		if err != nil {
			return accessError("project "+n.Project, err)
		}
		return c.tell(s, k, text)
	})
}

// tell prints a new key: the secret on stdout, for scripts, and the rest for people.
func (c keysCreate) tell(s streams, k access.Key, text secret.Text) error {
	if c.structured() {
		return c.encode(s.out, struct {
			access.Key
			Secret string `json:"secret"`
		}{k, text.Reveal()})
	}
	human.Fprintf(s.err, "%s of project %s may: %s. Keep the secret; nobody can read it again:\n",
		k.ID, k.Project, scopesText(k.Scopes))
	_, err := human.Fprintln(s.out, text.Reveal())
	return err
}

func scopesText(scopes []access.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// accessError turns errors of package access into those of the command.
func accessError(thing string, err error) error {
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		return notFoundError{fmt.Errorf("there is no %s", thing)}
	case errors.Is(err, access.ErrInvalid), errors.Is(err, access.ErrExists):
		return usageError{err}
	}
	return err
}

// keysList lists keys.
type keysList struct {
	bookFlags
	Project string `help:"${key_project_help}" placeholder:"NAME"`
}

// Run lists the keys.
func (c keysList) Run(ctx context.Context, s streams, log *slog.Logger) error {
	if !c.Offline {
		keys, err := c.clientIn(c.Project).Keys(ctx)
		if err != nil {
			return err
		}
		return c.list(s, keys)
	}
	return c.within(ctx, log, func(events *bus.Bus, state *access.State) error {
		project := c.Project
		if project == "" {
			project = pipeline.DefaultProject
		}
		keys := state.Keys(project)
		if err := access.FillUses(ctx, events, keys); err != nil {
			return err
		}
		return c.list(s, keys)
	})
}

func (c keysList) list(s streams, keys []access.Key) error {
	if keys == nil {
		keys = []access.Key{}
	}
	return c.print(s, keys, func(w io.Writer) {
		human.Fprintf(w, "ID\tPROJECT\tNAME\tSCOPES\tCREATED\tLAST USED\tSTATE\n")
		for _, k := range keys {
			used := "never"
			if k.LastUsedAt != nil {
				used = pipeline.Clock(*k.LastUsedAt)
			}
			human.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Project, k.Name, scopesText(k.Scopes),
				pipeline.Clock(k.CreatedAt), used, keyState(k))
		}
	})
}

// keyState says in words whether a key may be used.
func keyState(k access.Key) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + pipeline.Clock(*k.RevokedAt)
	case k.ExpiresAt == nil:
		return "active"
	case k.Active(time.Now()):
		return "active until " + pipeline.Clock(*k.ExpiresAt)
	}
	return "expired " + pipeline.Clock(*k.ExpiresAt)
}

// keysRevoke revokes keys.
type keysRevoke struct {
	bookFlags
	Project string   `help:"${key_project_help}" placeholder:"NAME"`
	IDs     []string `arg:"" name:"id" help:"The keys' ids."`
}

// Run revokes the keys.
func (c keysRevoke) Run(ctx context.Context, s streams, log *slog.Logger) error {
	revoke := func(id string) error { return c.clientIn(c.Project).RevokeKey(ctx, id) }
	all := func() error {
		for _, id := range c.IDs {
			if err := revoke(id); err != nil {
				return err
			}
			human.Fprintf(s.err, "%s is revoked\n", id)
		}
		return nil
	}
	if !c.Offline {
		return all()
	}
	return c.within(ctx, log, func(events *bus.Bus, _ *access.State) error {
		project := c.Project
		if project == "" {
			project = pipeline.DefaultProject
		}
		revoke = func(id string) error {
			_, err := access.RevokeKey(operator(ctx), events, project, id)
			return accessError("key "+id+" of project "+project, err)
		}
		return all()
	})
}

// clientIn returns a client that acts in a project, which only a key of the operator may name.
func (f serverFlags) clientIn(project string) *client.Client {
	config := f.clientConfig()
	config.Project = project
	return client.Open(config)
}
