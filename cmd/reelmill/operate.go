package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/pipeline/stats"
)

// serverFlags are the flags of commands that ask a server.
type serverFlags struct {
	Server  webURL      `help:"URL of the server." default:"http://127.0.0.1:8080" env:"REELMILL_SERVER" secret:"address"`
	Key     secret.Text `name:"key" env:"REELMILL_KEY" hidden:"" secret:"value"`
	KeyFile string      `name:"key-file" help:"${key_file_help}" env:"REELMILL_KEY_FILE" placeholder:"FILE"`
	output
}

func (f serverFlags) client() *client.Client { return client.Open(f.clientConfig()) }

func (f serverFlags) clientConfig() client.Config {
	return client.Config{
		URL: string(f.Server), Key: f.Key, HTTP: &http.Client{Transport: dialer{http.DefaultTransport, f.Server}},
		Again: func(err error) bool { // without a server, people want to know at once
			_, none := errors.AsType[*noServerError](err)
			return !none
		},
	}
}

// pageFlags are the flags of lists that may be long.
type pageFlags struct {
	Limit  int    `help:"List at most this many, 1 to 200." default:"50"`
	Cursor string `help:"Continue an earlier list; it printed this cursor."`
}

// maxPage is how many items a page can have.
const maxPage = 200

// Validate is called by kong.
func (f pageFlags) Validate() error {
	if f.Limit < 1 || f.Limit > maxPage {
		return fmt.Errorf("--limit must be 1 to %d, not %d", maxPage, f.Limit)
	}
	return nil
}

// more prints how to list the rest; next is empty when there is none.
func (f pageFlags) more(s streams, next string) {
	if next != "" {
		human.Fprintf(s.err, "There are more: repeat the command with --cursor %s\n", next)
	}
}

// dialer turns a failed connection into a *noServerError.
type dialer struct {
	http.RoundTripper
	server webURL
}

// RoundTrip implements http.RoundTripper.
func (d dialer) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.RoundTripper.RoundTrip(r)
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" {
		err = &noServerError{d.server, err}
	}
	return answer, err
}

// noServerError says that no server answers. The command prints nothing else then.
type noServerError struct {
	server webURL
	err    error
}

// Error names the address and what to do.
func (e *noServerError) Error() string {
	return fmt.Sprintf("no server answers at %s: start one with `reelmill serve`, or name it with --server (%v)",
		e.server, e.err)
}

// Unwrap returns the error of the connection.
func (e *noServerError) Unwrap() error { return e.err }

// webURL is an http or https address. It prints without a user name and password.
type webURL string

// UnmarshalText requires http or https and a host. Its error does not repeat what may be a secret.
func (u *webURL) UnmarshalText(text []byte) error {
	at, err := url.Parse(string(text))
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		place := secret.Place(string(text))
		if place == secret.Hidden {
			place = "the value"
		}
		return fmt.Errorf("%s is not an http(s) address; write one such as https://example.com", place)
	}
	*u = webURL(text)
	return nil
}

// String returns the address without a user name and password.
func (u webURL) String() string { return secret.Redact(string(u)) }

// publicURL is the address at which people reach a server, or empty.
type publicURL string

// UnmarshalText requires what api.CheckPublicURL does, and removes slashes at the end.
func (u *publicURL) UnmarshalText(text []byte) error {
	if len(text) > 0 {
		if err := api.CheckPublicURL(string(text)); err != nil {
			return err
		}
	}
	*u = publicURL(strings.TrimRight(string(text), "/"))
	return nil
}

// jobsCommand groups the commands about jobs.
type jobsCommand struct {
	Retry jobsRetry `cmd:"" help:"Retry an errored job; its video goes on."`
}

type jobsRetry struct {
	serverFlags
	ID string `arg:"" help:"Id of the job: the video's id, a slash, the job's name."`
}

// Validate is called by kong.
func (c jobsRetry) Validate() error {
	if video, job, _ := strings.Cut(c.ID, "/"); video == "" || job == "" {
		return fmt.Errorf("%q is not the id of a job: write the video's id, a slash and the job's name", c.ID)
	}
	return nil
}

