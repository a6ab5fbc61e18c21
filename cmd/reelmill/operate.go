package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// serverFlags are the flags of every command that asks a server.
type serverFlags struct {
	Server string `help:"URL of the server." default:"http://127.0.0.1:8080" env:"REELMILL_SERVER"`
	JSON   bool   `help:"Print JSON."`
}

func (f serverFlags) client() *client.Client { return client.New(f.Server, http.DefaultClient) }

// print prints v as a JSON line when --json was given, else what text writes.
func (f serverFlags) print(s streams, v any, text func(io.Writer)) error {
	if f.JSON {
		return json.NewEncoder(s.out).Encode(v)
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	text(table)
	return table.Flush()
}

// videosCommand is about videos that were uploaded.
type videosCommand struct {
	List   videosList   `cmd:"" help:"List videos, newest first."`
	Why    videosWhy    `cmd:"" help:"Say what a video waits for, and how it came there."`
	Cancel videosCancel `cmd:"" help:"Stop a video: its running jobs end within 2 seconds."`
	Retry  videosRetry  `cmd:"" help:"Go on with a video that was errored or canceled; what is complete stays."`
	Delete videosDelete `cmd:"" help:"Delete a video with all that was made of it."`
}

type videosList struct {
	serverFlags
	Status string `help:"Only those in this state." placeholder:"STATE"`
	Limit  int    `help:"How many at most." default:"50"`
}

// Run lists videos.
func (c videosList) Run(ctx context.Context, s streams) error {
	page, err := c.client().List(ctx, client.ListOptions{Status: pipeline.VideoState(c.Status), Limit: c.Limit})
	if err != nil {
		return err
	}
	return c.print(s, page.Data, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tSTATUS\tPROGRESS\tCREATED\tFILE")
		for _, v := range page.Data {
			created := v.CreatedAt.Local().Format(time.DateTime)
			fmt.Fprintf(w, "%s\t%s\t%d %%\t%s\t%s\n", v.ID, v.Status, v.Progress, created, v.Filename)
		}
	})
}

type videosWhy struct {
	serverFlags
	ID string `arg:"" help:"Of the video."`
}

// Run prints what the video waits for.
func (c videosWhy) Run(ctx context.Context, s streams) error {
	why, err := c.client().Why(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, why, func(w io.Writer) {
		fmt.Fprintf(w, "%s is %s: %s\n", why.Video, why.Status, why.Summary)
		for _, j := range why.Jobs {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", j.Job, j.Reason, j.Detail)
		}
		fmt.Fprintln(w)
		if why.Earlier > 0 {
			fmt.Fprintf(w, "%d earlier events are left out\n", why.Earlier)
		}
		for _, m := range why.Timeline {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.At.Local().Format("15:04:05.000"), m.Event, m.Job, m.Detail)
		}
	})
}

type videosCancel struct {
	serverFlags
	IDs []string `arg:"" name:"id" help:"Of the videos."`
}

// Run cancels videos.
func (c videosCancel) Run(ctx context.Context, s streams) error {
	for _, id := range c.IDs {
		view, err := c.client().Cancel(ctx, id)
		if err != nil {
			return fmt.Errorf("cancel %s: %w", id, err)
		}
		if err := c.print(s, view, func(w io.Writer) { fmt.Fprintln(w, id, "is", view.Status) }); err != nil {
			return err
		}
	}
	return nil
}

type videosRetry struct {
	serverFlags
	IDs []string `arg:"" name:"id" help:"Of the videos."`
}

// Run has videos go on.
func (c videosRetry) Run(ctx context.Context, s streams) error {
	for _, id := range c.IDs {
		view, err := c.client().Retry(ctx, id)
		if err != nil {
			return fmt.Errorf("retry %s: %w", id, err)
		}
		if err := c.print(s, view, func(w io.Writer) { fmt.Fprintln(w, id, "is", view.Status) }); err != nil {
			return err
		}
	}
	return nil
}

type videosDelete struct {
	serverFlags
	IDs []string `arg:"" name:"id" help:"Of the videos."`
}

// Run deletes videos.
func (c videosDelete) Run(ctx context.Context, s streams) error {
	for _, id := range c.IDs {
		if err := c.client().Delete(ctx, id); err != nil {
			return fmt.Errorf("delete %s: %w", id, err)
		}
		gone := map[string]any{"id": id, "deleted": true}
		if err := c.print(s, gone, func(w io.Writer) { fmt.Fprintln(w, id, "is deleted") }); err != nil {
			return err
		}
	}
	return nil
}

// jobsCommand is about jobs of videos.
type jobsCommand struct {
	Retry jobsRetry `cmd:"" help:"Try an errored job again; its video is processing again."`
}

type jobsRetry struct {
	serverFlags
	ID string `arg:"" help:"Of the job: the video's id, a slash, the job's name."`
}

// Run has a job tried again.
func (c jobsRetry) Run(ctx context.Context, s streams) error {
	job, err := c.client().RetryJob(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, job, func(w io.Writer) { fmt.Fprintln(w, job.ID, "is", job.Status) })
}

// deadCommand is about dead letters.
type deadCommand struct {
	List    deadList    `cmd:"" help:"List jobs that failed for good, oldest first."`
	Show    deadShow    `cmd:"" help:"Show all that is known of one."`
	Redrive deadRedrive `cmd:"" help:"Try their jobs again."`
	Discard deadDiscard `cmd:"" help:"Forget them."`
}

type deadList struct {
	serverFlags
}

