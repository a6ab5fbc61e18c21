package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/outbound"
)

// Config configures deliveries. The zero Config delivers nothing: without a secret it cannot sign.
type Config struct {
	// URL receives the deliveries without an address of their own. The operator sets it, so it may be private.
	// It may hold a token.
	URL secret.Text
	// Secret signs: whsec_ and 24 to 64 bytes in base64.
	Secret secret.Text
	// AllowPrivate allows private addresses in users' URLs, too.
	AllowPrivate bool
	// Timeout of one delivery, from the connection to the end of the answer. Default, also when negative: 15 s,
	// which Standard Webhooks recommends.
	Timeout time.Duration
	// Breakers of the hosts, for a program that shows their status. Default: new ones with the zero
	// BreakerConfig.
	Breakers *Breakers
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(max(c.Timeout, 0), defaultTimeout)
	if c.Breakers == nil {
		c.Breakers = newBreakers(BreakerConfig{}.withDefaults())
	}
	return c
}

// Bounds of one delivery.
const (
	defaultTimeout = 15 * time.Second
	maxResponse    = 16 << 10 // bytes of a body that are read
)

// Params is empty: the job's part says what to send, and to whom.
type Params struct{}

// Worker is the worker type "webhook".
type Worker struct {
	config Config // with defaults
	// guarded and trusted differ only in the addresses that they dial.
	guarded, trusted *http.Client
}

// New returns the worker.
func New(c Config) *Worker {
	c = c.withDefaults()
	return &Worker{config: c, guarded: client(!c.AllowPrivate, c.Timeout), trusted: client(false, c.Timeout)}
}

// client returns a client that follows no redirects. A guarded one dials only public addresses.
func client(guarded bool, timeout time.Duration) *http.Client {
	c := outbound.Guard{AllowPrivate: !guarded, Timeout: timeout}.Client()
	c.Timeout = timeout
	return c
}

// Check implements workers.Checker: it reports an invalid secret before the first delivery.
func (w *Worker) Check(context.Context) error {
	if w.config.Secret.Empty() {
		return nil
	}
	_, err := w.signer()
	return err
}

// Plan implements workers.Worker. It returns no jobs: the coordinator makes them, not a pipeline.
func (w *Worker) Plan(Params, pipeline.Media) ([]pipeline.Job, error) { return nil, nil }

// Work implements workers.Worker: one try of one delivery.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	var d pipeline.Delivery
	if err := json.Unmarshal(job.Task.Job.Part, &d); err != nil {
		return pipeline.Result{}, pipeline.Fail(pipeline.CodeParameters, "part of the job: %w", err)
	}
	status, err := w.deliver(ctx, d)
	if err != nil {
		return pipeline.Result{}, err
	}
	return pipeline.Result{Facts: map[string]any{"status": status}}, nil
}

// deliver sends one delivery, and returns the status when the receiver accepts it.
func (w *Worker) deliver(ctx context.Context, d pipeline.Delivery) (int, error) {
	client, address := w.guarded, d.URL
	if address == "" || address == w.config.URL.Reveal() {
		client, address = w.trusted, w.config.URL.Reveal()
	}
	if err := CheckURL(address); err != nil {
		return 0, err
	}
	request, err := w.request(ctx, address, d)
	if err != nil {
		return 0, err
	}
	status, err := w.config.Breakers.of(address).send(ctx, func() (int, error) {
		response, err := client.Do(request)
		if err != nil {
			return 0, unanswered{err, reasonOf(err, w.config.Timeout)}
		}
		defer response.Body.Close()
		// The answer does not matter, but a little of it is read so that the receiver can finish.
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxResponse))
		return response.StatusCode, nil
	})
	switch {
	case err != nil:
		return 0, failure(ctx, err)
	case status >= 200 && status < 300:
		return status, nil
	case status == http.StatusGone:
		return 0, pipeline.Fail(pipeline.CodeWebhookRefused, "the receiver answered 410 Gone: it wants no more")
	}
	return 0, pipeline.Fail(pipeline.CodeWebhookFailed, "%s", answered(status))
}

func (w *Worker) request(ctx context.Context, address string, d pipeline.Delivery) (*http.Request, error) {
	body, err := json.Marshal(d.Body)
	if err != nil {
		return nil, fmt.Errorf("encode webhook: %w", err)
	}
	signer, err := w.signer()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	signature, err := signer.Sign(d.ID, now, body)
	if err != nil {
		return nil, fmt.Errorf("sign webhook: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeWebhookRefused, "the URL cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ReelMill")
	r.Header.Set(standardwebhooks.HeaderWebhookID, d.ID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return r, nil
}

// signer returns the signer of deliveries. Its error never contains the secret.
func (w *Worker) signer() (*standardwebhooks.Webhook, error) {
	if w.config.Secret.Empty() {
		return nil, pipeline.Fail(pipeline.CodeInternal, "no webhook secret is configured")
	}
	return signerOf(w.config.Secret)
}

// CheckSecret refuses a secret with which no delivery can be signed. Its error never contains the secret.
func CheckSecret(s secret.Text) error {
	_, err := signerOf(s)
	return err
}

func signerOf(s secret.Text) (*standardwebhooks.Webhook, error) {
	signer, err := standardwebhooks.NewWebhook(s.Reveal())
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeParameters, "the webhook secret is not whsec_ "+
			"and base64; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return signer, nil
}

// CheckURL returns why u cannot be the address of a webhook, with CodeWebhookRefused: see outbound.CheckURL.
// The address of the host is checked when it is dialled, because the name may resolve to another one by then.
func CheckURL(u string) error {
	if err := outbound.CheckURL(u); err != nil {
		return pipeline.Fail(pipeline.CodeWebhookRefused, "%w", err)
	}
	return nil
}

// failure returns an error of the connection with a code.
func failure(ctx context.Context, err error) error {
	var refused outbound.RefusedError
	var known *pipeline.Error
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &refused):
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL leads to an address that is not public; "+
			"the operator can allow such addresses with --webhook-allow-private")
	}
	return pipeline.Fail(pipeline.CodeWebhookFailed, "%s", noAnswer(err))
}

// reasonOf returns the text of an error without what http.Client adds: the method and the URL.
func reasonOf(err error, timeout time.Duration) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		var timed interface{ Timeout() bool }
		if errors.As(err, &timed) && timed.Timeout() {
			return "no answer within " + timeout.String()
		}
		err = next
	}
	return err.Error()
}
