package node

import (
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access/oidc"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/mail"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers/fetch"
	"github.com/reelmill/reelmill/workers/webhook"
)

// Config configures what every node needs.
type Config struct {
	// Data is the folder for everything that the node keeps. The node makes it if it is missing.
	Data string
	// NATS is the address of the broker. The zero Address: a broker embedded in the process, in a folder below
	// Data.
	NATS broker.Address
	// Replicas is how many copies a cluster keeps of each message. 0: as many as the streams have.
	Replicas int
	// EventsMax is how many bytes the event log may have. 0: as many as it has.
	EventsMax int64
	// Store is where objects are kept: a folder, or s3://... Empty: a folder below Data.
	Store                    string
	S3AccessKey, S3SecretKey secret.Text
	// MinFree is how many bytes of the data disk uploads leave free. 0: a tenth, 2 to 20 GiB.
	MinFree int64
	// MetricsListen is an address for metrics alone. Empty: none.
	MetricsListen string
	// Access says by which names people, programs and web pages may reach the node.
	Access api.Access
	// Version is that of the program.
	Version string
	Tuning
	// Logger logs what the node does and what fails. Nil: nothing.
	Logger *slog.Logger
}

// Tuning holds times that tests shorten. Zero means the default.
type Tuning struct {
	Lease      time.Duration // of a task
	SweepEvery time.Duration // between rounds of the sweeper
	SweepAge   time.Duration // how long a video stands still before the sweeper looks at it
	CleanEvery time.Duration // between rounds of the janitor; an hour
	// RetentionDay is the day of the rules of retention.
	RetentionDay time.Duration
}

// Jobs configures how a node runs jobs.
type Jobs struct {
	// Slots is how many jobs run at once, by worker type. Default: half the cores each.
	Slots map[string]int
	// Threads of each encoder. 0: the encoders' own default.
	Threads int
	// Sandbox says whether ffmpeg must run in a cage: required, best-effort or off. Empty: off.
	Sandbox string
	Webhook webhook.Config
	Fetch   fetch.Config
}

// ServerConfig configures a Server.
type ServerConfig struct {
	Config
	Jobs
	// RunJobs makes the server run jobs too. Otherwise other processes must.
	RunJobs bool
	Limits  api.Limits
	// Pipelines returns the pipelines by name, checked by the planner.
	Pipelines func(pipeline.Planner) (map[string]pipeline.Pipeline, error)
	// Mail says how messages to e-mail endpoints are sent. Without a Server: none are.
	Mail mail.Config
	// OIDC says whose JSON Web Tokens count. Without an Issuer: nobody's.
	OIDC oidc.Config
	// Auth says when requests need a credential. The zero Auth: never.
	Auth Auth
	// PlayableObjective is within which time of its upload a video should be playable. 0: there is none.
	PlayableObjective time.Duration
	// Certificate is that of the listener. Nil: connections are not encrypted.
	Certificate *Certificate
	// PublicURL is where people reach the server. URLs in answers and webhooks begin with it. Empty: they are
	// paths.
	PublicURL string
}

// WorkerConfig configures a Worker.
type WorkerConfig struct {
	Config
	Jobs
}

// withDefaults returns the configuration with a logger.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// CatalogPath returns the file of the read model.
func (c Config) CatalogPath() string { return filepath.Join(c.Data, "catalog.db") }

// StoreFolder returns the folder of the objects; empty for a bucket.
func (c Config) StoreFolder() string {
	switch {
	case c.Store == "":
		return filepath.Join(c.Data, "objects")
	case strings.Contains(c.Store, "://") || strings.HasPrefix(c.Store, "s3:"):
		return ""
	}
	return c.Store
}

// SettingError says which setting is wrong, and how to write it.
type SettingError struct{ error }

// Unwrap returns what is wrong.
func (e SettingError) Unwrap() error { return e.error }
