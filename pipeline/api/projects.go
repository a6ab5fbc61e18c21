package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/storage/catalog"
)

var (
	opCreateProject = huma.Operation{
		OperationID: "create-project", Method: http.MethodPost, Path: "/v1/projects", Tags: []string{"access"},
		Summary: "Make a project", DefaultStatus: http.StatusCreated,
		Description: "For operators. Then make a key of it: POST /v1/keys with the header X-Reelmill-Project.",
	}
	opListProjects = huma.Operation{
		OperationID: "list-projects", Method: http.MethodGet, Path: "/v1/projects", Tags: []string{"access"},
		Summary: "List the projects", Description: "For operators. By name.",
	}
	opGetProject = huma.Operation{
		OperationID: "get-project", Method: http.MethodGet, Path: "/v1/projects/{name}", Tags: []string{"access"},
		Summary: "Read a project", Description: "For operators.",
	}
	opChangeProject = huma.Operation{
		OperationID: "change-project", Method: http.MethodPatch, Path: "/v1/projects/{name}",
		Tags: []string{"access"}, Summary: "Change a project",
		Description: "For operators. What is left out stays, also within `limits` and `retention`; 0 takes a " +
			"limit or rule away. Videos keep their own `playback_policy`.\n\n" +
			"With `dry_run=true`, answers the project as it would be and, in `would_delete`, what its rules of " +
			"retention would delete now, and changes nothing. Without it, a change of `retention` that would delete " +
			"something now is refused (`retention_unconfirmed`); with `dry_run=false` it is made.",
	}
	opDeleteProject = huma.Operation{
		OperationID: "delete-project", Method: http.MethodDelete, Path: "/v1/projects/{name}",
		Tags: []string{"access"}, Summary: "Delete an empty project", DefaultStatus: http.StatusNoContent,
		Description: "For operators. It is empty without videos, uploads that have not ended, webhook endpoints, " +
			"and keys that may still be used; `project_not_empty` says what there is. Its signing keys end with it. " +
			"The project `default` stays.",
	}
)

// routeProjects adds the routes of projects.
func (s *server) routeProjects() {
	if s.cfg.Keys == nil {
		return
	}
	handle(s, opCreateProject, s.createProject)
	handle(s, opListProjects, s.listProjects)
	handle(s, opGetProject, s.getProject)
	handle(s, opChangeProject, s.changeProject)
	handle(s, opDeleteProject, s.deleteProject)
}

// newProject is the body of a request for a project.
type newProject struct {
	_    struct{} `additionalProperties:"false"`
	Name string   `json:"name" minLength:"1" maxLength:"40" pattern:"^[a-z0-9-]+$" doc:"1 to 40 of a-z, 0-9 and hyphen" example:"shop"`
	access.Change
}

type createProjectInput struct{ Body newProject }

type projectOutput struct{ Body access.Project }

func (s *server) createProject(ctx context.Context, in *createProjectInput) (*projectOutput, error) {
	e, err := access.CreateProject(ctx, s.cfg.Log, in.Body.Name, in.Body.Apply(access.Settings{}))
	if err != nil {
		return nil, invalidAccess(err)
	}
	s.counts(ctx, e)
	p, _ := access.FoldProject(access.Project{}, e)
	return &projectOutput{p}, nil
}

type listProjectsOutput struct{ Body list[access.Project] }

func (s *server) listProjects(ctx context.Context, _ *struct{}) (*listProjectsOutput, error) {
	var all []access.Project
	if err := s.cfg.Keys.Read(ctx, func(state *access.State) { all = state.Projects() }); err != nil {
		return nil, err
	}
	return &listProjectsOutput{newList(all, "")}, nil
}

type projectInput struct {
	Name string `path:"name" maxLength:"64" doc:"The project's name"`
}

func (s *server) getProject(ctx context.Context, in *projectInput) (*projectOutput, error) {
	var p access.Project
	var ok bool
	err := s.cfg.Keys.Read(ctx, func(state *access.State) { p, ok = state.Project(in.Name) })
	if err == nil && !ok {
		err = noSuch("project", pipeline.ErrNotFound)
	}
	return &projectOutput{p}, err
}

type changeProjectInput struct {
	Name   string `path:"name" maxLength:"64" doc:"The project's name"`
	DryRun string `query:"dry_run" enum:"true,false" doc:"true: say what the change would do, and change nothing. false: change retention even if that deletes something now"`
	Body   projectChange
}

// changedProject is a project as a change leaves it, or would.
type changedProject struct {
	access.Project
	DryRun      bool              `json:"dry_run,omitempty" doc:"True: nothing was changed"`
	WouldDelete *catalog.Expiring `json:"would_delete,omitempty" doc:"What the rules of retention would delete now; in a dry run alone"`
}

type changedProjectOutput struct{ Body changedProject }

