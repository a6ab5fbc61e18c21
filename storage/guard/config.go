package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Config says how patient the guard is. The zero Config is usable: if three tries in ten fail, one in two
// thousand runs of a thousand operations meets an error (1,000 * 0.3^12).
type Config struct {
	// Name of the store in errors and logs, without credentials. Default: "object store".
	Name string

	// Tries of one operation, including the first. Default: 12. With 1, nothing is retried.
	Tries int
	// FirstDelay comes before the second try. It doubles with each try up to MaxDelay, and varies by 50% at
	// random. Default: 20 ms.
	FirstDelay time.Duration
	// MaxDelay: default 1 s. Then 12 tries wait 6.3 s on average and 9.4 s at most.
	MaxDelay time.Duration
	// Patience is the time after the first failure in which a new try may begin. An operation whose try
	// takes longer is tried twice. Default: 10 s.
	Patience time.Duration
	// Resumes is how often one reader may resume. Default: 16. Negative: never.
	Resumes int

	// Window in which tries are counted, in steps of a tenth of it. Default: 10 s; at least 10 ms.
	Window time.Duration
	// MinTries is how many tries must have ended within the window before the breaker opens. Default: 20.
	MinTries int
	// FailureRatio of those tries opens the breaker, above 0 and up to 1. Default: 0.8. Below that ratio,
	// retrying helps more than a pause: at a failure rate of 60%, 12 tries leave two failed operations in a
	// thousand. And chance must not open it: at a rate of 30%, five in a million windows of 20 tries reach
	// 0.8, but five in a thousand reach 0.6.
	FailureRatio float64
	// Pause between opening and the first probe. Default: 5 s.
	Pause time.Duration
	// Probes that must succeed, one after the other, to close the breaker. Default: 3.
	Probes int

	// Logger gets a warning when the breaker changes its state. Nothing is logged when nil.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "object store"
	}
	c.Tries = orDefault(c.Tries, 12)
	c.FirstDelay = orDefault(c.FirstDelay, 20*time.Millisecond)
	c.MaxDelay = orDefault(c.MaxDelay, max(time.Second, c.FirstDelay))
	c.Patience = orDefault(c.Patience, 10*time.Second)
	c.Resumes = orDefault(c.Resumes, 16)
	c.Window = orDefault(c.Window, 10*time.Second)
	c.MinTries = orDefault(c.MinTries, 20)
	c.FailureRatio = orDefault(c.FailureRatio, 0.8)
	c.Pause = orDefault(c.Pause, 5*time.Second)
	c.Probes = orDefault(c.Probes, 3)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](given, otherwise T) T {
	var zero T
	if given == zero {
		return otherwise
	}
	return given
}

// validate names the first bad field of a Config with its defaults.
func (c Config) validate() error {
	switch {
	case c.Tries < 0:
		return fmt.Errorf("Tries is %d, want at least 1", c.Tries)
	case c.FirstDelay < 0:
		return fmt.Errorf("FirstDelay is %s, want more than 0", c.FirstDelay)
	case c.MaxDelay < c.FirstDelay:
		return fmt.Errorf("MaxDelay is %s, want at least FirstDelay, %s", c.MaxDelay, c.FirstDelay)
	case c.Patience < 0:
		return fmt.Errorf("Patience is %s, want more than 0", c.Patience)
	case c.Window < 10*time.Millisecond:
		return fmt.Errorf("Window is %s, want at least 10ms", c.Window)
	case c.MinTries < 0:
		return fmt.Errorf("MinTries is %d, want at least 1", c.MinTries)
	case c.FailureRatio <= 0 || c.FailureRatio > 1 || math.IsNaN(c.FailureRatio):
		return fmt.Errorf("FailureRatio is %v, want more than 0 and at most 1", c.FailureRatio)
	case c.Pause < 0:
		return fmt.Errorf("Pause is %s, want more than 0", c.Pause)
	case c.Probes < 0:
		return errors.New("Probes is negative, want at least 1")
	}
	return nil
}
