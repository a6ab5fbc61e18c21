package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func mustNew(t *testing.T, s storage.Store, c Config) *Guard {
	t.Helper()
	g, err := New(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		g := mustNew(t, storagetest.Disk(t, t.TempDir()), Config{})
		t.Cleanup(func() {
			if g.Failures() != 0 || g.Retries() != 0 || g.State() != "closed" {
				t.Errorf("%d failures, %d retries, %s: a caller's error counts as the store's",
					g.Failures(), g.Retries(), g.State())
			}
		})
		return g.Store()
	})
}

// TestConformanceOfAFaultyStore runs the suite on a store that fails three tries in ten. Two of its tests
// expect more of a broken body than a guard can give: the version that no longer exists.
func TestConformanceOfAFaultyStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		f := newFaulty(storagetest.Disk(t, t.TempDir()), 1, 0.3)
		f.bodies = !strings.HasSuffix(t.Name(), "overwrite_is_atomic") &&
			!strings.HasSuffix(t.Name(), "reader_outlives_its_object")
		// Short delays, so that the suite does not take minutes.
		g := mustNew(t, f, Config{FirstDelay: time.Microsecond, MaxDelay: time.Millisecond, Tries: 20})
		t.Cleanup(func() {
			t.Logf("%d faults, %d failures, %d retries", f.faults, g.Failures(), g.Retries())
			if g.Opened() != 0 {
				t.Error("the breaker opened")
			}
		})
		return g.Store()
	})
}

// TestWorksThrough runs a thousand operations of all kinds with the defaults. With another seed, an error has
// a chance of one in two thousand.
func TestWorksThrough(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty(s, 7, 0.3)
		g := mustNew(t, f, Config{})
		store := g.Store()
		for i := range 200 {
			if err := fiveOperations(store, fmt.Sprintf("v/%d.bin", i)); err != nil {
				t.Errorf("round %d: %v", i, err)
			}
		}
		t.Logf("%d faults, %d retries in 1,000 operations", f.faults, g.Retries())
		if g.Retries() < 250 || g.Opened() != 0 || g.State() != "closed" {
			t.Errorf("%d retries, opened %d times, %s", g.Retries(), g.Opened(), g.State())
		}
	})
}

func fiveOperations(s storage.Store, key string) error {
	ctx, want := context.Background(), bytes.Repeat([]byte(key), 100)
	info, err := s.Put(ctx, key, bytes.NewReader(want), storage.PutOptions{IfAbsent: true})
	if err != nil || info.Size != int64(len(want)) || info.SHA256 == "" {
		return fmt.Errorf("put %+v: %w", info, err)
	}
	if _, err := s.Stat(ctx, key); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	r, _, err := s.Get(ctx, key, storage.Range{})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes of %d: %w", len(got), len(want), err)
	}
	n := 0
	for _, err := range s.List(ctx, key) {
		if n++; err != nil {
			return fmt.Errorf("list: %w", err)
		}
	}
	if n != 1 {
		return fmt.Errorf("list of %d", n)
	}
	return s.Delete(ctx, key)
}
