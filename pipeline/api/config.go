package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/playback"
	"github.com/reelmill/reelmill/pipeline/quota"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/pipeline/webhooks"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
)

// Catalog is the read model; catalog.Catalog is one. For an unknown video, or one of another project, its
// methods return pipeline.ErrNotFound.
type Catalog interface {
	// Expiring returns what rules would delete of a project: videos that ended at videos or before, and sources
	// of the others that ended at sources or before. The zero time: none.
	Expiring(ctx context.Context, project string, videos, sources time.Time) (catalog.Expiring, error)
	// Video returns one video.
	Video(ctx context.Context, project, id string) (pipeline.VideoView, error)
	// Videos returns a page of the videos that q selects. A cursor that it did not return for q is
	// catalog.ErrCursor.
	Videos(ctx context.Context, q catalog.Query) (catalog.Page[pipeline.VideoView], error)
	// Counts returns how many videos q selects in each status, whatever its Statuses say.
	Counts(ctx context.Context, q catalog.Query) (map[pipeline.VideoState]int, error)
	// Jobs returns the jobs of a video in the order of their creation, those of the plan in its order; none
	// before a worker has touched the video.
	Jobs(ctx context.Context, project, video string) ([]pipeline.JobView, error)
	// Outputs returns the outputs of a video's completed jobs in the order of their completion.
	Outputs(ctx context.Context, project, video string) ([]pipeline.OutputView, error)
	// Events returns at most limit events of a video that come after the sequence after, in the order of the
	// log.
	Events(ctx context.Context, project, video string, after uint64, limit int) ([]pipeline.Event, error)
	// History returns the events that q selects, in the order of the log. An unknown video has none.
	History(ctx context.Context, q catalog.EventQuery) ([]pipeline.Event, error)
	// Sequence returns the sequence up to which the read model has the log.
	Sequence(ctx context.Context) (uint64, error)
	// Resolve returns the object that a video plays at path.
	Resolve(ctx context.Context, video, path string) (pipeline.Object, error)
	// Playback returns whose a video is, and who may play it.
	Playback(ctx context.Context, video string) (project string, policy pipeline.PlaybackPolicy, err error)
	// Played returns a video and, if it is playable, the outputs of its completed jobs as they were published,
	// in the order of the jobs' names.
	Played(ctx context.Context, video string) (pipeline.VideoView, []pipeline.Output, error)
	// WaitFor returns nil once the catalog has the event of sequence seq.
	WaitFor(ctx context.Context, seq uint64) error
	// Changed returns a channel that is closed at the next change. Call it before reading, so that no change
	// is missed.
	Changed() <-chan struct{}
}

// Progress reports how far running jobs are; bus.Bus is one.
type Progress interface {
	// WatchProgress returns the reports on all jobs, with their projects, from now until ctx ends.
	WatchProgress(ctx context.Context) (<-chan pipeline.Progress, error)
	// LastProgress returns the last report on a job, and whether there is one.
	LastProgress(ctx context.Context, project, video, job string) (pipeline.Progress, bool, error)
}

// Queue reports the place of a task in its queue; bus.Bus is one.
type Queue interface {
	// Place returns where t's job is. t has the worker type and priority of the job's task, and any cause. A
	// job that has neither a task nor a retry has the zero Place.
	Place(ctx context.Context, t pipeline.Task) (pipeline.Place, error)
}

// DeadLetters holds the tasks that are not tried again without a request; bus.Bus is one. For an id that is
// missing, malformed or of another project, its methods return pipeline.ErrNotFound.
type DeadLetters interface {
	// DeadLetters returns at most limit letters of a project that come after a cursor, and the cursor of the
	// next page, which is empty after the last.
	DeadLetters(ctx context.Context, project, after string, limit int) ([]pipeline.DeadLetter, string, error)
	// DeadLetterByID returns one letter.
	DeadLetterByID(ctx context.Context, project, id string) (pipeline.DeadLetter, error)
	// Discard removes one letter.
	Discard(ctx context.Context, project, id string) error
}

// Statistics counts what happened; catalog.Catalog is one. For a range that it cannot count, it returns
// catalog.ErrRange.
type Statistics interface {
	// Stats counts what q selects.
	Stats(ctx context.Context, q catalog.StatsQuery) (stats.Stats, error)
}

// Backlog counts the videos that have not ended; catalog.Catalog is one.
type Backlog interface {
	// Backlog returns how many there are of a project, and of all projects.
	Backlog(ctx context.Context, project string) (ofProject, total int, err error)
}

// Stills makes still images of renditions, outside of this process; thumbnail.Stills is one.
type Stills interface {
	// Still makes an image and returns its bytes. storage.ErrNotFound: an object is no longer there.
	Still(ctx context.Context, s pipeline.Still) ([]byte, error)
}