// Run retries a job.
func (c jobsRetry) Run(ctx context.Context, s streams) error {
	job, err := c.client().RetryJob(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, job, func(w io.Writer) { human.Fprintln(w, job.ID, "is", job.Status) })
}

// deadCommand groups the commands about dead letters.
type deadCommand struct {
	List    deadList    `cmd:"" help:"List jobs that failed for good, oldest first."`
	Show    deadShow    `cmd:"" help:"Show a dead letter in full."`
	Redrive deadRedrive `cmd:"" help:"Retry the jobs of dead letters."`
	Discard deadDiscard `cmd:"" help:"Delete dead letters; their jobs stay errored."`
	Runs    deadRuns    `cmd:"" help:"Follow, pause and cancel what redrives or discards many dead letters."`
}

type deadList struct {
	serverFlags
	pageFlags
}

// Run lists dead letters.
func (c deadList) Run(ctx context.Context, s streams) error {
	letters, next, err := c.client().DeadLetterPage(ctx, c.Limit, c.Cursor)
	if err != nil {
		return err
	}
	defer c.more(s, next)
	return c.print(s, letters, func(w io.Writer) {
		if len(letters) == 0 {
			human.Fprintln(w, "There are no dead letters.")
			return
		}
		human.Fprintf(w, "ID\tJOB\tCLASS\tCODE\tATTEMPTS\tWHEN\tDETAIL\n")
		for _, d := range letters {
			human.Fprintf(w, "%s\t%s/%s\t%s\t%s\t%d\t%s\t%.60s\n", d.ID, d.Video, d.Job, d.Problem.Class,
				d.Problem.Code, d.Attempts, pipeline.Clock(d.CreatedAt), d.Problem.Detail)
		}
	})
}

type deadShow struct {
	serverFlags
	ID string `arg:"" help:"Id of the dead letter, from reelmill dead list."`
}

// Validate is called by kong.
func (c deadShow) Validate() error { return checkID(c.ID, "a dead letter", "dead_") }

// Run shows a dead letter.
func (c deadShow) Run(ctx context.Context, s streams) error {
	d, err := c.client().DeadLetter(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, d, func(w io.Writer) {
		p := d.Problem
		human.Fprintf(w, "job\t%s/%s\nworker\t%s\nattempts\t%d\nwhen\t%s\ntrace\t%s\nsubject\t%s\n", d.Video, d.Job,
			d.Worker, d.Attempts, pipeline.Clock(d.CreatedAt), d.TraceID, d.Subject)
		human.Fprintf(w, "error\t%s (%s, %s)\n\t%s\nremedy\t%s\n", p.Title, p.Code, p.Class, p.Detail, p.Remedy)
		for line := range strings.Lines(p.Stderr) {
			human.Fprintf(w, "stderr\t%s\n", strings.TrimSuffix(line, "\n"))
		}
		human.Fprintf(w, "\npayload\t%s\n", d.Payload)
	})
}

type deadRedrive struct {
	serverFlags
	letterFlags
	IDs []string `arg:"" optional:"" name:"id" help:"Ids of dead letters, from reelmill dead list."`
	All bool     `help:"All dead letters."`
}

// Run retries the jobs of dead letters.
func (c deadRedrive) Run(ctx context.Context, s streams) error {
	if c.asked() {
		return c.runLetters(ctx, c.serverFlags, s, bulk.Redrive, c.IDs, c.All)
	}
	return c.each(ctx, s, c.IDs, c.All, func(id string) error {
		job, err := c.client().Redrive(ctx, id)
		if err != nil {
			return fmt.Errorf("redrive %s: %w", id, err)
		}
		return c.print(s, job, func(w io.Writer) { human.Fprintln(w, job.ID, "is", job.Status) })
	})
}

type deadDiscard struct {
	serverFlags
	letterFlags
	IDs []string `arg:"" optional:"" name:"id" help:"Ids of dead letters, from reelmill dead list."`
	All bool     `help:"All dead letters."`
}

