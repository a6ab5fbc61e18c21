package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// tellAgain is the time between two log lines of a failure that goes on. The end of a failure is logged when
// it lasted for blip or longer.
const (
	tellAgain = time.Minute
	blip      = 10 * time.Second
)

// Recurring logs failures that repeat in loops, such as every request to a broker that is away. It logs the
// first failure at once, and then one line a minute while the failure goes on, with the number of failures
// withheld since the last line. Two failures are the same when the same thing failed, whatever the cause and
// whomever it concerned; the arguments of a line belong to the failure that wrote it. Withheld failures are
// logged at debug level. The zero value logs nothing. It is safe for concurrent use.
type Recurring struct {
	Logger *slog.Logger

	mu       sync.Mutex
	failures map[string]*recurrence // by what failed
	open     atomic.Int64           // how many of them go on
	withheld atomic.Uint64
}

// recurrence is the state of one failure.
type recurrence struct {
	since    time.Time // when it began; zero when it does not go on
	count    uint64    // since then
	told     time.Time // when it was last logged
	withheld uint64    // since then
}

// Failed records that what failed, and logs it with args, as slog does, when a line is due. what is a
// constant text.
func (r *Recurring) Failed(what string, args ...any) {
	r.mu.Lock()
	f, now := r.failure(what), time.Now()
	if f.since.IsZero() {
		f.since = now
		r.open.Add(1)
	}
	f.count++
	withheld := f.withheld
	level := slog.LevelWarn
	if !f.told.IsZero() && now.Sub(f.told) < tellAgain {
		f.withheld++
		level = slog.LevelDebug
	} else {
		f.told, f.withheld = now, 0
	}
	r.mu.Unlock()
	switch {
	case level == slog.LevelDebug:
		r.withheld.Add(1)
	case withheld > 0:
		args = append(args[:len(args):len(args)], "withheld", withheld)
	}
	r.log().Log(context.Background(), level, what, args...)
}

// Works records that what succeeded. It logs the end of a failure that went on for 10 s or more.
func (r *Recurring) Works(what string) {
	if r.open.Load() == 0 {
		return
	}
	r.mu.Lock()
	f, now := r.failure(what), time.Now()
	lasted, count := now.Sub(f.since), f.count
	ended := !f.since.IsZero() && lasted >= blip
	if !f.since.IsZero() {
		f.since, f.count = time.Time{}, 0
		r.open.Add(-1)
	}
	if ended {
		f.told, f.withheld = time.Time{}, 0 // if it comes back, log it at once
	}
	r.mu.Unlock()
	if ended {
		r.log().Info(what+": works again", "failures", count, "after", lasted.Round(time.Second))
	}
}

// Withheld returns how many failures were not logged.
func (r *Recurring) Withheld() uint64 { return r.withheld.Load() }

// failure returns the state of a failure. The caller holds r.mu.
func (r *Recurring) failure(what string) *recurrence {
	f := r.failures[what]
	if f == nil {
		f = &recurrence{}
		if r.failures == nil {
			r.failures = map[string]*recurrence{}
		}
		r.failures[what] = f
	}
	return f
}

func (r *Recurring) log() *slog.Logger {
	if r.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Logger
}
