package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
)

// Catalog is the read model as the API uses it; catalog.Catalog is one. An unknown video, also one of another
// project, is pipeline.ErrNotFound.
type Catalog interface {
	Video(ctx context.Context, project, id string) (pipeline.VideoView, error)
	Videos(ctx context.Context, q catalog.Query) (catalog.Page[pipeline.VideoView], error)
	Jobs(ctx context.Context, project, video string) ([]pipeline.JobView, error)
	Outputs(ctx context.Context, project, video string) ([]pipeline.OutputView, error)
	// Events returns the events of a video above the sequence after, in the order of the log, limit of them at
	// most.
	Events(ctx context.Context, project, video string, after uint64, limit int) ([]pipeline.Event, error)
	// Resolve returns the object that is played at path below a video.
	Resolve(ctx context.Context, video, path string) (pipeline.Object, error)
	// Played returns a video and, if it is playable, the outputs of its completed jobs, each as its job
	// published it, in the order of the jobs' names.
	Played(ctx context.Context, video string) (pipeline.VideoView, []pipeline.Output, error)
	// WaitFor returns nil once reads see the event of sequence seq.
	WaitFor(ctx context.Context, seq uint64) error
	// Changed returns a channel that is closed at the next change; ask before reading.
	Changed() <-chan struct{}
}

// Progress tells how far running jobs are; bus.Bus is one.
type Progress interface {
	// WatchProgress returns the reports on the jobs of a video from now on, until ctx ends.
	WatchProgress(ctx context.Context, project, video string) (<-chan pipeline.Progress, error)
	// LastProgress returns the last report on a job, and whether there is one.
	LastProgress(ctx context.Context, project, video, job string) (pipeline.Progress, bool, error)
}

// Queue tells how far the job of a task is from a worker; bus.Bus is one.
type Queue interface {
	Place(ctx context.Context, t pipeline.Task) (pipeline.Place, error)
}

// DeadLetters keeps the tasks that nobody will try again by itself; bus.Bus is one. A missing, foreign or
// malformed id is pipeline.ErrNotFound.
type DeadLetters interface {
	// DeadLetters returns the letters of a project, limit of them at most, those after a cursor that it
	// returned before; the cursor that it returns is empty on the last page.
	DeadLetters(ctx context.Context, project, after string, limit int) ([]pipeline.DeadLetter, string, error)
	DeadLetterByID(ctx context.Context, project, id string) (pipeline.DeadLetter, error)
	Discard(ctx context.Context, project, id string) error
}

// Statistics counts what happened; catalog.Catalog is one. A range that it does not count is
// catalog.ErrRange.
type Statistics interface {
	Stats(ctx context.Context, q catalog.StatsQuery) (stats.Stats, error)
}

// Backlog counts the videos that have not ended; catalog.Catalog is one.
type Backlog interface {
	Backlog(ctx context.Context, project string) (ofProject, total int, err error)
}

// Config is what the API is made of. Store, Log, Catalog and Planner are required.
type Config struct {
	Store   storage.Store
	Log     pipeline.Log
	Catalog Catalog
	// Planner knows what uploads may send for steps, and checks it.
	Planner pipeline.Planner
	// Progress may be nil: then progress moves when a job is completed, and streams have no job.progress.
	Progress Progress
	// Queue may be nil: then nobody is told the place of a job in its queue.
	Queue Queue
	// DeadLetters may be nil: then there are no routes to them.
	DeadLetters DeadLetters
	// Backlog may be nil: then any number of videos may be under way.
	Backlog Backlog
	// Stats may be nil: then there is no route to statistics.
	Stats Statistics
	// Workers tells the worker types that are there, and in how many processes; not known when nil.
	Workers func(ctx context.Context) (map[string]int, error)
	// Pipelines are the pipelines by name; pipeline.Default alone when empty.
	Pipelines map[string]pipeline.Pipeline
	Limits    Limits

	// WebhookDefault says that the server has a webhook address of its own, which is told of every video.
	WebhookDefault bool
	// CheckWebhookURL says why an upload's webhook address is refused; when nil, any http(s) address is fine.
	CheckWebhookURL func(address string) error
	// Ready answers the checks of /readyz by name, nil for those that are well; no check when nil.
	Ready func(ctx context.Context) map[string]error
	// FreeSpace says why there is no room for an upload; not asked when nil.
	FreeSpace func() error
	// LogRoom says why the event log has no room for an upload, as a *pipeline.Error; not asked when nil.
	LogRoom func(ctx context.Context) error
	// Stopping says that the process is about to end: uploads are refused, while those under way go on. A
	// server by Server knows by itself that it is shut down; not asked when nil.
	Stopping func() bool
	// Project says whose request it is; pipeline.DefaultProject when nil. Its error refuses the request: a
	// pipeline.ErrNotFound with 404, any other with 401.
	Project func(r *http.Request) (string, error)
	// Logger gets requests at debug level, and errors that are the server's; slog.Default when nil.
	Logger *slog.Logger
	// PublicURL is where users reach the server, as https://video.example.com, perhaps with a path; see
	// CheckPublicURL. The Location of a new video, the URLs of videos and outputs, and the OpenAPI document
	// begin with it. Empty: they are paths, and no answer names a host. The Host header of a request is never
	// used: it is the client's to choose.
	PublicURL string
	// Version is the program's, for the OpenAPI document; "dev" when empty.
	Version string
}

