package guard

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func TestResumable(t *testing.T) {
	storagetest.RunResumable(t, 64<<10, func(t *testing.T) func() storagetest.ResumableStore {
		dir := t.TempDir()
		return func() storagetest.ResumableStore {
			g := mustNew(t, storagetest.Disk(t, dir), Config{MinTries: 1})
			t.Cleanup(func() {
				if g.Failures() != 0 || g.Retries() != 0 || g.State() != "closed" {
					t.Errorf("%d failures, %d retries, %s: a caller's error counts as the store's",
						g.Failures(), g.Retries(), g.State())
				}
			})
			pieces, _ := storage.As[storage.Resumable](g.Store())
			return struct {
				storage.Store
				storage.Resumable
			}{g.Store(), pieces}
		}
	})
}

// failingResumable is a store whose calls fail until it has had enough of them.
type failingResumable struct {
	storage.Store
	storage.Resumable
	failing, calls int
}

func (f *failingResumable) fate() error {
	if f.calls++; f.calls <= f.failing {
		return errMedium
	}
	return nil
}

func (f *failingResumable) Begin(context.Context, string, int64) error { return f.fate() }

func (f *failingResumable) Kept(context.Context, string) (int64, error) { return 7, f.fate() }

func (f *failingResumable) Append(
	_ context.Context, _ string, offset int64, r io.Reader, _ *storage.Checksum,
) (int64, error) {
	n, err := io.Copy(io.Discard, r)
	return offset + n, errors.Join(err, f.fate())
}

func (f *failingResumable) Finish(context.Context, string) (storage.Info, error) {
	return storage.Info{}, f.fate()
}

func (f *failingResumable) Abandon(context.Context, string) error { return f.fate() }

// TestResumableRetries checks that all calls are retried but Append, and that Append says what is kept.
func TestResumableRetries(t *testing.T) {
	ctx := context.Background()
	for name, call := range map[string]func(s storage.Resumable) error{
		"begin":   func(s storage.Resumable) error { return s.Begin(ctx, "k", 0) },
		"kept":    func(s storage.Resumable) error { _, err := s.Kept(ctx, "k"); return err },
		"finish":  func(s storage.Resumable) error { _, err := s.Finish(ctx, "k"); return err },
		"abandon": func(s storage.Resumable) error { return s.Abandon(ctx, "k") },
	} {
		f := &failingResumable{failing: 2}
		g := mustNew(t, f, Config{FirstDelay: 1})
		s, _ := storage.As[storage.Resumable](g.Store())
		if err := call(s); err != nil || f.calls != 3 || g.Failures() != 2 {
			t.Errorf("%s: %v after %d calls", name, err, f.calls)
		}
	}
	f := &failingResumable{failing: 2}
	g := mustNew(t, f, Config{FirstDelay: 1})
	s, _ := storage.As[storage.Resumable](g.Store())
	kept, err := s.Append(ctx, "k", 5, strings.NewReader("abc"), nil)
	if !errors.Is(err, errMedium) || kept != 8 || f.calls != 1 || g.Failures() != 1 {
		t.Errorf("append: %d, %v after %d calls", kept, err, f.calls)
	}
	boom := errors.New("boom")
	if _, err := s.Append(ctx, "k", 5, iotest.ErrReader(boom), nil); !errors.Is(err, boom) || g.Failures() != 1 {
		t.Errorf("append of a broken reader: %v, %d failures", err, g.Failures())
	}
}

// TestResumableIsNotMadeUp checks that the guarded store is Resumable only if the wrapped one is.
func TestResumableIsNotMadeUp(t *testing.T) {
	d := storagetest.Disk(t, t.TempDir())
	bare := struct{ storage.Store }{d}
	type local = storage.LocalPather
	type sign = storage.Presigner
	type resume = storage.Resumable
	type parts = storage.MultipartPresigner
	for name, c := range map[string]struct {
		s                   storage.Store
		local, sign, resume bool
		parts               bool
	}{
		"none": {s: bare},
		"local": {s: struct {
			storage.Store
			local
		}{d, d}, local: true},
		"sign": {s: signing{d}, sign: true},
		"both": {s: struct {
			storage.Store
			local
			sign
		}{d, d, signing{d}}, local: true, sign: true},
		"resume": {s: struct {
			storage.Store
			resume
		}{d, d}, resume: true},
		"disk":  {s: d, local: true, resume: true},
		"parts": {s: &failingMultipart{Store: d}, parts: true},
		"bucket": {s: struct {
			storage.Store
			sign
			resume
		}{d, signing{d}, d}, sign: true, resume: true},
		"all": {s: struct {
			storage.Store
			local
			sign
			resume
		}{d, d, signing{d}, d}, local: true, sign: true, resume: true},
	} {
		s := mustNew(t, c.s, Config{}).Store()
		_, isLocal := storage.As[storage.LocalPather](s)
		_, isSigner := storage.As[storage.Presigner](s)
		_, isResumable := storage.As[storage.Resumable](s)
		_, hasParts := storage.As[parts](s)
		if isLocal != c.local || isSigner != c.sign || isResumable != c.resume || hasParts != c.parts {
			t.Errorf("%s: local %v, signer %v, resumable %v, parts %v", name, isLocal, isSigner, isResumable, hasParts)
		}
	}
}
