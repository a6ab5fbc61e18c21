package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/reelmill/reelmill/storage"
)

// pieces is a store that takes objects in pieces, which it keeps in memory.
type pieces struct {
	storage.Store
	mu sync.Mutex
	of map[string]*piece
}

type piece struct {
	size int64
	kept []byte
	busy bool
}

func newPieces(s storage.Store) storage.Store {
	if _, ok := s.(storage.Resumable); ok {
		return s
	}
	return &pieces{Store: s, of: map[string]*piece{}}
}

func (p *pieces) Begin(_ context.Context, key string, size int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[key] == nil {
		p.of[key] = &piece{size: size}
	}
	return nil
}

func (p *pieces) Kept(_ context.Context, key string) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[key] == nil {
		return 0, storage.ErrNotFound
	}
	return int64(len(p.of[key].kept)), nil
}

func (p *pieces) take(key string) (*piece, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of[key]
	switch {
	case one == nil:
		return nil, storage.ErrNotFound
	case one.busy:
		return nil, storage.ErrBusy
	}
	one.busy = true
	return one, nil
}

func (p *pieces) Append(_ context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum) (int64, error) {
	one, err := p.take(key)
	if err != nil {
		return 0, err
	}
	defer func() { one.busy = false }()
	before := int64(len(one.kept))
	if before != offset {
		return before, storage.ErrOffset
	}
	raw, err := io.ReadAll(r)
	if sum != nil {
		sum.Hash.Write(raw)
		if err == nil && !bytes.Equal(sum.Hash.Sum(nil), sum.Want) {
			err = storage.ErrChecksum
		}
		if err != nil {
			return before, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one.kept = append(one.kept, raw...)
	return int64(len(one.kept)), err
}

func (p *pieces) Finish(ctx context.Context, key string) (storage.Info, error) {
	one, err := p.take(key)
	if errors.Is(err, storage.ErrNotFound) {
		r, _, err := p.Get(ctx, key, storage.Range{})
		if err != nil {
			return storage.Info{}, err
		}
		raw, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return storage.Info{}, err
		}
		return p.Put(ctx, key, bytes.NewReader(raw), storage.PutOptions{})
	}
	if err != nil {
		return storage.Info{}, err
	}
	defer func() { one.busy = false }()
	if one.size > 0 && one.size != int64(len(one.kept)) {
		return storage.Info{}, storage.ErrSize
	}
	info, err := p.Put(ctx, key, bytes.NewReader(one.kept), storage.PutOptions{})
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.of, key)
	}
	return info, err
}

func (p *pieces) Abandon(_ context.Context, key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.of[key]; one != nil && one.busy {
		return storage.ErrBusy
	}
	delete(p.of, key)
	return nil
}