// projectChange is the body of a request to change a project.
type projectChange struct {
	_ struct{} `additionalProperties:"false"`
	access.Change
}

func (s *server) changeProject(ctx context.Context, in *changeProjectInput) (*changedProjectOutput, error) {
	if in.DryRun == "true" || in.DryRun == "" && in.Body.Retention != nil {
		planned, err := s.planChange(ctx, in)
		if err != nil || in.DryRun == "true" {
			return &changedProjectOutput{planned}, err
		}
		if d := planned.WouldDelete; d.Videos+d.Sources > 0 {
			return nil, failAt("/body/retention", codeWouldDelete,
				"The rules would delete %d videos and %d sources of other videos now, %d bytes in all.", d.Videos,
				d.Sources, d.Bytes)
		}
	}
	e, err := access.ChangeProject(ctx, s.cfg.Log, in.Name, in.Body.Apply)
	if err != nil {
		return nil, invalidAccess(noSuch("project", err))
	}
	s.counts(ctx, e)
	out, err := s.getProject(ctx, &projectInput{in.Name})
	return &changedProjectOutput{changedProject{Project: out.Body}}, err
}

// planChange returns a project as a change would leave it, and what its rules would delete now.
func (s *server) planChange(ctx context.Context, in *changeProjectInput) (changedProject, error) {
	out, err := s.getProject(ctx, &projectInput{in.Name})
	if err != nil {
		return changedProject{}, err
	}
	p := changedProject{Project: out.Body, DryRun: true}
	if p.Settings, err = in.Body.Checked(p.Settings); err != nil {
		return changedProject{}, invalidAccess(err)
	}
	ago := func(days int) time.Time {
		if days == 0 {
			return time.Time{}
		}
		return time.Now().Add(-time.Duration(days) * s.cfg.RetentionDay)
	}
	d, err := s.cfg.Catalog.Expiring(ctx, in.Name, ago(p.Retention.VideoDays), ago(p.Retention.SourceDays))
	p.WouldDelete = &d
	return p, err
}

func (s *server) deleteProject(ctx context.Context, in *projectInput) (*struct{}, error) {
	if _, err := s.getProject(ctx, in); err != nil {
		return nil, err
	}
	if in.Name == pipeline.DefaultProject {
		return nil, failAt("/path/name", codeInvalid, "The project %s always exists.", in.Name)
	}
	if err := s.checkEmpty(ctx, in.Name); err != nil {
		return nil, invalidAccess(err)
	}
	e, err := access.DeleteProject(ctx, s.cfg.Log, in.Name)
	if err != nil {
		return nil, invalidAccess(noSuch("project", err))
	}
	s.counts(ctx, e)
	return nil, nil
}

// checkEmpty returns access.ErrNotEmpty for a project that has something.
func (s *server) checkEmpty(ctx context.Context, project string) error {
	notEmpty := func(what string) error { return fmt.Errorf("%w: it has %s", access.ErrNotEmpty, what) }
	if s.cfg.LogEnd != nil { // a video of a moment ago counts
		end, err := s.cfg.LogEnd(ctx)
		if err != nil {
			return brokerFailed(err)
		}
		if err := s.cfg.Catalog.WaitFor(ctx, end); err != nil {
			return err
		}
	}
	videos, err := s.cfg.Catalog.Videos(ctx, catalog.Query{Project: project, Limit: 1})
	if err != nil {
		return err
	}
	if len(videos.Data) > 0 {
		return notEmpty("videos, such as " + videos.Data[0].ID)
	}
	id, err := s.openUpload(ctx, project)
	if err != nil {
		return err
	}
	if id != "" {
		return notEmpty("the upload " + id + ", which has not ended")
	}
	endpoints, err := s.cfg.Webhooks.List(ctx, project)
	if err != nil {
		return orUnavailable(err)
	}
	if len(endpoints) > 0 {
		return notEmpty("the webhook endpoint " + endpoints[0].ID)
	}
	key := ""
	err = s.cfg.Keys.Read(ctx, func(state *access.State) { key = state.ActiveKey(project) })
	if err == nil && key != "" {
		err = notEmpty("the key " + key + ", which is not revoked")
	}
	return err
}

// openUpload returns the id of an upload of a project that has not ended; empty: there is none.
func (s *server) openUpload(ctx context.Context, project string) (string, error) {
	for info, err := range s.cfg.Store.List(ctx, uploadsPrefix+project+"/") {
		if err != nil {
			return "", ofStore(err)
		}
		_, id, ok := locateUpload(info.Key)
		if !ok {
			continue
		}
		switch d, err := s.loadUpload(ctx, project, id); {
		case errors.Is(err, pipeline.ErrNotFound): // it was removed meanwhile
		case err != nil:
			return "", err
		case !d.Status.ended():
			return id, nil
		}
	}
	return "", nil
}
