package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// What is kept of the stills of one video. Older images make room for new ones.
const (
	keptStills     = 100
	keptStillBytes = 32 << 20
	// stillTime is how long one image may take, with its wait for its turn.
	stillTime = 60 * time.Second
	// mostStillBytes is more than an image may have.
	mostStillBytes = 33 << 20
)

// stills makes still images and keeps them in the store, below the video, so that they go with it:
//
//  1. An image that is kept is read.
//  2. Otherwise one request makes it, and all that want the same wait for it (singleflight). Few are made at
//     once (Limits.Stills), some more wait, and the next ones are refused: each takes a process.
//  3. The image is kept, and the oldest ones beyond the limit are deleted.
//
// The making does not end with the request that began it, since others may wait. It ends with close.
type stills struct {
	cfg    Config
	flight singleflight.Group
	turns  chan struct{} // holds a value for each image that is being made
	room   chan struct{} // and for each that is being made or waits
	gate   *gate         // for clients

	ctx    context.Context // of all that is made
	cancel context.CancelFunc
	mu     sync.Mutex // guards the beginning of tasks against close
	tasks  sync.WaitGroup
}

func newStills(cfg Config) *stills {
	k := &stills{
		cfg: cfg, turns: make(chan struct{}, cfg.Limits.Stills), room: make(chan struct{}, cfg.Limits.MaxStills),
		gate: newGate(math.MaxInt, cfg.Limits.MaxClientStills),
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// close ends what is being made, and waits for it.
func (k *stills) close() {
	k.mu.Lock()
	k.cancel()
	k.mu.Unlock()
	k.tasks.Wait()
}

// get returns an image of a video.
func (k *stills) get(ctx context.Context, video string, s pipeline.Still) ([]byte, error) {
	key := pipeline.StillsPrefix(video) + stillName(s)
	data, err := k.kept(ctx, key)
	switch {
	case err == nil:
		return data, nil
	case !errors.Is(err, storage.ErrNotFound):
		return nil, fail(codeStorageFailed, "The object store did not answer.").because(err)
	}
	leave, _ := k.gate.enter(clientOf(ctx))
	if leave == nil {
		return nil, fail(codeClientStills, "%d requests from your address wait for thumbnails, which is the limit "+
			"for one.", k.gate.each)
	}
	defer leave()
	made := k.flight.DoChan(key, func() (any, error) { return k.begin(video, key, s) })
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-made:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.([]byte), nil
	}
}

// kept returns an image that is kept. Another error than storage.ErrNotFound is that of the store.
func (k *stills) kept(ctx context.Context, key string) ([]byte, error) {
	r, _, err := k.cfg.Store.Get(ctx, key, storage.Range{})
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, mostStillBytes))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return data, nil
}

// begin makes an image, unless too many are being made. A panic would end the process, since the goroutine is
// not one of net/http.
func (k *stills) begin(video, key string, s pipeline.Still) (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			k.cfg.Logger.Error("panic", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			data, err = nil, fail(codeInternal, "The server failed in an unexpected way.")
		}
	}()
	k.mu.Lock()
	err = k.ctx.Err()
	if err == nil {
		k.tasks.Add(1)
	}
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer k.tasks.Done()
	select {
	case k.room <- struct{}{}:
		defer func() { <-k.room }()
	default:
		return nil, fail(codeTooManyStills, "%d thumbnails are being made or wait, which is the limit.",
			cap(k.room))
	}
	ctx, cancel := context.WithTimeout(k.ctx, stillTime)
	defer cancel()
	select {
	case k.turns <- struct{}{}:
		defer func() { <-k.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return k.make(ctx, video, key, s)
}

// make makes an image and keeps it. One that cannot be kept is answered all the same.
func (k *stills) make(ctx context.Context, video, key string, s pipeline.Still) ([]byte, error) {
	if err := k.cfg.FreeSpace(); err != nil {
		return nil, err
	}
	data, err := k.cfg.Stills.Still(ctx, s)
	if errors.Is(err, storage.ErrNotFound) { // deleted a moment ago
		return nil, fail(codeNotFound, "There is no such video.").because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("make a thumbnail: %w", err)
	}
	if err := k.keep(ctx, video, key, data); err != nil {
		k.cfg.Logger.WarnContext(ctx, "keep a thumbnail; it is made anew next time", "key", key, "error", err)
	}
	return data, nil
}

// keep stores an image, and deletes the oldest of its video beyond the limit.
func (k *stills) keep(ctx context.Context, video, key string, data []byte) error {
	_, err := k.cfg.Store.Put(ctx, key, bytes.NewReader(data), storage.PutOptions{Size: int64(len(data))})
	if err != nil {
		return err
	}
	var all []storage.Info
	for info, err := range k.cfg.Store.List(ctx, pipeline.StillsPrefix(video)) {
		if err != nil {
			return err
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b storage.Info) int { return b.Modified.Compare(a.Modified) }) // newest first
	sum := int64(0)
	for i, info := range all {
		if sum += info.Size; i < keptStills && sum <= keptStillBytes || info.Key == key {
			continue
		}
		if err := k.cfg.Store.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return nil
}