// Limits bound what one request may cost. A zero is the default.
type Limits struct {
	MaxUpload      int64         // bytes of a source; 10 GiB
	MaxAsset       int64         // bytes of a file for a step, such as a watermark; 10 MiB
	MaxMetadata    int64         // bytes of the metadata field; 64 KiB
	MaxOpenUploads int           // at once; 64. More get 503
	MaxStreams     int           // event streams at once; 256. More get 503
	UploadIdle     time.Duration // an upload without a byte for so long is given up; 60 s
	WriteIdle      time.Duration // an answer of which the client takes no byte for so long is given up; 60 s
	Heartbeat      time.Duration // of a silent event stream; 15 s
	ReadYourWrites time.Duration // wait for the catalog after a write; 2 s

	// Videos that have not ended, with a Backlog. Uploads under way are not counted, so there may be
	// MaxOpenUploads more.
	MaxProjectVideos int // of one project; 10,000. Further uploads get 429
	MaxVideos        int // of all projects; 100,000. Further uploads get 503
}

func (c Config) withDefaults() Config {
	if len(c.Pipelines) == 0 {
		c.Pipelines = map[string]pipeline.Pipeline{pipeline.DefaultPipeline: pipeline.Default()}
	}
	if c.CheckWebhookURL == nil {
		c.CheckWebhookURL = func(string) error { return nil }
	}
	if c.Ready == nil {
		c.Ready = func(context.Context) map[string]error { return nil }
	}
	if c.FreeSpace == nil {
		c.FreeSpace = func() error { return nil }
	}
	if c.LogRoom == nil {
		c.LogRoom = func(context.Context) error { return nil }
	}
	if c.Stopping == nil {
		c.Stopping = func() bool { return false }
	}
	if c.Project == nil {
		c.Project = func(*http.Request) (string, error) { return pipeline.DefaultProject, nil }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	c.Limits = c.Limits.withDefaults()
	return c
}

func (l Limits) withDefaults() Limits {
	l.MaxUpload = defaulted(l.MaxUpload, 10<<30)
	l.MaxAsset = defaulted(l.MaxAsset, 10<<20)
	l.MaxMetadata = defaulted(l.MaxMetadata, 64<<10)
	l.MaxOpenUploads = defaulted(l.MaxOpenUploads, 64)
	l.MaxStreams = defaulted(l.MaxStreams, 256)
	l.UploadIdle = defaulted(l.UploadIdle, 60*time.Second)
	l.WriteIdle = defaulted(l.WriteIdle, 60*time.Second)
	l.Heartbeat = defaulted(l.Heartbeat, 15*time.Second)
	l.ReadYourWrites = defaulted(l.ReadYourWrites, 2*time.Second)
	l.MaxProjectVideos = defaulted(l.MaxProjectVideos, 10_000)
	l.MaxVideos = defaulted(l.MaxVideos, 100_000)
	return l
}

// defaulted returns v, or otherwise when v is zero.
func defaulted[T int | int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

func (c Config) validate() error {
	switch {
	case c.Store == nil:
		return errors.New("Store is missing")
	case c.Log == nil:
		return errors.New("Log is missing")
	case c.Catalog == nil:
		return errors.New("Catalog is missing")
	case c.Planner == nil:
		return errors.New("Planner is missing")
	}
	if c.PublicURL != "" {
		if err := CheckPublicURL(c.PublicURL); err != nil {
			return fmt.Errorf("PublicURL: %w", err)
		}
	}
	for name, p := range c.Pipelines {
		if name != p.Name {
			return fmt.Errorf("Pipelines[%q] is called %q", name, p.Name)
		}
	}
	for _, worker := range stepFields(c.Planner.Traits()) {
		if slices.Contains(fields(), worker) {
			return fmt.Errorf("worker type %q takes a field of the upload, but every upload has a field of that name",
				worker)
		}
	}
	return c.Limits.validate()
}

// CheckPublicURL says why an address cannot be Config.PublicURL. Paths are written behind it, so it is an
// http or https address with a host, without user, query and fragment, in printable ASCII. It may have a path
// and slashes at its end.
func CheckPublicURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || !isWeb(u):
		return fmt.Errorf("%q is not an http(s) address, such as https://video.example.com", address)
	case u.User != nil, strings.ContainsAny(address, "?#"),
		strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%q has more than scheme, host, port and path in ASCII; write it as "+
			"https://video.example.com", u.Redacted())
	}
	return nil
}

func isWeb(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

func (l Limits) validate() error {
	if l.MaxUpload < 0 || l.MaxAsset < 0 || l.MaxMetadata < 0 || l.MaxOpenUploads < 0 || l.MaxStreams < 0 ||
		l.UploadIdle < 0 || l.WriteIdle < 0 || l.Heartbeat < 0 || l.ReadYourWrites < 0 ||
		l.MaxProjectVideos < 0 || l.MaxVideos < 0 {
		return errors.New("a limit is negative")
	}
	return nil
}
