package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/outbound"
)

// Config configures downloads. The zero Config is usable, and the strictest.
type Config struct {
	AllowPrivate bool // allows addresses that are not public
	// MinRate is how many bytes a second a server must send on average. Default: 32 KiB.
	MinRate int64
	// Slack is how far behind MinRate a download may fall, as a time. Default: 2 minutes.
	Slack time.Duration
	// Idle is how long a server may send nothing before the connection counts as broken. Default: 60 s.
	Idle time.Duration
	// Keep is where unfinished downloads survive the end of the process. Nil: the next attempt begins anew.
	Keep *Keep
	// Pause is the time before the second of several tries in a row; each further one takes twice as long.
	// Default: 1 s.
	Pause time.Duration
}

func (c Config) withDefaults() Config {
	c.MinRate = cmp.Or(max(c.MinRate, 0), 32<<10)
	c.Slack = cmp.Or(max(c.Slack, 0), 2*time.Minute)
	c.Idle = cmp.Or(max(c.Idle, 0), time.Minute)
	c.Pause = cmp.Or(max(c.Pause, 0), time.Second)
	return c
}

// maxRedirects is how many redirects a download follows; maxURL is how many bytes a URL may have, since
// signed ones are long.
const (
	maxRedirects = 5
	maxURL       = 8 << 10
)

func (c Config) guard() outbound.Guard {
	return outbound.Guard{
		AllowPrivate: c.AllowPrivate, Redirects: maxRedirects, MaxURL: maxURL, Timeout: c.Idle,
	}
}

// CheckURL returns why nothing can be fetched from u, with CodeFetchRefused: see outbound.Guard.CheckURL.
// What a name leads to is checked when it is dialled.
func (c Config) CheckURL(u string) error {
	err := c.guard().CheckURL(u)
	if errors.As(err, new(outbound.RefusedError)) {
		return notPublic()
	}
	if err != nil {
		return pipeline.Fail(pipeline.CodeFetchRefused, "%w", err)
	}
	return nil
}

// notPublic is the error of an address outside the public internet.
func notPublic() error {
	return pipeline.Fail(pipeline.CodeFetchRefused, "the URL leads to an address that is not public; the "+
		"operator can allow such addresses with --fetch-allow-private")
}

// Params is empty: the job's part says what to fetch.
type Params struct{}

// Worker is the worker type "fetch".
type Worker struct {
	config Config // with defaults
	client *http.Client
}

// New returns the worker.
func New(c Config) *Worker {
	c = c.withDefaults()
	return &Worker{config: c, client: c.guard().Client()}
}

// Slots implements workers.Slotter. A download waits for the network most of the time, but its file needs
// room.
func (*Worker) Slots(int) int { return 4 }

// Plan implements workers.Worker. It returns no jobs: the coordinator makes them, not a pipeline.
func (*Worker) Plan(Params, pipeline.Media) ([]pipeline.Job, error) { return nil, nil }

// Work implements workers.Worker: it downloads the source and stores it.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	var from pipeline.Fetch
	if err := json.Unmarshal(job.Task.Job.Part, &from); err != nil {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "part of the job: %w", err)
	}
	if err := w.config.CheckURL(from.URL); err != nil {
		return pipeline.Result{}, err
	}
	kept, err := w.config.Keep.take(job.Task.Video)
	if err != nil {
		return pipeline.Result{}, err
	}
	d := newDownload(w, from, job.Attempt)
	if kept == nil {
		return w.work(ctx, d, filepath.Join(job.Dir, "source"))
	}
	defer kept.release()
	d.kept = kept
	result, err := w.work(ctx, d, kept.path(bytesFile))
	if err == nil || workers.Unwanted(ctx) || final(err) {
		if removed := kept.remove(); removed != nil { // the next download removes them, when they are old
			job.Log.WarnContext(ctx, "remove a download that nobody needs", "error", removed)
		}
	}
	return result, err
}

// work downloads into the file called name, and stores it.
func (w *Worker) work(ctx context.Context, d *download, name string) (pipeline.Result, error) {
	if err := d.to(ctx, name); err != nil {
		return pipeline.Result{}, err
	}
	source, err := d.job.PublishSource(ctx, name, d.filename())
	if err != nil {
		return pipeline.Result{}, err
	}
	return pipeline.Result{Source: &source, Facts: map[string]any{"requests": d.requests}}, nil
}

// final reports whether no later attempt can succeed.
func final(err error) bool {
	e, ok := errors.AsType[*pipeline.Error](err)
	return ok && pipeline.Describe(e.Code).Class != pipeline.Transient
}
