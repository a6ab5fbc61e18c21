package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bytesize"
)

// projectsCommand makes, lists, changes and deletes projects.
type projectsCommand struct {
	Create projectsCreate `cmd:"" help:"Make a project."`
	List   projectsList   `cmd:"" help:"List the projects."`
	Get    projectsGet    `cmd:"" help:"Show a project."`
	Change projectsChange `cmd:"" help:"Change the title, the limits, the playback policy or the retention of a project."`
	Delete projectsDelete `cmd:"" help:"Delete empty projects."`
}

// projectsCreate makes a project.
type projectsCreate struct {
	bookFlags
	Name  string `arg:"" help:"1 to 40 of a-z, 0-9 and hyphen."`
	Title string `help:"For people."`
	retentionFlags
}

// retentionFlags are the rules of retention.
type retentionFlags struct {
	SourceDays *int `help:"Days after its end for which the source of a video is kept; 0: for ever." placeholder:"DAYS"`
	VideoDays  *int `help:"Days after its end for which a video is kept, with all that was made of it; 0: for ever." placeholder:"DAYS"`
}

// change returns what the flags change; nil for nothing.
func (f retentionFlags) change() *access.RetentionChange {
	if f.SourceDays == nil && f.VideoDays == nil {
		return nil
	}
	return &access.RetentionChange{SourceDays: f.SourceDays, VideoDays: f.VideoDays}
}

// Run makes the project.
func (c projectsCreate) Run(ctx context.Context, s streams, log *slog.Logger) error {
	settings := access.Change{Title: &c.Title, Retention: c.retentionFlags.change()}.Apply(access.Settings{})
	if !c.Offline {
		p, err := c.client().CreateProject(ctx, c.Name, settings)
		if err != nil {
			return err
		}
		return c.printProjects(s, p)
	}
	return c.within(ctx, log, func(events *bus.Bus, _ *access.State) error {
		e, err := access.CreateProject(operator(ctx), events, c.Name, settings)
		if err != nil {
			return accessError("project "+c.Name, err)
		}
		p, _ := access.FoldProject(access.Project{}, e)
		return c.printProjects(s, p)
	})
}

// printProjects prints a table of projects.
func (f bookFlags) printProjects(s streams, all ...access.Project) error {
	return f.print(s, all, func(w io.Writer) {
		human.Fprintf(w, "NAME\tTITLE\tCREATED\tSOURCES KEPT\tVIDEOS KEPT\tLIMITS\n")
		for _, p := range all {
			created := "always there"
			if !p.CreatedAt.IsZero() {
				created = pipeline.Clock(p.CreatedAt)
			}
			human.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.Title, created,
				daysKept(p.Retention.SourceDays), daysKept(p.Retention.VideoDays), limitsSet(p.Limits))
		}
	})
}

// limitsSet lists the limits that are set, by their names in the API.
func limitsSet(l access.Limits) string {
	raw, err := json.Marshal(l) // leaves out what is 0
	var set map[string]int64
	if err == nil {
		err = json.Unmarshal(raw, &set)
	}
	if err != nil {
		return err.Error()
	}
	if len(set) == 0 {
		return "none"
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		all = append(all, fmt.Sprintf("%s=%d", name, set[name]))
	}
	return strings.Join(all, " ")
}

// daysKept says in words how long something is kept.
func daysKept(days int) string {
	if days == 0 {
		return "for ever"
	}
	return strconv.Itoa(days) + " " + human.Plural(days, "day")
}

// projectsList lists projects.
type projectsList struct{ bookFlags }

// Run lists the projects.
func (c projectsList) Run(ctx context.Context, s streams, log *slog.Logger) error {
	if !c.Offline {
		all, err := c.client().Projects(ctx)
		if err != nil {
			return err
		}
		return c.printProjects(s, all...)
	}
	return c.within(ctx, log, func(_ *bus.Bus, state *access.State) error {
		return c.printProjects(s, state.Projects()...)
	})
}

// projectsGet shows a project.
type projectsGet struct {
	bookFlags
	Name string `arg:"" help:"The project's name."`
}

// Run shows the project.
func (c projectsGet) Run(ctx context.Context, s streams, log *slog.Logger) error {
	if !c.Offline {
		p, err := c.client().Project(ctx, c.Name)
		if err != nil {
			return err
		}
		return c.printProjects(s, p)
	}
	return c.within(ctx, log, func(_ *bus.Bus, state *access.State) error {
		p, ok := state.Project(c.Name)
		if !ok {
			return accessError("project "+c.Name, pipeline.ErrNotFound)
		}
		return c.printProjects(s, p)
	})
}