// Run lists dead letters.
func (c deadList) Run(ctx context.Context, s streams) error {
	letters := []client.DeadLetter{}
	for d, err := range c.client().DeadLetters(ctx) {
		if err != nil {
			return err
		}
		letters = append(letters, d)
	}
	return c.print(s, letters, func(w io.Writer) {
		if len(letters) == 0 {
			fmt.Fprintln(w, "there are no dead letters")
			return
		}
		fmt.Fprintln(w, "ID\tJOB\tCLASS\tCODE\tATTEMPTS\tWHEN\tDETAIL")
		for _, d := range letters {
			fmt.Fprintf(w, "%s\t%s/%s\t%s\t%s\t%d\t%s\t%.60s\n", d.ID, d.Video, d.Job, d.Problem.Class,
				d.Problem.Code, d.Attempts, d.CreatedAt.Local().Format(time.DateTime), d.Problem.Detail)
		}
	})
}

type deadShow struct {
	serverFlags
	ID string `arg:"" help:"Of the dead letter."`
}

// Run shows a dead letter.
func (c deadShow) Run(ctx context.Context, s streams) error {
	d, err := c.client().DeadLetter(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, d, func(w io.Writer) {
		p := d.Problem
		fmt.Fprintf(w, "job\t%s/%s\nworker\t%s\nattempts\t%d\nwhen\t%s\ntrace\t%s\nsubject\t%s\n", d.Video, d.Job,
			d.Worker, d.Attempts, d.CreatedAt.Local().Format(time.DateTime), d.TraceID, d.Subject)
		fmt.Fprintf(w, "error\t%s (%s, %s)\n\t%s\nremedy\t%s\n", p.Title, p.Code, p.Class, p.Detail, p.Remedy)
		for line := range strings.Lines(p.Stderr) {
			fmt.Fprintf(w, "stderr\t%s", line)
		}
		fmt.Fprintf(w, "\npayload\t%s\n", d.Payload)
	})
}

type deadRedrive struct {
	serverFlags
	IDs []string `arg:"" optional:"" name:"id" help:"Of the dead letters."`
	All bool     `help:"Every dead letter."`
}

// Run has the jobs of dead letters tried again.
func (c deadRedrive) Run(ctx context.Context, s streams) error {
	return c.each(ctx, c.IDs, c.All, func(id string) error {
		job, err := c.client().Redrive(ctx, id)
		if err != nil {
			return fmt.Errorf("redrive %s: %w", id, err)
		}
		return c.print(s, job, func(w io.Writer) { fmt.Fprintln(w, job.ID, "is", job.Status) })
	})
}

type deadDiscard struct {
	serverFlags
	IDs []string `arg:"" optional:"" name:"id" help:"Of the dead letters."`
	All bool     `help:"Every dead letter."`
}

// Run forgets dead letters.
func (c deadDiscard) Run(ctx context.Context, s streams) error {
	return c.each(ctx, c.IDs, c.All, func(id string) error {
		if err := c.client().Discard(ctx, id); err != nil {
			return fmt.Errorf("discard %s: %w", id, err)
		}
		gone := map[string]any{"id": id, "discarded": true}
		return c.print(s, gone, func(w io.Writer) { fmt.Fprintln(w, id, "is discarded") })
	})
}

// each does something for the dead letters named, or for all.
func (f serverFlags) each(ctx context.Context, ids []string, all bool, do func(id string) error) error {
	if all == (len(ids) > 0) {
		return usageError{fmt.Errorf("name dead letters, or say --all")}
	}
	if all {
		for d, err := range f.client().DeadLetters(ctx) {
			if err != nil {
				return err
			}
			ids = append(ids, d.ID)
		}
	}
	for _, id := range ids {
		if err := do(id); err != nil {
			return err
		}
	}
	return nil
}

// statsCommand prints what happened in a range of time.
type statsCommand struct {
	serverFlags
	Last   time.Duration `help:"How far back." default:"1h"`
	Window time.Duration `help:"Length of a window: 1m or 5m." default:"5m"`
}

// Run prints a line for each window in which something happened, and the whole.
func (c statsCommand) Run(ctx context.Context, s streams) error {
	now := time.Now()
	stats, err := c.client().Stats(ctx, client.StatsOptions{Window: c.Window, From: now.Add(-c.Last), To: now})
	if err != nil {
		return err
	}
	return c.print(s, stats, func(w io.Writer) {
		fmt.Fprintln(w, "WINDOW\tUPLOADED\tREADY\tFAILED\tPLAYABLE P50/P95\tREADY P50/P95\tFAILURES")
		for _, x := range stats.Windows {
			if x.Uploaded+x.Ready+x.Canceled+len(x.Failed)+len(x.FailedAttempts) > 0 {
				printWindow(w, x.Start.Local().Format("15:04:05"), x)
			}
		}
		printWindow(w, "all", stats.Total)
	})
}

func printWindow(w io.Writer, name string, x pipeline.Window) {
	failed := 0
	for _, n := range x.Failed {
		failed += n
	}
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(x.FailedAttempts)) {
		codes = append(codes, fmt.Sprintf("%s %d", code, x.FailedAttempts[code]))
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", name, x.Uploaded, x.Ready, failed,
		quantiles(x.TimeToPlayable), quantiles(x.TimeToReady), strings.Join(codes, ", "))
}

func quantiles(q *pipeline.Quantiles) string {
	if q == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f s / %.1f s", q.P50, q.P95)
}
