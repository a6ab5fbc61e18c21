package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// letterFlags select dead letters. The server acts on them, in the background.
type letterFlags struct {
	Type      string        `help:"Only those of this worker type." placeholder:"TYPE"`
	Code      string        `help:"Only those with this error code." placeholder:"CODE"`
	Video     string        `help:"Only those of this video." placeholder:"ID"`
	OlderThan time.Duration `help:"Only those that are older, such as 24h." placeholder:"TIME"`
	NewerThan time.Duration `help:"Only those that are newer, such as 24h." placeholder:"TIME"`
	DryRun    bool          `help:"Count them and show some; change nothing."`
	Reason    string        `help:"Why. It is in the run, in events and in the log." placeholder:"TEXT"`
	Wait      bool          `help:"Wait for the end of the run."`
}

// filter returns what the flags select; nil without one that selects.
func (f letterFlags) filter(now time.Time) *bulk.LetterFilter {
	filter := bulk.LetterFilter{Worker: f.Type, Code: pipeline.Code(f.Code), Video: f.Video}
	if f.OlderThan > 0 {
		filter.Before = now.Add(-f.OlderThan).UTC()
	}
	if f.NewerThan > 0 {
		filter.After = now.Add(-f.NewerThan).UTC()
	}
	if filter == (bulk.LetterFilter{}) {
		return nil
	}
	return &filter
}

// asked reports whether the flags ask for a run of the server.
func (f letterFlags) asked() bool {
	return f.filter(time.Now()) != nil || f.DryRun || f.Reason != "" || f.Wait
}

// runLetters begins a run of the server.
func (f letterFlags) runLetters(ctx context.Context, at serverFlags, s streams, action bulk.Action,
	ids []string, all bool,
) error {
	filter := f.filter(time.Now())
	switch {
	case len(ids) > 0:
		return usageError{errors.New("name dead letters or select them by flags, not both")}
	case all == (filter != nil):
		return usageError{errors.New("select dead letters by --type, --code, --video, --older-than or " +
			"--newer-than, or say --all")}
	case f.Reason == "" && !f.DryRun:
		return usageError{errors.New("say why with --reason, or count only with --dry-run")}
	}
	run, err := at.client().StartLetterRun(ctx, client.NewLetterRun{
		Action: action, Filter: filter, All: all, DryRun: f.DryRun, Reason: f.Reason,
	})
	if err == nil && f.Wait && !f.DryRun {
		run, err = awaitRun(ctx, at.client(), run)
	}
	if err != nil {
		return err
	}
	if run.Status == bulk.Running && !at.structured() {
		human.Fprintf(s.err, "It goes on in the background: reelmill dead runs get %s\n", run.ID)
	}
	return at.print(s, run, func(w io.Writer) { printRun(w, run) })
}

// awaitRun returns the run once it has ended, or was paused.
func awaitRun(ctx context.Context, c *client.Client, run client.LetterRun) (client.LetterRun, error) {
	for run.Status == bulk.Running {
		if !pause.For(ctx, time.Second) {
			return run, ctx.Err()
		}
		var err error
		if run, err = c.LetterRun(ctx, run.ID); err != nil {
			return run, err
		}
	}
	return run, nil
}

// printRun prints a run.
func printRun(w io.Writer, run client.LetterRun) {
	if run.DryRun {
		human.Fprintf(w, "would %s\t%d dead letters; nothing was changed\n", run.Action, run.Total)
	} else {
		human.Fprintf(w, "id\t%s\nstate\t%s\naction\t%s\nreason\t%s\ntotal\t%d\ndone\t%d\n"+
			"failed\t%d\nskipped\t%d\nremaining\t%d\n",
			run.ID, run.Status, run.Action, run.Reason, run.Total, run.Done, run.Failed, run.Skipped, run.Remaining)
	}
	if run.Waiting != "" {
		human.Fprintf(w, "waiting\t%s\n", run.Waiting)
	}
	for _, f := range run.Failures {
		human.Fprintf(w, "failed\t%s: %s\n", f.Letter, f.Detail)
	}
	for _, d := range run.Sample {
		human.Fprintf(w, "%s\t%s/%s, %s, %s\n", d.ID, d.Video, d.Job, d.Problem.Code, pipeline.Clock(d.CreatedAt))
	}
}

// deadRuns groups the commands about runs.
type deadRuns struct {
	List   runsList   `cmd:"" help:"List the runs that redrive or discard many dead letters, the newest first."`
	Get    runsGet    `cmd:"" help:"Show how far a run is."`
	Pause  runsPause  `cmd:"" help:"Pause a run."`
	Resume runsResume `cmd:"" help:"Resume a run that is paused."`
	Cancel runsCancel `cmd:"" help:"Cancel a run. What it has done stays so."`
}

type runsList struct{ serverFlags }

// Run lists the runs.
func (c runsList) Run(ctx context.Context, s streams) error {
	runs, err := c.client().LetterRuns(ctx)
	if err != nil {
		return err
	}
	return c.print(s, runs, func(w io.Writer) {
		if len(runs) == 0 {
			human.Fprintln(w, "There are no runs. Begin one: reelmill dead redrive --type TYPE --reason TEXT")
			return
		}
		human.Fprintf(w, "ID\tSTATE\tACTION\tTOTAL\tDONE\tFAILED\tSKIPPED\tREMAINING\tBEGAN\tREASON\n")
		for _, r := range runs {
			began := "-"
			if r.CreatedAt != nil {
				began = pipeline.Clock(*r.CreatedAt)
			}
			human.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", r.ID, r.Status, r.Action, r.Total, r.Done,
				r.Failed, r.Skipped, r.Remaining, began, r.Reason)
		}
	})
}

// runArg names a run.
type runArg struct {
	serverFlags
	ID string `arg:"" help:"Id of the run, from reelmill dead runs list."`
}

// Validate is called by kong.
func (a runArg) Validate() error { return checkID(a.ID, "a run", "run_") }

// show prints a run.
func (a runArg) show(s streams, run client.LetterRun, err error) error {
	if err != nil {
		return err
	}
	return a.print(s, run, func(w io.Writer) { printRun(w, run) })
}

type runsGet struct{ runArg }

// Run shows a run.
func (c runsGet) Run(ctx context.Context, s streams) error {
	run, err := c.client().LetterRun(ctx, c.ID)
	return c.show(s, run, err)
}

type runsPause struct{ runArg }

// Run pauses a run.
func (c runsPause) Run(ctx context.Context, s streams) error {
	run, err := c.client().PauseLetterRun(ctx, c.ID)
	return c.show(s, run, err)
}

type runsResume struct{ runArg }

// Run resumes a run.
func (c runsResume) Run(ctx context.Context, s streams) error {
	run, err := c.client().ResumeLetterRun(ctx, c.ID)
	return c.show(s, run, err)
}

type runsCancel struct{ runArg }

// Run cancels a run.
func (c runsCancel) Run(ctx context.Context, s streams) error {
	run, err := c.client().CancelLetterRun(ctx, c.ID)
	return c.show(s, run, err)
}