// Config holds what the API works with. Store, Log, Catalog and Planner are required.
type Config struct {
	Store   storage.Store
	Log     pipeline.Log
	Catalog Catalog
	// Planner knows what uploads may send for steps, and checks it.
	Planner pipeline.Planner
	// Progress may be nil: then progress moves only when a job completes, and streams have no job.progress.
	Progress Progress
	// Queue may be nil: then answers do not say the place of a job in its queue.
	Queue Queue
	// Queues may be nil: then there are no routes for queues and worker types.
	Queues Queues
	// Paces may be nil: then answers do not say how long a task waits.
	Paces Paces
	// DeadLetters may be nil: then there are no routes for dead letters.
	DeadLetters DeadLetters
	// Bulk may be nil: then there are no routes for many dead letters at once.
	Bulk *bulk.Desk
	// Webhooks may be nil: then there are no routes for webhook endpoints.
	Webhooks *webhooks.Desk
	// Stills may be nil: then there are no thumbnails but the poster.
	Stills Stills
	// Playback may be nil: then nobody can play a signed video.
	Playback *playback.Judge
	// Backlog may be nil: then any number of videos may be under way.
	Backlog Backlog
	// Quotas may be nil: then projects have no limits, and there is no route for their usage.
	Quotas *quota.Keeper
	// Stats may be nil: then there is no route for statistics.
	Stats Statistics
	// Workers returns how many processes run each worker type. May be nil: then that is unknown.
	Workers func(ctx context.Context) (map[string]int, error)
	// Pipelines are the pipelines by name; only pipeline.Default when empty.
	Pipelines map[string]pipeline.Pipeline
	Limits    Limits
	// Access says by which names people reach the server, and which web pages may use it.
	Access

	// WebhookDefault says that the server has a webhook address of its own, to which it sends webhooks of every
	// video.
	WebhookDefault bool
	// CheckWebhookURL returns why an upload's webhook address is refused. When nil, any http(s) address is
	// allowed.
	CheckWebhookURL func(address string) error
	// CheckFetchURL returns why no source can be fetched from an address, with pipeline.CodeFetchRefused. When
	// nil, any address is allowed.
	CheckFetchURL func(address string) error
	// Ready returns the results of the checks of /readyz by name, nil for those that pass. When nil, there is
	// no check.
	Ready func(ctx context.Context) map[string]error
	// LogEnd returns the sequence of the last event of the log, beyond which no cursor of a stream can be. When
	// nil, the sequence of the read model counts.
	LogEnd func(ctx context.Context) (uint64, error)
	// Sandbox is the tier of the sandbox, for /readyz. Empty: /readyz does not say.
	Sandbox string
	// FreeSpace returns why there is no room for an upload. When nil, there is always room.
	FreeSpace func() error
	// LogRoom returns why the event log has no room for an upload, as a *pipeline.Error. When nil, there is
	// always room.
	LogRoom func(ctx context.Context) error
	// Stopping reports whether the process is about to end. New uploads are refused then; those under way go
	// on. May be nil: a server made by Server notices its own shutdown.
	Stopping func() bool
	// Retention returns the rules of a project as far as this process has heard. Nil: there are none.
	Retention func(project string) pipeline.Retention
	// RetentionDay is the day of these rules; pipeline.Day when 0.
	RetentionDay time.Duration
	// Jumped returns how far the clock has been set forward since the process began, which makes uploads seem
	// older than they are. Nil: never.
	Jumped func() time.Duration
	// Project returns the project of a request; pipeline.DefaultProject when nil. Its error refuses the
	// request: pipeline.ErrNotFound with 404, any other with 401.
	Project func(r *http.Request) (string, error)
	// Keys judges credentials. Nil: there are none, no route for keys and projects, and everybody may do
	// everything.
	Keys Keys
	// Tokens makes and opens tokens for browsers. Nil: there are none, and no routes that make them.
	Tokens *access.Tokens
	// Uses notes when keys are used, and tells. Nil: nobody knows.
	Uses *access.Uses
	// CredentialsRequired reports whether requests to /v1 need a credential now. Nil: they do not.
	CredentialsRequired func(ctx context.Context) (bool, error)
	// Logger gets requests at debug level, and errors that are the server's; nothing is logged when nil.
	Logger *slog.Logger
	// PublicURL is where users reach the server, such as https://video.example.com, perhaps with a path; see
	// CheckPublicURL. The Location of a new video, the URLs of videos and outputs, and the OpenAPI document
	// begin with it. When empty, they are paths, and no answer names a host. The Host header of a request is
	// never used, since any client can set it.
	PublicURL string
	// Version is the program's, for the OpenAPI document; "dev" when empty.
	Version string
}

