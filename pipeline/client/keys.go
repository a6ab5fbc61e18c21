package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// CreateKey makes an API key and returns it with its secret, which nobody can read again. It is of the
// project of the client's own key, or of Config.Project; NewKey.Project does not count.
func (c *Client) CreateKey(ctx context.Context, n access.NewKey) (access.Key, secret.Text, error) {
	body := struct {
		Name      string         `json:"name"`
		Scopes    []access.Scope `json:"scopes"`
		ExpiresAt *time.Time     `json:"expires_at,omitempty"`

		RequestsPerSecond int `json:"requests_per_second,omitempty"`
	}{Name: n.Name, Scopes: n.Scopes, RequestsPerSecond: n.RequestsPerSecond}
	if !n.ExpiresAt.IsZero() {
		body.ExpiresAt = &n.ExpiresAt
	}
	var made struct {
		access.Key
		Secret secret.Text `json:"secret"`
	}
	err := c.doWith(ctx, http.MethodPost, "/v1/keys", body, &made)
	return made.Key, made.Secret, err
}

// Keys returns the API keys of the project, the newest first, revoked and expired ones included.
func (c *Client) Keys(ctx context.Context) ([]access.Key, error) {
	var l page[access.Key]
	err := c.get(ctx, "/v1/keys", nil, &l)
	return l.Data, err
}

// RevokeKey revokes an API key: two seconds later no server honours it. Revoking again does nothing.
// pipeline.ErrNotFound: the project has no such key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodPost, "/v1/keys/"+url.PathEscape(id)+"/revoke", nil, nil)
}

// CreateProject makes a project. Only a key of the operator may.
func (c *Client) CreateProject(ctx context.Context, name string, s access.Settings) (access.Project, error) {
	body := struct {
		Name string `json:"name"`
		access.Settings
	}{name, s}
	var p access.Project
	err := c.doWith(ctx, http.MethodPost, "/v1/projects", body, &p)
	return p, err
}

// ChangeProject changes what a change names about a project. Only a key of the operator may. The code
// retention_unconfirmed says that its new rules would delete something now: see PlanProjectChange.
// pipeline.ErrNotFound: there is none of this name.
func (c *Client) ChangeProject(
	ctx context.Context, name string, change access.Change,
) (access.Project, error) {
	var p access.Project
	err := c.doWith(ctx, http.MethodPatch, "/v1/projects/"+url.PathEscape(name), change, &p)
	return p, err
}

// ProjectPlan is a project as a change would leave it, and what its rules of retention would delete now.
type ProjectPlan struct {
	access.Project
	WouldDelete struct {
		Videos  int   `json:"videos"`  // with all that was made of them
		Sources int   `json:"sources"` // of videos that stay
		Bytes   int64 `json:"bytes"`
	} `json:"would_delete"`
}

// PlanProjectChange says what a change of a project would do, and changes nothing. Only a key of the operator
// may. pipeline.ErrNotFound: there is none of this name.
func (c *Client) PlanProjectChange(
	ctx context.Context, name string, change access.Change,
) (ProjectPlan, error) {
	var p ProjectPlan
	err := c.doWith(ctx, http.MethodPatch, "/v1/projects/"+url.PathEscape(name)+"?dry_run=true", change, &p)
	return p, err
}

// ConfirmProjectChange is ChangeProject, also if the new rules of retention delete something now.
func (c *Client) ConfirmProjectChange(ctx context.Context, name string, change access.Change) (
	access.Project, error,
) {
	var p access.Project
	err := c.doWith(ctx, http.MethodPatch, "/v1/projects/"+url.PathEscape(name)+"?dry_run=false", change, &p)
	return p, err
}

// DeleteProject deletes an empty project. Only a key of the operator may. The code project_not_empty says
// what it has. pipeline.ErrNotFound: there is none of this name.
func (c *Client) DeleteProject(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/projects/"+url.PathEscape(name), nil, nil)
}

// Projects returns the projects by name. Only a key of the operator may.
func (c *Client) Projects(ctx context.Context) ([]access.Project, error) {
	var l page[access.Project]
	err := c.get(ctx, "/v1/projects", nil, &l)
	return l.Data, err
}

// Project returns a project. Only a key of the operator may. pipeline.ErrNotFound: there is none of this
// name.
func (c *Client) Project(ctx context.Context, name string) (access.Project, error) {
	var p access.Project
	err := c.get(ctx, "/v1/projects/"+url.PathEscape(name), nil, &p)
	return p, err
}