// Run discards dead letters.
func (c deadDiscard) Run(ctx context.Context, s streams) error {
	if c.asked() {
		return c.runLetters(ctx, c.serverFlags, s, bulk.Discard, c.IDs, c.All)
	}
	return c.each(ctx, s, c.IDs, c.All, func(id string) error {
		if err := c.client().Discard(ctx, id); err != nil {
			return fmt.Errorf("discard %s: %w", id, err)
		}
		gone := map[string]any{"id": id, "discarded": true}
		return c.print(s, gone, func(w io.Writer) { human.Fprintln(w, id, "is discarded") })
	})
}

// each calls do for the dead letters named, or for all. It tells people when there are none.
func (f serverFlags) each(ctx context.Context, s streams, ids []string, all bool, do func(id string) error,
) error {
	switch {
	case all && len(ids) > 0:
		return usageError{errors.New("name dead letters or say --all, not both")}
	case !all && len(ids) == 0:
		return usageError{errors.New("name dead letters, select them by flags such as --type, or say --all")}
	}
	if all {
		for d, err := range f.client().DeadLetters(ctx) {
			if err != nil {
				return err
			}
			ids = append(ids, d.ID)
		}
		if len(ids) == 0 {
			human.Fprintln(s.err, "There are no dead letters.")
		}
	}
	for _, id := range ids {
		if err := do(id); err != nil {
			return err
		}
	}
	return nil
}

// statsCommand prints the statistics of a range of time.
type statsCommand struct {
	serverFlags
	Last   time.Duration `help:"Show this much time up to now, such as 90s, 30m or 24h." default:"1h"`
	Window string        `help:"Length of a window: ${enum}." enum:"1m, 5m" default:"5m"`
}

// Run prints a line for each window in which something happened, and the total.
func (c statsCommand) Run(ctx context.Context, s streams) error {
	window, err := time.ParseDuration(c.Window)
	if err != nil {
		return err
	}
	now := time.Now()
	stats, err := c.client().Stats(ctx, client.StatsOptions{Window: window, From: now.Add(-c.Last), To: now})
	if err != nil {
		return err
	}
	return c.print(s, stats, func(w io.Writer) {
		human.Fprintf(w, "WINDOW\tUPLOADED\tREADY\tFAILED\tPLAYABLE P50/P95\tREADY P50/P95\t"+
			"FAILURES\tFAILED ATTEMPTS\n")
		for _, x := range stats.Windows {
			if x.Uploaded+x.Ready+x.Canceled+len(x.Failed)+len(x.FailedAttempts) > 0 {
				printWindow(w, pipeline.Clock(x.Start), x)
			}
		}
		printWindow(w, "all", stats.Total)
		printObjective(w, stats.Objective)
	})
}

// printObjective says whether videos become playable in time. It prints nothing without an objective.
func printObjective(w io.Writer, o *stats.Objective) {
	if o == nil {
		return
	}
	verdict := "met"
	if !o.Met {
		verdict = "MISSED"
	}
	human.Fprintf(w, "\nobjective: 95 %% playable within %s: %s (%d of %d were; %d more are late now)\n",
		time.Duration(o.Seconds*float64(time.Second)), verdict, o.Within, o.Playable, o.Late)
}

func printWindow(w io.Writer, name string, x stats.Window) {
	failed := 0
	for _, n := range x.Failed {
		failed += n
	}
	human.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", name, x.Uploaded, x.Ready, failed,
		quantiles(x.TimeToPlayable), quantiles(x.TimeToReady), byCode(x.Failed), byCode(x.FailedAttempts))
}

// byCode lists the number of failures of each code.
func byCode(failures map[string]int) string {
	if len(failures) == 0 {
		return "-"
	}
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(failures)) {
		codes = append(codes, fmt.Sprintf("%s %d", code, failures[code]))
	}
	return strings.Join(codes, ", ")
}

func quantiles(q *stats.Quantiles) string {
	if q == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f s / %.1f s", q.P50, q.P95)
}
