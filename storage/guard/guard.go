package guard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/reelmill/reelmill/storage"
)

// ErrOpen: the breaker is open, and the store was not tried. It comes wrapped, with the name of the store,
// the last failure and what to do; test with errors.Is. The breaker closes again by itself. Until then an API
// answers 503 and a job is retried.
var ErrOpen = fmt.Errorf("circuit breaker is open: %w", storage.ErrUnavailable)

// Guard wraps one store. Its methods may be called from many goroutines.
type Guard struct {
	config  Config // with defaults
	breaker *gobreaker.CircuitBreaker[struct{}]
	store   storage.Store // with the guard around it
	probe   func(context.Context) error

	opened, retries, failures atomic.Uint64
	lastFailure               atomic.Pointer[string]
}

// New guards s. The caller still closes s, after the last use of the guarded store. If a field of c is
// invalid, the error names it.
func New(s storage.Store, c Config) (*Guard, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("guard %s: %w", c.Name, err)
	}
	g := &Guard{config: c}
	g.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         c.Name,
		MaxRequests:  uint32(c.Probes),
		Interval:     c.Window,
		BucketPeriod: c.Window / 10,
		Timeout:      c.Pause,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			ended := n.TotalSuccesses + n.TotalFailures // Requests includes those under way
			return int(ended) >= c.MinTries && float64(n.TotalFailures) >= c.FailureRatio*float64(ended)
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errCallers) },
		OnStateChange: g.changed,
	})
	g.store = &guarded{g, s}
	g.probe = func(ctx context.Context) error {
		_, err := s.Stat(ctx, probeKey)
		return err
	}
	return g, nil
}

// probeKey is the key that the half-open breaker stats. It need not exist.
const probeKey = "probe"

// Store returns the guarded store. It has the abilities LocalPather, Presigner, Resumable and
// MultipartPresigner (storage.As) if and only if the wrapped store has. The first two make no request and
// pass unguarded. It is always a PrefixDeleter and a Reclaimer, since the guard can do both for any store.
//
// A Put with IfAbsent may store the object and still fail, if the answer is lost. So the guard looks for
// the object before the first try, and returns ErrExists if it finds it. If a later try finds the object,
// the guard reads it back: the same size and SHA-256 mean success, anything else ErrExists. When two
// callers put the same bytes at the same moment, both may get success. If the reader cannot be rewound, the
// result is that of the only try.
func (g *Guard) Store() storage.Store { return g.store }

// State is "closed" (normal), "open" (nothing is tried) or "half-open" (probes decide).
func (g *Guard) State() string { return g.breaker.State().String() }

// Opened counts how often the breaker has opened.
func (g *Guard) Opened() uint64 { return g.opened.Load() }

// Retries counts the tries that followed a failed one, including resumed readers.
func (g *Guard) Retries() uint64 { return g.retries.Load() }

// Failures counts the tries that failed by the store's fault, including broken readers and probes.
func (g *Guard) Failures() uint64 { return g.failures.Load() }

// changed runs with the breaker's lock held: it must not ask the breaker anything.
func (g *Guard) changed(_ string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		g.opened.Add(1)
	}
	g.config.Logger.Warn("the store's circuit breaker changed its state",
		"store", g.config.Name, "from", from.String(), "to", to.String(), "last_failure", g.last())
}

func (g *Guard) last() string {
	if s := g.lastFailure.Load(); s != nil {
		return *s
	}
	return "none"
}

// retry tries until the store answers, the context ends, or no try is left.
func retry[T any](ctx context.Context, g *Guard, tries int, try func() (T, error)) (T, error) {
	var last error
	var firstFailure time.Time
	n := 0
	result, err := backoff.Retry(ctx, func() (got T, _ error) {
		if n++; n > 1 {
			g.retries.Add(1)
		}
		last = g.guard(ctx, func() (err error) {
			got, err = try()
			return err
		})
		if n == 1 {
			firstFailure = time.Now()
		}
		final := errors.Is(last, ErrOpen) || judge(ctx, last) != failed
		if final || time.Since(firstFailure) >= g.config.Patience {
			return got, backoff.Permanent(last)
		}
		return got, last
	}, backoff.WithBackOff(g.delays()), backoff.WithMaxTries(uint(tries)), backoff.WithMaxElapsedTime(0))
	if err == nil {
		return result, nil
	}
	var none T
	if ended := ctx.Err(); ended != nil && judge(ctx, last) != answered && !errors.Is(last, ended) {
		return none, fmt.Errorf("%w, after: %w", ended, last)
	}
	return none, withoutMark(last)
}

func (g *Guard) delays() backoff.BackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: g.config.FirstDelay, MaxInterval: g.config.MaxDelay, Multiplier: 2,
		RandomizationFactor: 0.5,
	}
}

// guard makes one try, if the breaker allows it. In the half-open state only probes run.
func (g *Guard) guard(ctx context.Context, try func() error) error {
	for range g.config.Probes {
		if g.breaker.State() != gobreaker.StateHalfOpen {
			break
		}
		err := g.execute(ctx, func() error { return g.probe(ctx) })
		switch judge(ctx, err) {
		case callers:
			return err
		case failed:
			return g.open()
		}
	}
	if g.breaker.State() != gobreaker.StateClosed { // half-open: others probe
		return g.open()
	}
	return g.execute(ctx, try)
}

// execute makes one try within the breaker, and counts it.
func (g *Guard) execute(ctx context.Context, try func() error) (err error) {
	ran := false
	_, _ = g.breaker.Execute(func() (struct{}, error) {
		ran = true
		err = try()
		return struct{}{}, g.note(ctx, err)
	})
	if !ran {
		return g.open()
	}
	return err
}

// note counts a failure. It returns the error that the breaker gets to see.
func (g *Guard) note(ctx context.Context, err error) error {
	switch judge(ctx, err) {
	case answered:
		return nil
	case callers:
		return errCallers
	}
	g.failures.Add(1)
	text := err.Error()
	g.lastFailure.Store(&text)
	return err
}

func (g *Guard) open() error {
	return fmt.Errorf("%s: %w, the last failure was %q: check that the store is up, reachable and allows "+
		"access; it is tried again by itself within %s", g.config.Name, ErrOpen, g.last(), g.config.Pause)
}

// verdict says whose error it is.
type verdict int

const (
	answered verdict = iota // the store works: a result, or an error of the contract
	callers                 // the caller ended it, which says nothing about the store
	failed                  // the store failed, or the network
)

// contract is the errors of a store that works.
var contract = [...]error{
	storage.ErrNotFound, storage.ErrExists, storage.ErrRange, storage.ErrKey, storage.ErrSize, storage.ErrFull,
	storage.ErrOffset, storage.ErrChecksum, storage.ErrBusy,
}

func judge(ctx context.Context, err error) verdict {
	if err == nil {
		return answered
	}
	if _, theirs := errors.AsType[callersError](err); theirs {
		return callers
	}
	for _, ours := range contract {
		if errors.Is(err, ours) {
			return answered
		}
	}
	if ctx.Err() != nil {
		return callers
	}
	return failed
}

// errCallers makes the breaker count nothing.
var errCallers = errors.New("ended by the caller")

// callersError marks an error of the caller's own reader.
type callersError struct{ error }

// Unwrap returns the error.
func (e callersError) Unwrap() error { return e.error }

// withoutMark removes the mark of callersError.
func withoutMark(err error) error {
	if marked, ok := err.(callersError); ok { //nolint:errorlint // the mark is always the outermost
		return marked.error
	}
	return err
}
