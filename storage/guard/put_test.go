package guard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

// failingPuts is a store that fails the first tries of a Put after reading half of it.
func failingPuts(tries *int, failing int, got *string) *scripted {
	return &scripted{
		put: func(r io.Reader, _ storage.PutOptions) (storage.Info, error) {
			if *tries++; *tries <= failing {
				_, _ = r.Read(make([]byte, 2))
				return storage.Info{}, errMedium
			}
			b, err := io.ReadAll(r)
			*got = string(b)
			return storage.Info{Size: int64(len(b))}, err
		},
	}
}

// TestPutRewinds puts from the middle of a file, and retries from there.
func TestPutRewinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries int
		var got string
		g := mustNew(t, failingPuts(&tries, 3, &got), Config{})
		r := strings.NewReader("headbody")
		if _, err := r.Seek(4, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		info, err := g.Store().Put(t.Context(), "k", r, storage.PutOptions{})
		if err != nil || got != "body" || info.Size != 4 || tries != 4 || g.Retries() != 3 {
			t.Errorf("%v: stored %q in %d tries", err, got, tries)
		}
	})
}

func TestPutOnce(t *testing.T) {
	pipe, w, err := os.Pipe() // a file that cannot be rewound
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := w.WriteString("body"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"stream": io.LimitReader(strings.NewReader("body"), 9), "pipe": pipe} {
		var tries int
		var got string
		g := mustNew(t, failingPuts(&tries, 1, &got), Config{})
		_, err = g.Store().Put(t.Context(), "k", r, storage.PutOptions{})
		if !errors.Is(err, errMedium) || tries != 1 || g.Failures() != 1 {
			t.Errorf("%s: %v in %d tries", name, err, tries)
		}
	}
}

// failingReader can seek, but its reads fail.
type failingReader struct{ io.Reader }

func (failingReader) Seek(int64, int) (int64, error) { return 0, nil }

func TestReaderFails(t *testing.T) {
	for _, fault := range []error{errors.New("boom"), io.ErrUnexpectedEOF, storage.ErrNotFound} {
		var tries int
		var got string
		g := mustNew(t, failingPuts(&tries, 0, &got), Config{MinTries: 1})
		_, err := g.Store().Put(t.Context(), "k", failingReader{iotest.ErrReader(fault)}, storage.PutOptions{})
		if !errors.Is(err, fault) || tries != 1 || g.Failures() != 0 || g.State() != "closed" {
			t.Errorf("%v: %v in %d tries, %d failures", fault, err, tries, g.Failures())
		}
	}
}

func TestRewindFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		s := &scripted{put: func(io.Reader, storage.PutOptions) (storage.Info, error) {
			tries++
			return storage.Info{}, errors.Join(errMedium, f.Close())
		}}
		g := mustNew(t, s, Config{})
		_, err = g.Store().Put(t.Context(), "k", f, storage.PutOptions{})
		if !errors.Is(err, os.ErrClosed) || tries != 1 || g.Failures() != 1 {
			t.Errorf("%v in %d tries", err, tries)
		}
	})
}

// TestIfAbsent covers the ways in which another object can come to exist.
func TestIfAbsent(t *testing.T) {
	const body = "the body"
	for name, c := range map[string]struct {
		before, during string // another writer's object, before the Put and before its second try
		stored         bool   // the first try fails after it has stored the object
		want           error
	}{
		"nobody else":              {},
		"answer lost":              {stored: true},
		"there before":             {before: body, want: storage.ErrExists},
		"other is faster":          {during: "another", want: storage.ErrExists},
		"other of the same size":   {during: "his body", want: storage.ErrExists},
		"other of the same bytes":  {during: body},
		"lost, and another's over": {stored: true, during: "his body", want: storage.ErrExists},
	} {
		t.Run(name, func(t *testing.T) {
			d := storagetest.Disk(t, t.TempDir())
			other := func(body string) {
				if body == "" {
					return
				}
				if _, err := d.Put(t.Context(), "k.bin", strings.NewReader(body), storage.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			other(c.before)
			f := &lostAnswer{Store: d, stored: c.stored, then: func() { other(c.during) }}
			r := &reader{ReadSeeker: bytes.NewReader([]byte(body))}
			g := mustNew(t, f, Config{FirstDelay: 1})
			info, err := g.Store().Put(t.Context(), "k.bin", r, storage.PutOptions{IfAbsent: true})
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			sum, size, _ := sum(strings.NewReader(body))
			if err == nil && (info.SHA256 != sum || info.Size != size || info.Key != "k.bin" || info.Modified.IsZero()) {
				t.Errorf("says %+v", info)
			}
			if c.before != "" && (f.tries != 0 || r.rewinds != 0) {
				t.Errorf("%d tries for an object that is known to exist", f.tries)
			}
		})
	}
}

// lostAnswer fails the first Put, before or after its effect.
type lostAnswer struct {
	storage.Store
	stored bool
	then   func()
	tries  int
}

func (l *lostAnswer) Put(ctx context.Context, key string, r io.Reader, o storage.PutOptions) (storage.Info, error) {
	if l.tries++; l.tries > 1 {
		return l.Store.Put(ctx, key, r, o)
	}
	if l.stored {
		if _, err := l.Store.Put(ctx, key, r, o); err != nil {
			return storage.Info{}, err
		}
	}
	l.then()
	return storage.Info{}, errMedium
}