// Limits bound what requests may cost. A field that is zero has its default.
type Limits struct {
	MaxUpload      int64         // bytes of a source; 10 GiB
	MaxAsset       int64         // bytes of a file for a step, such as a watermark; 10 MiB
	MaxMetadata    int64         // bytes of the metadata field; 64 KiB
	MaxOpenUploads int           // at once; 64. More get 503
	MaxStreams     int           // event streams, WebSockets and waiting reads at once; 10,000. More get 503
	StreamBuffer   int           // events that a stream may be behind; live.DefaultBuffer. Then it is cut off
	UploadIdle     time.Duration // how long an upload may stall; 60 s
	MinUploadRate  int64         // bytes a second that an upload must keep up (package pace); 1,024
	UploadSlack    time.Duration // how long it may be slower; twice UploadIdle
	WriteIdle      time.Duration // how long a client may take no byte of an answer; 60 s
	Heartbeat      time.Duration // of a silent event stream; 15 s
	ReadYourWrites time.Duration // wait for the catalog after a write; 2 s
	UploadExpires  time.Duration // how long an upload waits for its next byte; 24 h
	// MaxWaitingUploads limits the uploads that have not ended, whether bytes come or not; 10,000. More get 503.
	MaxWaitingUploads int

	// Stills limits the thumbnails that are made at once; half the cores, and at least 1. MaxStills limits those
	// that are made or wait for it; 16. More get 503.
	Stills, MaxStills int

	// These are for each client (guard.clientOf). Further requests get 429.
	MaxClientUploads int // at once; three quarters of MaxOpenUploads
	MaxClientStreams int // at once; three quarters of MaxStreams
	MaxClientRate    int // requests a second, and twice as many at once; 1,000
	MaxClientStills  int // thumbnails that it waits for; twice MaxStills

	// These limit the videos that have not ended, when there is a Backlog. Uploads under way are not counted,
	// so there may be MaxOpenUploads more.
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
	if c.CheckFetchURL == nil {
		c.CheckFetchURL = func(string) error { return nil }
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
	if c.RetentionDay == 0 {
		c.RetentionDay = pipeline.Day
	}
	if c.Jumped == nil {
		c.Jumped = func() time.Duration { return 0 }
	}
	if c.Project == nil {
		c.Project = func(*http.Request) (string, error) { return pipeline.DefaultProject, nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
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
	l.MaxStreams = defaulted(l.MaxStreams, 10_000)
	l.UploadIdle = defaulted(l.UploadIdle, 60*time.Second)
	l.MinUploadRate = defaulted(l.MinUploadRate, 1<<10)
	l.UploadSlack = defaulted(l.UploadSlack, 2*l.UploadIdle)
	l.MaxClientUploads = defaulted(l.MaxClientUploads, Share(l.MaxOpenUploads))
	l.MaxClientStreams = defaulted(l.MaxClientStreams, Share(l.MaxStreams))
	l.MaxClientRate = defaulted(l.MaxClientRate, 1000)
	l.WriteIdle = defaulted(l.WriteIdle, 60*time.Second)
	l.Heartbeat = defaulted(l.Heartbeat, 15*time.Second)
	l.ReadYourWrites = defaulted(l.ReadYourWrites, 2*time.Second)
	l.UploadExpires = defaulted(l.UploadExpires, 24*time.Hour)
	l.MaxWaitingUploads = defaulted(l.MaxWaitingUploads, 10_000)
	l.Stills = defaulted(l.Stills, max(1, runtime.NumCPU()/2))
	l.MaxStills = defaulted(l.MaxStills, 16)
	l.MaxClientStills = defaulted(l.MaxClientStills, 2*l.MaxStills)
	l.MaxProjectVideos = defaulted(l.MaxProjectVideos, 10_000)
	l.MaxVideos = defaulted(l.MaxVideos, 100_000)
	return l
}

// defaulted returns v, or the default when v is zero.
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

// CheckPublicURL returns why an address cannot be Config.PublicURL, or nil. Paths are appended to it, so it
// must be an http or https address with a host, in printable ASCII, without user, query and fragment. It may
// have a path, and may end in slashes.
func CheckPublicURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || !isWeb(u):
		return fmt.Errorf("%q is not an http(s) address, such as https://video.example.com", secret.Redact(address))
	case u.User != nil, strings.ContainsAny(address, "?#"),
		strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%q may have a scheme, host, port and path in ASCII and nothing else; write it like "+
			"https://video.example.com", secret.Redact(address))
	}
	return nil
}

func isWeb(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

func (l Limits) validate() error {
	if l.MaxUpload < 0 || l.MaxAsset < 0 || l.MaxMetadata < 0 || l.MaxOpenUploads < 0 || l.MaxStreams < 0 ||
		l.StreamBuffer < 0 ||
		l.UploadIdle < 0 || l.WriteIdle < 0 || l.Heartbeat < 0 || l.ReadYourWrites < 0 ||
		l.MaxProjectVideos < 0 || l.MaxVideos < 0 || l.MinUploadRate < 0 || l.UploadSlack < 0 ||
		l.UploadExpires < 0 || l.MaxWaitingUploads < 0 ||
		l.Stills < 0 || l.MaxStills < 0 || l.MaxClientStills < 0 ||
		l.MaxClientUploads < 0 || l.MaxClientStreams < 0 || l.MaxClientRate < 0 {
		return errors.New("a limit is negative")
	}
	return nil
}
