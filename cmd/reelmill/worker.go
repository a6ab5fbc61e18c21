package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers/fetch"
	"github.com/reelmill/reelmill/workers/webhook"
)

// tuning holds times that tests shorten. Zero means the default.
type tuning struct {
	Lease        time.Duration `help:"Lease of a task." hidden:"" env:"REELMILL_LEASE"`
	SweepEvery   time.Duration `help:"Time between rounds of the sweeper." hidden:"" env:"REELMILL_SWEEP_EVERY"`
	SweepAge     time.Duration `help:"How long a video stands still before the sweeper looks at it." hidden:"" env:"REELMILL_SWEEP_AGE"`
	CleanEvery   time.Duration `help:"Time between rounds of the janitor." hidden:"" env:"REELMILL_CLEAN_EVERY"`
	RetentionDay time.Duration `help:"How long a day of a rule of retention is." hidden:"" env:"REELMILL_RETENTION_DAY"`
}

// workFlags are the flags of commands that run jobs.
type workFlags struct {
	Slots   slots   `help:"${slots_help}" env:"REELMILL_SLOTS"`
	Threads threads `help:"${threads_help}" default:"0" env:"REELMILL_THREADS"`
	Sandbox string  `help:"${sandbox_help}" default:"${sandbox}" enum:"required,best-effort,off" env:"REELMILL_SANDBOX"`

	WebhookURL          webURL      `help:"${webhook_url_help}" env:"REELMILL_WEBHOOK_URL" placeholder:"URL" secret:"address"`
	WebhookURLFile      string      `name:"webhook-url-file" help:"${webhook_url_file_help}" env:"REELMILL_WEBHOOK_URL_FILE" placeholder:"FILE"`
	WebhookSecret       secret.Text `env:"REELMILL_WEBHOOK_SECRET" hidden:"" secret:"value"`
	WebhookSecretFile   string      `help:"${webhook_secret_help}" env:"REELMILL_WEBHOOK_SECRET_FILE" placeholder:"FILE"`
	WebhookAllowPrivate bool        `help:"${webhook_private_help}" env:"REELMILL_WEBHOOK_ALLOW_PRIVATE"`
	FetchAllowPrivate   bool        `help:"${fetch_private_help}" env:"REELMILL_FETCH_ALLOW_PRIVATE"`
	MetricsListen       string      `help:"${metrics_help}" env:"REELMILL_METRICS_LISTEN" placeholder:"ADDRESS"`
	AllowHost           []string    `help:"${allow_host_help}" env:"REELMILL_ALLOW_HOST" placeholder:"NAME"`
	tuning
}

// slots is how many jobs may run at once, by worker type.
type slots map[string]int

// Decode implements kong.MapperValue. Values of a configuration file have the same form (flagValue).
func (s *slots) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("slots")
	if err != nil {
		return err
	}
	if *s == nil {
		*s = slots{}
	}
	for pair := range strings.SplitSeq(fmt.Sprint(token.Value), ";") {
		if pair == "" {
			continue
		}
		worker, number, _ := strings.Cut(pair, "=")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a worker type and a number; write 'transcode=2;audio=1', in quotes", pair)
		}
		(*s)[worker] = n
	}
	return nil
}

// checkAlone refuses a worker type with 0 slots, for a process that no other runs jobs for.
func (s slots) checkAlone() error {
	for _, worker := range slices.Sorted(maps.Keys(s)) {
		if s[worker] == 0 {
			return fmt.Errorf("--slots: %s=0: its jobs would wait for ever, since no other process runs them; write "+
				"1 or more", worker)
		}
	}
	return nil
}

// threads is how many threads an encoder has; 0 means the default.
type threads int

// maxThreads is as many as x264 and x265 can use.
const maxThreads = 64

// Decode implements kong.MapperValue, also for numbers in a configuration file.
func (n *threads) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("threads")
	if err != nil {
		return err
	}
	text := fmt.Sprint(token.Value)
	i, err := strconv.Atoi(text)
	if err != nil || i < 0 || i > maxThreads {
		return fmt.Errorf("%q is not a number of threads; write 1 to %d, or 0 for the default", text, maxThreads)
	}
	*n = threads(i)
	return nil
}

// jobs turns the flags into the configuration of jobs.
func (f workFlags) jobs(signing secret.Text) node.Jobs {
	return node.Jobs{Slots: f.Slots, Threads: int(f.Threads), Sandbox: f.Sandbox, Webhook: webhook.Config{
		URL: secret.New(string(f.WebhookURL)), Secret: signing, AllowPrivate: f.WebhookAllowPrivate,
	}, Fetch: fetch.Config{AllowPrivate: f.FetchAllowPrivate}}
}

// workerCommand runs jobs for a server elsewhere.
type workerCommand struct {
	dataFlags
	workFlags
}

// Validate is called by kong.
func (c workerCommand) Validate() error {
	if err := c.validateHosts(); err != nil {
		return err
	}
	return c.dataFlags.Validate()
}

// Run runs jobs until ctx ends. It prints a ready line first.
func (c workerCommand) Run(ctx context.Context, s streams, log *slog.Logger) (err error) {
	if c.NATS.Empty() || c.Store == "" {
		return usageError{errors.New("a worker needs --nats and --store, the same as its server")}
	}
	if c.WebhookSecret.Empty() {
		return usageError{errors.New("a worker needs the webhook secret of its server: copy the file " +
			"webhook.secret from the server's data folder, and name it with --webhook-secret-file; or set " +
			"REELMILL_WEBHOOK_SECRET")}
	}
	config := c.config(log)
	config.MetricsListen, config.Tuning = c.MetricsListen, node.Tuning(c.tuning)
	config.Access = api.Access{Hosts: c.hosts(c.MetricsListen)}
	warnAnyHost(config.Access, log)
	w, err := node.OpenWorker(ctx, node.WorkerConfig{Config: config, Jobs: c.jobs(c.WebhookSecret)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	human.Fprintf(s.err, "ReelMill %s works for %s\n", version, c.broker())
	if err := human.Encode(s.out, readyLine{Ready: true}); err != nil {
		return err
	}
	return w.Run(ctx)
}
