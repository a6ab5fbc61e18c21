package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

// TestBreaker follows a store from failure to recovery.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, calls := true, 0
		stat := func() (storage.Info, error) {
			if calls++; dead {
				return storage.Info{}, errMedium
			}
			return storage.Info{}, storage.ErrNotFound
		}
		var log bytes.Buffer
		g := mustNew(t, &scripted{stat: stat}, Config{
			Name: "s3 bucket media", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ask := func() error { _, err := g.Store().Stat(t.Context(), "k"); return err }

		if err := ask(); !errors.Is(err, errMedium) || calls != 12 || g.State() != "closed" {
			t.Fatalf("the first: %v after %d tries, %s", err, calls, g.State())
		}
		if err := ask(); !errors.Is(err, ErrOpen) || calls != 20 || g.State() != "open" || g.Opened() != 1 {
			t.Fatalf("the second: %v after %d tries in all, %s", err, calls, g.State())
		}

		begun := time.Now()
		for range 1000 {
			err := ask()
			if !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "s3 bucket media") ||
				!strings.Contains(err.Error(), "check that the store is up") {
				t.Fatalf("while open: %v", err)
			}
		}
		if calls != 20 || time.Since(begun) != 0 {
			t.Fatalf("while open: %d tries in all, %s", calls, time.Since(begun))
		}

		time.Sleep(5*time.Second + 1)
		if g.State() != "half-open" {
			t.Fatalf("after the pause: %s", g.State())
		}
		if err := ask(); !errors.Is(err, ErrOpen) || calls != 21 || g.State() != "open" || g.Opened() != 2 {
			t.Fatalf("a probe that fails: %v, %d tries in all, %s", err, calls, g.State())
		}

		dead = false
		time.Sleep(5*time.Second + 1)
		if err := ask(); !errors.Is(err, storage.ErrNotFound) || calls != 25 || g.State() != "closed" {
			t.Fatalf("well again: %v, %d tries in all, %s", err, calls, g.State())
		}
		if g.Failures() != 21 || g.Retries() != 11+8 {
			t.Errorf("%d failures, %d retries", g.Failures(), g.Retries())
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 5 || !strings.Contains(log.String(), "to=half-open") {
			t.Errorf("%d warnings:\n%s", n, &log)
		}
	})
}

// TestHalfOpen sends many callers to a store that has not answered a probe yet: three get through.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		answers := make(chan error)
		stat := func() (storage.Info, error) { calls.Add(1); return storage.Info{}, <-answers }
		g := mustNew(t, &scripted{stat: stat, delete: func() error { return nil }}, Config{MinTries: 1, Tries: 1})
		go func() { answers <- errMedium }()
		if _, err := g.Store().Stat(t.Context(), "k"); !errors.Is(err, errMedium) || g.State() != "open" {
			t.Fatalf("%v, %s", err, g.State())
		}
		time.Sleep(5*time.Second + 1)
		calls.Store(0)
		var open, fine atomic.Int32
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				switch err := g.Store().Delete(t.Context(), "k"); {
				case err == nil:
					fine.Add(1)
				case errors.Is(err, ErrOpen):
					open.Add(1)
				}
			})
		}
		synctest.Wait()
		if calls.Load() != 3 || open.Load() != 47 {
			t.Errorf("%d probes, %d refused", calls.Load(), open.Load())
		}
		close(answers)
		all.Wait()
		if fine.Load() == 0 || open.Load()+fine.Load() != 50 || g.State() != "closed" {
			t.Errorf("%d done, %d refused, %s", fine.Load(), open.Load(), g.State())
		}
	})
}

// TestAbandonedProbe ends the context of the caller that probes. The next caller's result decides.
func TestAbandonedProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := errMedium
		ctx, cancel := context.WithCancel(t.Context())
		stat := func() (storage.Info, error) {
			if err == nil {
				cancel()
				return storage.Info{}, ctx.Err()
			}
			return storage.Info{}, err
		}
		g := mustNew(t, &scripted{stat: stat, delete: func() error { return nil }}, Config{MinTries: 1, Tries: 1})
		_, _ = g.Store().Stat(t.Context(), "k")
		time.Sleep(5*time.Second + 1)
		for err = nil; ctx.Err() == nil; {
			if got := g.Store().Delete(ctx, "k"); !errors.Is(got, context.Canceled) {
				t.Errorf("abandoned: %v", got)
			}
		}
		if g.State() != "half-open" {
			t.Errorf("abandoned: %s", g.State())
		}
		err = storage.ErrNotFound
		if got := g.Store().Delete(t.Context(), "k"); got != nil || g.State() != "closed" {
			t.Errorf("the next: %v, %s", got, g.State())
		}
	})
}