// projectsChange changes a project.
type projectsChange struct {
	bookFlags
	Name  string  `arg:"" help:"The project's name."`
	Title *string `help:"For people; may be empty."`

	PlaybackPolicy string `help:"Who may play videos whose upload says nothing about it: public (whoever knows the id) or signed (whoever has a token). Videos keep their own." enum:"public,signed," default:"" placeholder:"public|signed"`

	RequestsPerSecond *int           `help:"Requests a second that each server process answers; 0: no limit."`
	RequestBurst      *int           `help:"Requests at once; 0: twice --requests-per-second."`
	UploadsAtOnce     *int           `help:"Requests that send bytes of uploads to one server process at once; 0: no limit."`
	UploadBytesPerDay *bytesize.Size `help:"Bytes uploaded or fetched on a day of UTC, such as 20GB; 0: no limit."`

	MinutesStored          *int64 `help:"Minutes of video that are kept; 0: no limit."`
	MinutesEncodedPerMonth *int64 `help:"Minutes of video whose encoding begins in a month of UTC; 0: no limit."`

	EncodesAtOnce *int `help:"Jobs of the worker type transcode, each a piece of a video, that all workers together run at once; 0: no limit."`

	Weight *int `help:"How many jobs of the project workers take for one of a project of weight 1, while both have some that wait, 1 to 100."`
	retentionFlags
	Yes bool `help:"Set rules of retention that delete something now. Without it, print how much that is."`
}

// change returns what the flags change.
func (c projectsChange) change() access.Change {
	change := access.Change{Title: c.Title, Retention: c.retentionFlags.change()}
	if c.PlaybackPolicy != "" {
		policy := pipeline.PlaybackPolicy(c.PlaybackPolicy)
		change.PlaybackPolicy = &policy
	}
	limits := access.LimitsChange{
		RequestsPerSecond: c.RequestsPerSecond, RequestBurst: c.RequestBurst, UploadsAtOnce: c.UploadsAtOnce,
		UploadBytesPerDay: (*int64)(c.UploadBytesPerDay),
		MinutesStored:     c.MinutesStored, MinutesEncodedPerMonth: c.MinutesEncodedPerMonth,
		EncodesAtOnce: c.EncodesAtOnce, Weight: c.Weight,
	}
	if limits != (access.LimitsChange{}) {
		change.Limits = &limits
	}
	return change
}

// Run changes the project.
func (c projectsChange) Run(ctx context.Context, s streams, log *slog.Logger) error {
	change := c.change()
	if change == (access.Change{}) {
		return usageError{errors.New("say what to change, such as --title, --minutes-stored or --source-days")}
	}
	if !c.Offline {
		return c.changeOnServer(ctx, s, change)
	}
	if change.Retention != nil {
		return usageError{errors.New("--source-days and --video-days need a running server, which knows what " +
			"they would delete")}
	}
	return c.within(ctx, log, func(events *bus.Bus, state *access.State) error {
		e, err := access.ChangeProject(operator(ctx), events, c.Name, change.Apply)
		if err != nil {
			return accessError("project "+c.Name, err)
		}
		before, _ := state.Project(c.Name)
		p, _ := access.FoldProject(before, e)
		return c.printProjects(s, p)
	})
}

// changeOnServer changes the project on a server. It says first what new rules of retention would delete, and
// needs --yes for those that would.
func (c projectsChange) changeOnServer(ctx context.Context, s streams, change access.Change) error {
	send := c.client().ChangeProject
	if change.Retention != nil {
		plan, err := c.client().PlanProjectChange(ctx, c.Name, change)
		if err != nil {
			return err
		}
		if d := plan.WouldDelete; d.Videos+d.Sources > 0 {
			human.Fprintf(s.err, "The rules delete %d %s and %d %s of other videos now, %s in all.\n",
				d.Videos, human.Plural(d.Videos, "video"), d.Sources, human.Plural(d.Sources, "source"),
				bytesize.Size(d.Bytes))
			if !c.Yes {
				return errors.New("nothing was changed; say --yes to set the rules")
			}
			send = c.client().ConfirmProjectChange
		}
	}
	p, err := send(ctx, c.Name, change)
	if err != nil {
		return err
	}
	return c.printProjects(s, p)
}

// projectsDelete deletes projects. It asks a server, which knows what they have.
type projectsDelete struct {
	serverFlags
	Names []string `arg:"" name:"name" help:"The projects' names."`
}

// Run deletes the projects.
func (c projectsDelete) Run(ctx context.Context, s streams) error {
	for _, name := range c.Names {
		if err := c.client().DeleteProject(ctx, name); err != nil {
			return err
		}
		human.Fprintf(s.err, "%s is deleted\n", name)
	}
	return nil
}
