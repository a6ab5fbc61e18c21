package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/workers/webhook"
)

// workFlags are the flags of every command that runs jobs.
type workFlags struct {
	Slots map[string]int `help:"${slots_help}" env:"REELMILL_SLOTS"`

	WebhookURL          string `help:"${webhook_url_help}" env:"REELMILL_WEBHOOK_URL"`
	WebhookSecret       string `help:"${webhook_secret_help}" env:"REELMILL_WEBHOOK_SECRET"`
	WebhookAllowPrivate bool   `help:"${webhook_private_help}" env:"REELMILL_WEBHOOK_ALLOW_PRIVATE"`
	MetricsListen       string `help:"${metrics_help}" env:"REELMILL_METRICS_LISTEN" placeholder:"ADDRESS"`
	tuning
}

func (f workFlags) webhook(secret string) webhook.Config {
	return webhook.Config{
		URL: f.WebhookURL, Secret: webhook.Secret(secret), AllowPrivate: f.WebhookAllowPrivate,
	}
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
	n, err := newWorkerNode(ctx, nodeConfig{
		data: c.Data, nats: c.NATS, replicas: c.Replicas, store: c.Store,
		s3AccessKey: c.S3AccessKey, s3SecretKey: c.S3SecretKey,
		slots: c.Slots, workers: true, webhook: c.webhook(c.WebhookSecret), tuning: c.tuning, log: log,
		metricsListen: c.MetricsListen,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	fmt.Fprintf(s.err, "ReelMill %s works for %s\n", version, withoutPassword(c.NATS))
	if err := json.NewEncoder(s.out).Encode(readyLine{Ready: true}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	n.runLoop(ctx, g)
	return g.Wait()
}
