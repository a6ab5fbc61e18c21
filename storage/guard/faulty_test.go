package guard

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/reelmill/reelmill/storage"
)

var errMedium = errors.New("the medium failed")

// faulty fails a share of a store's operations, drawn from a seed, before or after their effect, and breaks
// bodies and listings midway. It does not fail a Put that cannot be retried, since the guard would rightly
// pass on that error.
type faulty struct {
	inner interface {
		storage.Store
		storage.LocalPather
		storage.PrefixDeleter
		storage.Reclaimer
	}
	rate   float64
	bodies bool // break bodies, too

	mu     sync.Mutex
	random *rand.Rand
	faults int
}

func newFaulty(s storage.Store, seed uint64, rate float64) *faulty {
	f := &faulty{rate: rate, bodies: true, random: rand.New(rand.NewPCG(seed, seed))}
	f.inner = s.(interface {
		storage.Store
		storage.LocalPather
		storage.PrefixDeleter
		storage.Reclaimer
	})
	return f
}

// fate reports whether an operation fails before its effect, or after it.
func (f *faulty) fate() (before, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.Float64() >= f.rate {
		return false, false
	}
	f.faults++
	before = f.random.IntN(2) == 0
	return before, !before
}

func (f *faulty) upTo(n int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.Int64N(n + 1)
}

func (f *faulty) do(effect func() error) error {
	before, after := f.fate()
	if before {
		return errMedium
	}
	err := effect()
	if err == nil && after {
		return errMedium
	}
	return err
}

func (f *faulty) Put(
	ctx context.Context, key string, r io.Reader, o storage.PutOptions,
) (info storage.Info, err error) {
	if src, ok := r.(*source); ok && src.seeker == nil {
		return f.inner.Put(ctx, key, r, o)
	}
	err = f.do(func() (err error) { info, err = f.inner.Put(ctx, key, r, o); return err })
	if err != nil {
		info = storage.Info{}
	}
	return info, err
}

func (f *faulty) Get(
	ctx context.Context, key string, rng storage.Range,
) (r io.ReadCloser, info storage.Info, err error) {
	err = f.do(func() (err error) { r, info, err = f.inner.Get(ctx, key, rng); return err })
	if err != nil {
		if r != nil {
			_ = r.Close()
		}
		return nil, storage.Info{}, err
	}
	before, after := f.fate()
	if !f.bodies || !before && !after {
		return r, info, nil
	}
	// Half of the broken bodies end as if they were complete.
	b := &breaking{ReadCloser: r, left: f.upTo(info.Size), err: errMedium}
	if after {
		b.err = io.EOF
	}
	return b, info, nil
}

// breaking is a body that breaks after some bytes.
type breaking struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (f *faulty) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	err = f.do(func() (err error) { info, err = f.inner.Stat(ctx, key); return err })
	return info, err
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		before, after := f.fate()
		left := int64(-1)
		if before {
			left = f.upTo(20)
		}
		for info, err := range f.inner.List(ctx, prefix) {
			if left == 0 {
				yield(storage.Info{}, errMedium)
				return
			}
			left--
			if !yield(info, err) || err != nil {
				return
			}
		}
		if after {
			yield(storage.Info{}, errMedium)
		}
	}
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	return f.do(func() error { return f.inner.Delete(ctx, key) })
}

func (f *faulty) DeletePrefix(ctx context.Context, prefix string) (n int, err error) {
	err = f.do(func() (err error) { n, err = f.inner.DeletePrefix(ctx, prefix); return err })
	return n, err
}

func (f *faulty) Reclaim(ctx context.Context, olderThan time.Duration) (n int, err error) {
	err = f.do(func() (err error) { n, err = f.inner.Reclaim(ctx, olderThan); return err })
	return n, err
}

func (f *faulty) LocalPath(key string) (string, bool) { return f.inner.LocalPath(key) }

// scripted is a store with the methods that a test sets; the others panic.
type scripted struct {
	storage.Store
	put    func(r io.Reader, o storage.PutOptions) (storage.Info, error)
	get    func(rng storage.Range) (io.ReadCloser, storage.Info, error)
	stat   func() (storage.Info, error)
	delete func() error
	list   func() iter.Seq2[storage.Info, error]
}

func (s *scripted) Put(_ context.Context, _ string, r io.Reader, o storage.PutOptions) (storage.Info, error) {
	return s.put(r, o)
}

func (s *scripted) Get(_ context.Context, _ string, rng storage.Range) (io.ReadCloser, storage.Info, error) {
	return s.get(rng)
}

func (s *scripted) Stat(context.Context, string) (storage.Info, error) { return s.stat() }

func (s *scripted) Delete(context.Context, string) error { return s.delete() }

func (s *scripted) List(context.Context, string) iter.Seq2[storage.Info, error] { return s.list() }
