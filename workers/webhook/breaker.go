package webhook

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/reelmill/reelmill/pipeline"

	"github.com/reelmill/reelmill/workers/internal/outbound"
)

// BreakerConfig configures when deliveries to a host stop. The zero BreakerConfig is usable.
type BreakerConfig struct {
	// Failures in a row that open a host's breaker: failed connections, timeouts, answers of 500 and above.
	// Default: 5.
	Failures int
	// Pause between opening and the one delivery that probes. Default: 30 s.
	Pause time.Duration
	// Hosts that are remembered; the least recently used is forgotten first. Default: 1,024.
	Hosts int
}

func (c BreakerConfig) withDefaults() BreakerConfig {
	c.Failures = cmp.Or(c.Failures, 5)
	c.Pause = cmp.Or(c.Pause, 30*time.Second)
	c.Hosts = cmp.Or(c.Hosts, 1024)
	return c
}

// validate checks c after withDefaults.
func (c BreakerConfig) validate() error {
	switch {
	case c.Failures < 0:
		return fmt.Errorf("Failures is %d, want at least 1", c.Failures)
	case c.Pause < 0:
		return fmt.Errorf("Pause is %s, want more than 0", c.Pause)
	case c.Hosts < 0:
		return fmt.Errorf("Hosts is %d, want at least 1", c.Hosts)
	}
	return nil
}

// BreakerStatus is the state of one host's breaker.
type BreakerStatus struct {
	Host     string // scheme, host and port, such as "https://example.org:443"
	State    string // closed, open, or half-open (the next delivery probes, or one is probing)
	Failures uint32 // in a row, up to now
	Opened   uint64 // how often the breaker has opened while the host was remembered
}

// Breakers holds a circuit breaker for each host (scheme, name and port) that deliveries go to. It is safe
// for concurrent use. NewBreakers makes one.
type Breakers struct {
	config BreakerConfig // with defaults
	opened atomic.Uint64

	mu     sync.Mutex
	hosts  map[string]*list.Element // of *breaker
	recent *list.List               // most recently used first
}

// NewBreakers returns breakers without hosts. Its error names the field of c that is wrong.
func NewBreakers(c BreakerConfig) (*Breakers, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("webhook breakers: %w", err)
	}
	return newBreakers(c), nil
}

func newBreakers(c BreakerConfig) *Breakers {
	return &Breakers{config: c, hosts: map[string]*list.Element{}, recent: list.New()}
}

// Status returns the remembered hosts, sorted by name.
func (b *Breakers) Status() []BreakerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]BreakerStatus, 0, len(b.hosts))
	for e := b.recent.Front(); e != nil; e = e.Next() {
		h := e.Value.(*breaker)
		all = append(all, BreakerStatus{
			Host: h.host, State: h.State().String(), Failures: h.failures.Load(), Opened: h.opened.Load(),
		})
	}
	slices.SortFunc(all, func(x, y BreakerStatus) int { return cmp.Compare(x.Host, y.Host) })
	return all
}

// Opened returns how often breakers have opened, with those of forgotten hosts. It never falls.
func (b *Breakers) Opened() uint64 { return b.opened.Load() }

// breaker is the circuit breaker of one host.
type breaker struct {
	*gobreaker.CircuitBreaker[int]
	host     string
	failures atomic.Uint32
	opened   atomic.Uint64
	last     atomic.Value // string: how the host failed last
	until    atomic.Int64 // when the next probe may begin, in Unix nanoseconds
}

// of returns the breaker for the host of address. CheckURL must have accepted the address.
func (b *Breakers) of(address string) *breaker {
	host := hostOf(address)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.hosts[host]; ok {
		b.recent.MoveToFront(e)
		return e.Value.(*breaker)
	}
	if b.recent.Len() >= b.config.Hosts {
		oldest := b.recent.Remove(b.recent.Back()).(*breaker)
		delete(b.hosts, oldest.host)
	}
	h := b.add(host)
	b.hosts[host] = b.recent.PushFront(h)
	return h
}

func (b *Breakers) add(host string) *breaker {
	h := &breaker{host: host}
	h.CircuitBreaker = gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
		Timeout: b.config.Pause,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return int(n.ConsecutiveFailures) >= b.config.Failures
		},
		IsExcluded: func(err error) bool { return errors.As(err, new(unrelated)) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				h.until.Store(time.Now().Add(b.config.Pause).UnixNano())
				h.opened.Add(1)
				b.opened.Add(1)
			}
		},
	})
	return h
}

// hostOf returns the key of a breaker. Names are equal in any case, with or without a dot at the end.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host + ":" + port
}

// send makes one request, unless the breaker is open. It returns the status of the answer, or the error of
// the connection. While the breaker is open the error is webhook_failed, and names the host's last failure.
func (h *breaker) send(ctx context.Context, request func() (status int, err error)) (int, error) {
	status, err := h.Execute(func() (int, error) {
		status, err := request()
		switch {
		case err != nil && (ctx.Err() != nil || errors.As(err, new(outbound.RefusedError))):
			return 0, unrelated{err}
		case err != nil:
			h.failed(noAnswer(err))
			return 0, err
		case status >= http.StatusInternalServerError:
			h.failed(answered(status))
			return status, errServer
		}
		h.failures.Store(0)
		return status, nil
	})
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		return 0, pipeline.Fail(pipeline.CodeWebhookFailed,
			"%s; its circuit is open: nothing is sent there before %s",
			h.story(), pipeline.Clock(time.Unix(0, h.until.Load())))
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return 0, pipeline.Fail(pipeline.CodeWebhookFailed,
			"%s; its circuit is open: another delivery is probing it now", h.story())
	case errors.Is(err, errServer):
		return status, nil
	}
	return status, err
}

// failed counts a failure, and keeps its description.
func (h *breaker) failed(how string) {
	h.last.Store(how)
	h.failures.Add(1)
}

// story says how often the host failed in a row, and how it failed last.
func (h *breaker) story() string {
	return fmt.Sprintf("%s failed %d times in a row (last: %v)",
		h.host, h.failures.Load(), h.last.Load())
}

// answered describes a receiver's answer.
func answered(status int) string { return fmt.Sprintf("the receiver answered %d", status) }

// noAnswer says why a receiver did not answer, without the URL, which may hold a token.
func noAnswer(err error) string {
	text := "the receiver did not answer"
	if silent, ok := errors.AsType[unanswered](err); ok {
		text += ": " + silent.reason
	}
	return text
}

// unanswered is an error of a connection, with its reason in words.
type unanswered struct {
	error
	reason string
}

// Unwrap returns the error.
func (e unanswered) Unwrap() error { return e.error }

// errServer tells the breaker that the answer counts as a failure of the host.
var errServer = errors.New("the receiver answered 500 or above")

// unrelated marks an error that is not the host's fault: the delivery was abandoned, or is not allowed.
type unrelated struct{ error }

// Unwrap returns the error.
func (e unrelated) Unwrap() error { return e.error }
