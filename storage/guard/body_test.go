package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/storage"
)

const text = "0123456789"

// brittle returns a store of one object whose bodies each break after step bytes.
func brittle(step int, fault error, asked *[]storage.Range) *scripted {
	return &scripted{get: func(rng storage.Range) (io.ReadCloser, storage.Info, error) {
		*asked = append(*asked, rng)
		offset, length, err := rng.Resolve(int64(len(text)))
		if err != nil {
			return nil, storage.Info{}, err
		}
		part := text[offset : offset+length]
		r := io.MultiReader(strings.NewReader(part[:min(step, len(part))]), iotest.ErrReader(fault))
		return io.NopCloser(iotest.OneByteReader(r)), storage.Info{Size: int64(len(text))}, nil
	}}
}

func TestBodyHeals(t *testing.T) {
	for _, fault := range []error{errMedium, io.EOF, io.ErrUnexpectedEOF} {
		for step := 1; step <= len(text); step++ {
			for _, rng := range []storage.Range{{}, {Offset: 3}, {Offset: 2, Length: 5}, {Offset: 9, Length: 9}} {
				var asked []storage.Range
				g := mustNew(t, brittle(step, fault, &asked), Config{MinTries: 1000})
				r, info, err := g.Store().Get(t.Context(), "k", rng)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				offset, length, _ := rng.Resolve(info.Size)
				want := text[offset : offset+length]
				if err = errors.Join(err, r.Close()); err != nil || string(got) != want {
					t.Errorf("%v after %d of %+v: %q, %v", fault, step, rng, got, err)
				}
				times := (len(want) - 1) / step
				if len(asked) != 1+times || g.Retries() != uint64(times) || g.Failures() != uint64(times) {
					t.Errorf("%v after %d of %+v: asked for %v, %d retries", fault, step, rng, asked, g.Retries())
				}
			}
		}
	}
}

func TestBodyGivesUp(t *testing.T) {
	for resumes, want := range map[int]string{-1: "0", 3: "0123", 0: text} {
		var asked []storage.Range
		g := mustNew(t, brittle(1, errMedium, &asked), Config{Resumes: resumes, MinTries: 1000})
		r, _, err := g.Store().Get(t.Context(), "k", storage.Range{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != want || (err == nil) != (want == text) || err != nil && !errors.Is(err, errMedium) {
			t.Errorf("%d resumptions: %q, %v", resumes, got, err)
		}
		if _, again := r.Read(make([]byte, 1)); err != nil && again != err {
			t.Errorf("%d resumptions: read again: %v", resumes, again)
		}
	}
}

// TestBodyChanged replaces or deletes an object while its body breaks.
func TestBodyChanged(t *testing.T) {
	for name, c := range map[string]struct {
		info storage.Info
		err  error
	}{
		"size":    {storage.Info{Size: 5}, nil},
		"time":    {storage.Info{Size: 4, Modified: time.Unix(2, 0)}, nil},
		"deleted": {storage.Info{}, storage.ErrNotFound},
	} {
		gets, closed := 0, 0
		s := &scripted{get: func(storage.Range) (io.ReadCloser, storage.Info, error) {
			if gets++; gets == 1 {
				r := io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(errMedium))
				return &counted{r, &closed}, storage.Info{Size: 4, Modified: time.Unix(1, 0)}, nil
			}
			if c.err != nil {
				return nil, storage.Info{}, c.err
			}
			return &counted{strings.NewReader("CD"), &closed}, c.info, nil
		}}
		r, _, err := mustNew(t, s, Config{}).Store().Get(t.Context(), "k", storage.Range{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != "ab" || !errors.Is(err, errMedium) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: read after close: %v", name, err)
		}
		opened := gets
		if c.err != nil {
			opened = 1
		}
		if closed != opened {
			t.Errorf("%s: %d readers closed of %d opened", name, closed, opened)
		}
	}
}

type counted struct {
	io.Reader
	closed *int
}

func (c *counted) Close() error { *c.closed++; return nil }

// TestListRestarts breaks each listing one key later than the one before.
func TestListRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, listings := []string{"a", "b", "c", "d"}, 0
		s := &scripted{list: func() iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) {
				listings++
				for _, key := range keys[:min(listings, len(keys))] {
					if !yield(storage.Info{Key: key}, nil) {
						return
					}
				}
				if listings <= len(keys) {
					yield(storage.Info{}, errMedium)
				}
			}
		}}
		var got []string
		for info, err := range mustNew(t, s, Config{}).Store().List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
		}
		if !slices.Equal(got, keys) || listings != 5 {
			t.Errorf("%q in %d listings", got, listings)
		}
		for info := range mustNew(t, s, Config{}).Store().List(t.Context(), "") {
			if info.Key != "a" {
				t.Errorf("%s after the end", info.Key)
			}
			break
		}
		errs := 0
		for info, err := range mustNew(t, &scripted{list: func() iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) { yield(storage.Info{}, errMedium) }
		}}, Config{}).Store().List(t.Context(), "") {
			if errs++; !errors.Is(err, errMedium) || info != (storage.Info{}) {
				t.Errorf("%v, %+v", err, info)
			}
		}
		if errs != 1 {
			t.Errorf("%d errors", errs)
		}
	})
}

func ExampleGuard() {
	s := &scripted{delete: func() error { return errors.New("connection refused") }}
	g, err := New(s, Config{Name: "s3 bucket media", Tries: 3, FirstDelay: 1, MinTries: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println(g.Store().Delete(ctx, "a"))
	fmt.Println(g.State())
	fmt.Println(g.Store().Delete(ctx, "a"))
	// Output:
	// connection refused
	// open
	// s3 bucket media: circuit breaker is open: storage is unavailable, the last failure was "connection refused": check that the store is up, reachable and allows access; it is tried again by itself within 5s
}