// TestAnswers covers the errors that do not count as failures.
func TestAnswers(t *testing.T) {
	for _, answer := range contract {
		calls := 0
		s := &scripted{delete: func() error { calls++; return fmt.Errorf("delete: %w", answer) }}
		g := mustNew(t, s, Config{MinTries: 1})
		for range 30 {
			if err := g.Store().Delete(t.Context(), "k"); !errors.Is(err, answer) {
				t.Errorf("%v: got %v", answer, err)
			}
		}
		if calls != 30 || g.Failures() != 0 || g.State() != "closed" {
			t.Errorf("%v: %d tries, %d failures, %s", answer, calls, g.Failures(), g.State())
		}
	}
}

func TestContextEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := mustNew(t, &scripted{delete: func() error { return errMedium }}, Config{MinTries: 1000})
		cause := errors.New("shutdown")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		begun := time.Now()
		err := g.Store().Delete(ctx, "k")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errMedium) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		failures := g.Failures()
		if err := g.Store().Delete(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) || g.Failures() != failures {
			t.Errorf("when it is over: %v, %d failures more", err, g.Failures()-failures)
		}
	})
}

// TestPatience has tries that take a minute each: the second one is the last.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := &scripted{delete: func() error { calls++; time.Sleep(time.Minute); return errMedium }}
		err := mustNew(t, s, Config{}).Store().Delete(t.Context(), "k")
		if !errors.Is(err, errMedium) || calls != 2 {
			t.Errorf("%v after %d tries", err, calls)
		}
	})
}

// TestDelays compares the sum of the delays with the documentation of Config.
func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			g := mustNew(t, &scripted{delete: func() error { return errMedium }}, Config{})
			begun := time.Now()
			_ = g.Store().Delete(t.Context(), "k")
			if took := time.Since(begun); took < 3*time.Second || took > 9500*time.Millisecond {
				t.Fatalf("waited %s", took)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	for field, c := range map[string]Config{
		"Tries":        {Tries: -1},
		"FirstDelay":   {FirstDelay: -1},
		"MaxDelay":     {FirstDelay: 2, MaxDelay: 1},
		"Patience":     {Patience: -1},
		"Window":       {Window: 1},
		"MinTries":     {MinTries: -1},
		"FailureRatio": {FailureRatio: 1.1},
		"Pause":        {Pause: -1},
		"Probes":       {Probes: -1},
	} {
		if _, err := New(&scripted{}, c); err == nil || !strings.Contains(err.Error(), field+" is ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

type signing struct{ storage.Store }

func (signing) PresignGet(_ context.Context, key string, _ time.Duration) (string, error) {
	return "get " + key, nil
}

func (signing) PresignPut(_ context.Context, key string, _ time.Duration) (string, error) {
	return "put " + key, nil
}

// TestAbilities guards stores with the abilities of a disk, of a bucket, of both, and of neither.
func TestAbilities(t *testing.T) {
	d := storagetest.Disk(t, t.TempDir())
	bare := struct{ storage.Store }{d}
	both := struct {
		storage.Store
		storage.LocalPather
		storage.Presigner
	}{d, d, signing{}}
	for name, c := range map[string]struct {
		s           storage.Store
		local, sign bool
	}{
		"disk": {d, true, false}, "bucket": {signing{d}, false, true}, "both": {both, true, true}, "bare": {bare, false, false},
	} {
		s := mustNew(t, c.s, Config{}).Store()
		key := name + "/a.bin"
		if _, err := s.Put(t.Context(), key, strings.NewReader("x"), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		local, ok := storage.As[storage.LocalPather](s)
		if ok != c.local {
			t.Errorf("%s is a LocalPather: %v", name, ok)
		} else if ok {
			if path, ok := local.LocalPath(key); !ok || !strings.HasSuffix(path, key) {
				t.Errorf("%s: local path %s", name, path)
			}
		}
		signer, ok := storage.As[storage.Presigner](s)
		if ok != c.sign {
			t.Errorf("%s is a Presigner: %v", name, ok)
		} else if ok {
			if url, err := signer.PresignPut(t.Context(), key, time.Minute); url != "put "+key || err != nil {
				t.Errorf("%s: presigned %s, %v", name, url, err)
			}
		}
		if n, err := s.(storage.Reclaimer).Reclaim(t.Context(), 0); n != 0 || err != nil {
			t.Errorf("%s: reclaimed %d, %v", name, n, err)
		}
		if n, err := storage.DeletePrefix(t.Context(), s, name+"/"); n != 1 || err != nil {
			t.Errorf("%s: deleted %d, %v", name, n, err)
		}
	}
}

// reader is a caller's reader that can seek, and counts how often it does.
type reader struct {
	io.ReadSeeker
	rewinds int
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		r.rewinds++
	}
	return r.ReadSeeker.Seek(offset, whence)
}
