package node

import (
	"context"
	"errors"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/mail"
	"github.com/reelmill/reelmill/pipeline/webhooks"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers/webhook"
)

// hooks is what delivers events to webhook endpoints.
type hooks struct {
	dispatcher *webhooks.Dispatcher
	sender     *webhooks.Sender
	sweeper    *webhooks.Sweeper
	desk       *webhooks.Desk
}

// openHooks makes the parts that dispatch events to endpoints and deliver them.
func (s *Server) openHooks(context.Context) error {
	kept := s.bus.Hooks()
	targets, err := s.hookTargets(kept)
	if err != nil {
		return err
	}
	s.hooks.dispatcher = &webhooks.Dispatcher{
		Log: s.faults.log(s.bus), Bucket: kept, Queue: kept, Records: kept, PublicURL: s.server.PublicURL,
	}
	s.hooks.sender = webhooks.NewSender(webhooks.SenderConfig{
		Bucket: kept, Queue: kept, Records: kept, Targets: targets,
		Lease: s.config.Lease, Logger: s.config.Logger,
	})
	s.hooks.sweeper = &webhooks.Sweeper{Sender: s.hooks.sender, Leftovers: kept}
	s.hooks.desk = &webhooks.Desk{Sender: s.hooks.sender, LastSequence: s.bus.LastSequence}
	s.metrics.add("webhook attempts", s.measureHooks)
	s.metrics.addOfBroker("webhook queue", s.measureHookQueue)
	return nil
}

// dispatching returns what becomes of events.
func (h hooks) dispatching() bus.Dispatching {
	return bus.Dispatching{Handle: h.dispatcher.Handle, GiveUp: h.dispatcher.GiveUp}
}

// hookTargets returns what reaches each kind of endpoint. Messages on NATS need a broker that others reach,
// and e-mail needs an SMTP server.
func (s *Server) hookTargets(kept *bus.Hooks) (map[webhooks.Kind]webhooks.Target, error) {
	targets := map[webhooks.Kind]webhooks.Target{
		webhooks.Web: webhook.NewPoster(webhook.PosterConfig{
			AllowPrivate: s.webhook.AllowPrivate, Timeout: s.webhook.Timeout,
		}),
	}
	if !s.broker.Exclusive() {
		targets[webhooks.NATS] = kept
	}
	if s.server.Mail.Server.Empty() {
		return targets, nil
	}
	config := s.server.Mail
	config.Poster = s.poster
	sender, err := mail.New(config)
	if err != nil {
		return nil, SettingError{err}
	}
	targets[webhooks.Email] = sender
	return targets, nil
}

// maxPoster is how many bytes the poster in a message may have.
const maxPoster = 2 << 20

// poster returns the poster of a video; nil when it has none, or one that is too large for a message.
func (s *Server) poster(ctx context.Context, project, video string) ([]byte, error) {
	outputs, err := s.catalog.Outputs(ctx, project, video)
	if err != nil {
		return nil, err
	}
	for _, o := range outputs {
		if o.Kind != pipeline.KindPoster || o.Size > maxPoster {
			continue
		}
		body, _, err := s.objects.Get(ctx, o.Key, storage.Range{})
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(body, maxPoster))
		return data, errors.Join(err, body.Close())
	}
	return nil, nil
}

// The metrics of webhook endpoints.
var (
	descHookAttempts = prometheus.NewDesc("reelmill_webhook_attempts_total",
		"Attempts at deliveries to webhook endpoints by this process, by outcome: accepted or failed.",
		[]string{"outcome"}, nil)
	descHookExhausted = prometheus.NewDesc("reelmill_webhook_deliveries_failed_total",
		"Deliveries to webhook endpoints without a further attempt.", nil, nil)
	descHookTurned = prometheus.NewDesc("reelmill_webhook_deliveries_deferred_total",
		"How often a delivery had to wait because its host had as many attempts as it may have.", nil, nil)
	descHookDisabled = prometheus.NewDesc("reelmill_webhook_endpoints_disabled_total",
		"Webhook endpoints that this process disabled, by reason: gone or failing.", []string{"reason"}, nil)
	descHookSkipped = prometheus.NewDesc("reelmill_webhook_events_failed_total",
		"Events that could not be dispatched to webhook endpoints; their deliveries have failed.", nil, nil)
	descHookQueue = prometheus.NewDesc("reelmill_webhook_queue",
		"Deliveries to webhook endpoints: due now, or later.", []string{"due"}, nil)
	descHookLag = prometheus.NewDesc("reelmill_webhook_lag_events",
		"Events of the log that are not dispatched to webhook endpoints.", nil, nil)
)

// measureHooks measures what this process delivered.
func (s *Server) measureHooks(_ context.Context, to sink) error {
	n := s.hooks.sender.Counts()
	to.counter(descHookAttempts, float64(n.Accepted), "accepted")
	to.counter(descHookAttempts, float64(n.Failed), "failed")
	to.counter(descHookExhausted, float64(n.Exhausted))
	to.counter(descHookSkipped, float64(s.hooks.dispatcher.Skipped()))
	to.counter(descHookTurned, float64(n.Turned))
	to.counter(descHookDisabled, float64(n.Gone), webhooks.ReasonGone)
	to.counter(descHookDisabled, float64(n.Failing), webhooks.ReasonFailing)
	return nil
}

// measureHookQueue measures what is to be delivered.
func (s *Server) measureHookQueue(ctx context.Context, to sink) error {
	due, later, err := s.bus.HookBacklog(ctx)
	if err != nil {
		return err
	}
	to.gauge(descHookQueue, float64(due), "now")
	to.gauge(descHookQueue, float64(later), "later")
	lag, err := s.bus.DispatchLag(ctx)
	if err != nil {
		return err
	}
	to.gauge(descHookLag, float64(lag))
	return nil
}
