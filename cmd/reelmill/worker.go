package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/workers/webhook"
)

// tuning are times that tests and harnesses shorten; zero means the default of whoever has it.
type tuning struct {
	Lease      time.Duration `help:"Lease of a task." hidden:"" env:"REELMILL_LEASE"`
	SweepEvery time.Duration `help:"Between rounds of the sweeper." hidden:"" env:"REELMILL_SWEEP_EVERY"`
	SweepAge   time.Duration `help:"Age of videos that it looks at." hidden:"" env:"REELMILL_SWEEP_AGE"`
}

// workFlags are the flags of every command that runs jobs.
type workFlags struct {
	Slots   slots   `help:"${slots_help}" env:"REELMILL_SLOTS"`
	Threads threads `help:"${threads_help}" default:"0" env:"REELMILL_THREADS"`

	WebhookURL          webURL `help:"${webhook_url_help}" env:"REELMILL_WEBHOOK_URL" placeholder:"URL"`
	WebhookSecret       string `help:"${webhook_secret_help}" env:"REELMILL_WEBHOOK_SECRET"`
	WebhookAllowPrivate bool   `help:"${webhook_private_help}" env:"REELMILL_WEBHOOK_ALLOW_PRIVATE"`
	MetricsListen       string `help:"${metrics_help}" env:"REELMILL_METRICS_LISTEN" placeholder:"ADDRESS"`
	tuning
}

// slots are how many jobs there may be at once, by worker type.
type slots map[string]int

// Decode implements kong.MapperValue. A configuration file comes as such a text, too (flagValue).
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
			return fmt.Errorf("%q is no worker type and number; write 'transcode=2;audio=1', in quotes", pair)
		}
		(*s)[worker] = n
	}
	return nil
}

// checkAlone refuses a worker type without slots where no other process can run its jobs.
func (s slots) checkAlone() error {
	for _, worker := range slices.Sorted(maps.Keys(s)) {
		if s[worker] == 0 {
			return fmt.Errorf("--slots: %s=0: its jobs would wait for ever, since no other process runs them; write "+
				"1 or more", worker)
		}
	}
	return nil
}

// threads is how many threads an encoder has; 0: the encoders' own default.
type threads int

// maxThreads is as many as x264 and x265 can make use of.
const maxThreads = 64

// Decode implements kong.MapperValue, for numbers of a configuration file too.
func (n *threads) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("threads")
	if err != nil {
		return err
	}
	text := fmt.Sprint(token.Value)
	i, err := strconv.Atoi(text)
	if err != nil || i < 0 || i > maxThreads {
		return fmt.Errorf("%q is no number of threads; write 1 to %d, or 0 for the default", text, maxThreads)
	}
	*n = threads(i)
	return nil
}

// jobs says how the flags have a node run jobs.
func (f workFlags) jobs(secret string) node.Jobs {
	return node.Jobs{Slots: f.Slots, Threads: int(f.Threads), Webhook: webhook.Config{
		URL: string(f.WebhookURL), Secret: webhook.Secret(secret), AllowPrivate: f.WebhookAllowPrivate,
	}}
}

// workerCommand runs jobs for a server that runs elsewhere.
type workerCommand struct {
	dataFlags
	workFlags
}

// Run runs jobs until ctx ends. Its first line on stdout says that it is ready.
func (c workerCommand) Run(ctx context.Context, s streams, log *slog.Logger) (err error) {
	if c.NATS == "" || c.Store == "" {
		return usageError{errors.New("a worker needs --nats and --store: those of its server")}
	}
	if c.WebhookSecret == "" {
		return usageError{errors.New("a worker needs the webhook secret of its server: its data folder has it in " +
			"webhook.secret; give it by REELMILL_WEBHOOK_SECRET")}
	}
	config := c.config(log)
	config.MetricsListen, config.Tuning = c.MetricsListen, node.Tuning(c.tuning)
	w, err := node.OpenWorker(ctx, node.WorkerConfig{Config: config, Jobs: c.jobs(c.WebhookSecret)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	fmt.Fprintf(s.err, "ReelMill %s works for %s\n", version, broker.WithoutPassword(c.NATS))
	if err := json.NewEncoder(s.out).Encode(readyLine{Ready: true}); err != nil {
		return err
	}
	return w.Run(ctx)
}
