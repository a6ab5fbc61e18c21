package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/pipeline/webhooks"
	"github.com/reelmill/reelmill/workers/internal/outbound"
)

// Poster makes attempts at deliveries to web endpoints, as Standard Webhooks says. It is a webhooks.Target.
// NewPoster makes one.
type Poster struct {
	client  *http.Client
	timeout time.Duration
	now     func() time.Time
}

// PosterConfig configures a Poster. The zero PosterConfig is the strictest.
type PosterConfig struct {
	AllowPrivate bool             // allows addresses that are not public
	Timeout      time.Duration    // of one attempt; 15 s when 0
	Now          func() time.Time // decides which secrets sign; time.Now when nil
}

// NewPoster returns a Poster. It dials only public addresses, unless c allows others, and follows no
// redirects.
func NewPoster(c PosterConfig) *Poster {
	p := &Poster{timeout: c.Timeout, now: c.Now}
	if p.timeout <= 0 {
		p.timeout = defaultTimeout
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.client = client(!c.AllowPrivate, p.timeout)
	return p
}

// Host implements webhooks.Target.
func (p *Poster) Host(e webhooks.Endpoint) string { return hostOf(e.URL) }

// Send implements webhooks.Target.
func (p *Poster) Send(ctx context.Context, e webhooks.Endpoint, t webhooks.Task) (o webhooks.Outcome) {
	request, err := p.request(ctx, e, t)
	if err != nil {
		return webhooks.Outcome{Final: true, Error: err.Error()}
	}
	o.Request = shownHeaders(request.Header)
	answer, err := p.client.Do(request)
	if err != nil {
		o.Error, o.Silent = "the receiver did not answer: "+reasonOf(err, p.timeout), true
		if errors.As(err, new(outbound.RefusedError)) {
			o.Final, o.Silent, o.Error = true, false, "the URL leads to an address that is not public; the operator "+
				"can allow such addresses with --webhook-allow-private"
		}
		return o
	}
	defer answer.Body.Close()
	// An answer without a readable body is an answer. A little of the rest is read so that the receiver can
	// finish.
	o.Answer, _ = io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxResponse))
	o.Status, o.Response = answer.StatusCode, shownHeaders(answer.Header)
	o.RetryAfter = webhooks.RetryAfter(o.Status, answer.Header.Get("Retry-After"), time.Now())
	o.Accepted, o.Gone = o.Status >= 200 && o.Status < 300, o.Status == http.StatusGone
	if !o.Accepted {
		o.Error = answered(o.Status)
	}
	return o
}

// request returns a signed request.
func (p *Poster) request(ctx context.Context, e webhooks.Endpoint, t webhooks.Task) (*http.Request, error) {
	if err := CheckURL(e.URL); err != nil {
		return nil, err
	}
	now := time.Now()
	var signatures []string
	for _, s := range e.Signing(p.now()) {
		signer, err := signerOf(secret.New(s))
		if err != nil {
			return nil, err
		}
		signature, err := signer.Sign(t.Event, now, t.Body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	if len(signatures) == 0 {
		return nil, errors.New("the endpoint has no secret: rotate it")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(t.Body))
	if err != nil {
		return nil, errors.New("the URL cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ReelMill")
	r.Header.Set(standardwebhooks.HeaderWebhookID, t.Event)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return r, nil
}

// shownHeaders returns headers for people: each name once, and no signature, with which somebody could send
// the same body again.
func shownHeaders(h http.Header) map[string]string {
	shown := map[string]string{}
	for name, values := range h {
		shown[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if s, signed := shown[standardwebhooks.HeaderWebhookSignature]; signed {
		hidden := "v1," + secret.Hidden
		shown[standardwebhooks.HeaderWebhookSignature] = hidden + strings.Repeat(" "+hidden, strings.Count(s, " "))
	}
	return shown
}
