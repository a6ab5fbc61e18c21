package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/storage"
)

func roundTrip(t *testing.T, s storage.Store) {
	for _, n := range []int{1, 4096, 100_000, 5 << 20, large} {
		body := contentBytes(t, n, n)
		key := fmt.Sprintf("videos/v/job/7/%d.mp4", n)
		before := time.Now().Add(-2 * time.Second) // a store may round to seconds
		mustPut(t, s, key, body)
		mustHold(t, s, key, body)
		info, err := s.Stat(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != key || info.Size != int64(n) || info.Modified.Before(before) {
			t.Errorf("stat says %+v", info)
		}
	}
}

func emptyObject(t *testing.T, s storage.Store) {
	mustPut(t, s, "empty", nil)
	mustHold(t, s, "empty", nil)
	_, _, err := s.Get(context.Background(), "empty", storage.Range{Length: 1})
	mustFail(t, "get the first byte of nothing", err, storage.ErrRange)
}

// streamUnknownSize puts and gets more than a part, and checks that the store does not collect it in
// memory: its total allocations, freed or not, must be smaller than the object.
func streamUnknownSize(t *testing.T, s storage.Store) {
	const size = 40 << 20
	hash := sha256.New()
	ctx := context.Background()
	var info storage.Info
	var err error
	grown := allocated(func() {
		info, err = s.Put(ctx, "stream.mp4", io.TeeReader(content(1, size), hash), storage.PutOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := hex.EncodeToString(hash.Sum(nil))
	if info.Size != size || info.SHA256 != want {
		t.Errorf("put says %d bytes, %s; want %d, %s", info.Size, info.SHA256, size, want)
	}
	if grown >= size {
		t.Errorf("put allocated %d bytes for an object of %d", grown, size)
	}
	hash.Reset()
	grown = allocated(func() {
		var r io.ReadCloser
		if r, _, err = s.Get(ctx, "stream.mp4", storage.Range{}); err == nil {
			_, err = io.Copy(hash, r)
			err = errors.Join(err, r.Close())
		}
	})
	if got := hex.EncodeToString(hash.Sum(nil)); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if grown >= size/4 {
		t.Errorf("get allocated %d bytes for an object of %d", grown, size)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func contentTypes(t *testing.T, s storage.Store) {
	for _, key := range []string{"v/master.m3u8", "v/manifest.mpd", "v/1.m4s", "v/x.vtt", "v/p.webp", "v/none"} {
		info, err := s.Put(context.Background(), key, bytes.NewReader([]byte("x")), storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if want := storage.ContentType(key); info.ContentType != want {
			t.Errorf("put %s says %q, want %q", key, info.ContentType, want)
		}
		if _, info = mustGet(t, s, key, storage.Range{}); info.ContentType != storage.ContentType(key) {
			t.Errorf("get %s says %q, want %q", key, info.ContentType, storage.ContentType(key))
		}
	}
}

// overwriteAtomic puts versions of different sizes, each of one repeated byte, while readers loop over the
// key. A reader always sees one whole version.
func overwriteAtomic(t *testing.T, s storage.Store) {
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100_000*(1+i%4)) }
	mustPut(t, s, "v/o.bin", version(0))
	written := make(chan struct{})
	g, ctx := errgroup.WithContext(context.Background())
	g.Go(func() error {
		defer close(written)
		for i := 1; i <= 40; i++ {
			if _, err := s.Put(ctx, "v/o.bin", bytes.NewReader(version(i)), storage.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	for range 3 {
		g.Go(func() error {
			for {
				select {
				case <-written:
					return nil
				default:
				}
				if err := readVersion(ctx, s, version); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, "v/o.bin", version(40))
}

func readVersion(ctx context.Context, s storage.Store, version func(int) []byte) error {
	r, info, err := s.Get(ctx, "v/o.bin", storage.Range{})
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if len(b) == 0 {
		return errors.New("read nothing")
	}
	if !bytes.Equal(b, version(int(b[0]))) || info.Size != int64(len(b)) {
		return fmt.Errorf("read %d bytes beginning with %d, said to be %d", len(b), b[0], info.Size)
	}
	return nil
}

func ifAbsent(t *testing.T, s storage.Store) {
	ctx := context.Background()
	first := contentBytes(t, 1, 1000)
	o := storage.PutOptions{IfAbsent: true}
	if _, err := s.Put(ctx, "v/a.bin", bytes.NewReader(first), o); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{10, large} {
		_, err := s.Put(ctx, "v/a.bin", content(2, n), o)
		mustFail(t, "second put", err, storage.ErrExists)
		mustHold(t, s, "v/a.bin", first)
	}
	if err := s.Delete(ctx, "v/a.bin"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, "v/a.bin", content(3, 10), o); err != nil {
		t.Errorf("put after delete: %v", err)
	}
}

// ifAbsentRace starts several puts of one key and blocks their readers until all have passed any early
// check of the key. So only the store's last step can decide.
func ifAbsentRace(t *testing.T, s storage.Store) {
	for _, size := range []int{1000, large} {
		const writers = 4
		key := fmt.Sprintf("v/%d.bin", size)
		var begun sync.WaitGroup
		begun.Add(writers)
		errs := make([]error, writers)
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				r := &gate{Reader: content(i, size), begun: &begun}
				_, errs[i] = s.Put(context.Background(), key, r, storage.PutOptions{IfAbsent: true})
				r.open() // unblock the others if this put never read
			})
		}
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("%d bytes: writers %d and %d both won", size, winner, i)
			case err == nil:
				winner = i
			default:
				mustFail(t, fmt.Sprintf("%d bytes: writer %d", size, i), err, storage.ErrExists)
			}
		}
		if winner < 0 {
			t.Fatalf("%d bytes: no Put won", size)
		}
		mustHold(t, s, key, contentBytes(t, winner, size))
	}
	if n, err := storage.DeletePrefix(context.Background(), s, "v/"); n != 2 || err != nil {
		t.Errorf("delete prefix: %d, %v; want the two winners", n, err)
	}
	mustBeEmpty(t, s) // the losers leave nothing
}

// gate is a reader whose first Read waits until all of its group have got there.
type gate struct {
	io.Reader
	begun *sync.WaitGroup
	once  sync.Once
}

func (g *gate) open() { g.once.Do(g.begun.Done) }

// Read implements io.Reader.
func (g *gate) Read(p []byte) (int, error) {
	g.open()
	g.begun.Wait()
	return g.Reader.Read(p)
}
