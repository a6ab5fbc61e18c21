package node

import (
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/workers/webhook"
)

// Config says what every node stands on.
type Config struct {
	// Data is the folder of everything that the node keeps. It is made when it is absent.
	Data string
	// NATS is the address of the broker. Empty: a broker embedded in the process, in a folder below Data.
	NATS string
	// Replicas is how many copies a cluster keeps of each message. 0: as many as the streams have.
	Replicas int
	// EventsMax is how many bytes the event log may have. 0: as many as it has.
	EventsMax int64
	// Store is where objects are kept: a folder, or s3://... Empty: a folder below Data.
	Store                    string
	S3AccessKey, S3SecretKey string
	// MinFree is how many bytes of the data disk uploads leave free. 0: a tenth, 2 to 20 GiB.
	MinFree int64
	// MetricsListen is an address for metrics alone. Empty: none.
	MetricsListen string
	// Version is that of the program.
	Version string
	Tuning
	// Logger gets what the node does and fails at. Nil: nothing is logged.
	Logger *slog.Logger
}

// Tuning are times that tests and harnesses shorten. Zero means the default of whoever has it.
type Tuning struct {
	Lease      time.Duration // of a task
	SweepEvery time.Duration // between rounds of the sweeper
	SweepAge   time.Duration // of the videos that it looks at
}

// Jobs says how a node runs jobs.
type Jobs struct {
	// Slots is how many jobs run at once, by worker type. Default: half the cores each.
	Slots map[string]int
	// Threads of each encoder. 0: the encoders' own default.
	Threads int
	Webhook webhook.Config
}

// ServerConfig says what a Server does.
type ServerConfig struct {
	Config
	Jobs
	// RunJobs has the server run jobs too. Without it other processes have to.
	RunJobs bool
	Limits  api.Limits
	// Pipelines returns the pipelines by name, checked by the planner.
	Pipelines func(pipeline.Planner) (map[string]pipeline.Pipeline, error)
	// PublicURL is where people reach the server; the URLs in answers and webhooks begin with it. Empty: they
	// are paths.
	PublicURL string
}

// WorkerConfig says what a Worker does.
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

// StoreFolder returns the folder that objects are kept in; empty for a bucket.
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
