package workers

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func put(t *testing.T, s storage.Store, key, contents string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(contents), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, contents string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// remote is a store whose objects are not local files. The sizes that it reports are wrong by lie.
type remote struct {
	storage.Store
	lie  int64
	gets atomic.Int32
}

// scratchOn returns the scratch of a process on an unlimited disk.
func scratchOn(t *testing.T, s storage.Store) *scratch {
	t.Helper()
	return newScratch(Config{Store: s, Scratch: t.TempDir()}.withDefaults())
}

func (r *remote) Get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info,
	error) {
	r.gets.Add(1)
	body, info, err := r.Store.Get(ctx, key, rng)
	info.Size += r.lie
	return body, info, err
}

func TestLocalInPlace(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	put(t, s, "videos/v/source/original.mp4", "film")
	dir := t.TempDir()
	p, err := storeFiles{store: s}.Local(t.Context(), "videos/v/source/original.mp4", dir)
	if err != nil || filepath.Dir(p) == dir {
		t.Fatalf("%s, %v: a local store needs no copy", p, err)
	}
	if raw, err := os.ReadFile(p); err != nil || string(raw) != "film" {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestLocalCopies(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	put(t, s, "videos/v/source/original.mp4", "film")
	r := &remote{Store: s}
	dir := t.TempDir()
	files := storeFiles{store: r, scratch: scratchOn(t, r)}
	for range 2 {
		p, err := files.Local(t.Context(), "videos/v/source/original.mp4", dir)
		if err != nil || filepath.Dir(p) != dir || filepath.Ext(p) != ".mp4" {
			t.Fatalf("%s, %v", p, err)
		}
		if raw, err := os.ReadFile(p); err != nil || string(raw) != "film" {
			t.Errorf("%q, %v", raw, err)
		}
	}
	if n := r.gets.Load(); n != 1 {
		t.Errorf("read %d times: a copy is made once per attempt", n)
	}
}

func TestLocalFails(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	put(t, s, "videos/v/source/a.mp4", "film")
	for name, test := range map[string]struct {
		lie  int64
		key  string
		want error
	}{
		"missing":        {0, "videos/v/source/b.mp4", storage.ErrNotFound},
		"shorter":        {5, "videos/v/source/a.mp4", nil},
		"longer":         {-1, "videos/v/source/a.mp4", nil},
		"no room for it": {math.MaxInt64 / 2, "videos/v/source/a.mp4", storage.ErrFull},
	} {
		dir := t.TempDir()
		r := &remote{Store: s, lie: test.lie}
		p, err := storeFiles{store: r, scratch: scratchOn(t, r)}.Local(t.Context(), test.key, dir)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %s, %v", name, p, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	gone := newScratch(Config{Scratch: filepath.Join(t.TempDir(), "gone")}.withDefaults())
	if err := gone.room(1); err == nil || errors.Is(err, storage.ErrFull) {
		t.Errorf("the room of no directory: %v", err)
	}
}
