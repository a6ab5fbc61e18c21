package disk_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/storagetest"
)

// TestFoldersThatVanish removes folders below a store that is open. Without its .tmp the store goes on, and
// without its own folder a Put fails, but not as one of an object that is missing.
func TestFoldersThatVanish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := storagetest.Disk(t, dir)
	put(t, s, "v/a.bin", "a")
	for _, gone := range []string{".tmp", "v"} {
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Reclaim(context.Background(), 0); n != 0 || err != nil {
			t.Errorf("reclaim without %s: %d, %v", gone, n, err)
		}
		for _, o := range []storage.PutOptions{{}, {IfAbsent: true}} {
			key := "v/" + gone[1:] + "b.bin"
			if o.IfAbsent {
				key = "v/" + gone[1:] + "c.bin"
			}
			if _, err := s.Put(context.Background(), key, strings.NewReader("b"), o); err != nil {
				t.Errorf("put without %s: %v", gone, err)
			}
		}
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, ".tmp")), os.Symlink("nowhere", filepath.Join(dir, ".tmp"))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(context.Background(), "v/d.bin", strings.NewReader("d"), storage.PutOptions{}); err == nil {
		t.Error("put with a .tmp that leads nowhere succeeds")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(context.Background(), "v/d.bin", strings.NewReader("d"), storage.PutOptions{})
	if err == nil || errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrExists) {
		t.Errorf("put without the store's folder: %v", err)
	}
}

// TestFileThatShrinks checks that the reader of an object that another program cuts ends, and that a Get of
// bytes beyond the new end is refused.
func TestFileThatShrinks(t *testing.T) {
	dir := t.TempDir()
	s := storagetest.Disk(t, dir)
	put(t, s, "v/a.bin", "0123456789")
	r, info, err := s.Get(context.Background(), "v/a.bin", storage.Range{Offset: 2})
	if err != nil || info.Size != 10 {
		t.Fatal(info, err)
	}
	if err := os.Truncate(filepath.Join(dir, "v", "a.bin"), 5); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); string(body) != "234" || err != nil {
		t.Errorf("read %q, %v", body, err)
	}
	for offset, want := range map[int64]error{4: nil, 5: storage.ErrRange} {
		r, _, err := s.Get(context.Background(), "v/a.bin", storage.Range{Offset: offset})
		if !errors.Is(err, want) {
			t.Errorf("get from %d: %v, want %v", offset, err, want)
		}
		if err == nil && r.Close() != nil {
			t.Error("it cannot be closed")
		}
	}
}

// TestEndedContextStopsHalfway checks that a listing, a deletion and a reclaim stop between two objects, and
// say how far they came.
func TestEndedContextStopsHalfway(t *testing.T) {
	dir := t.TempDir()
	s := storagetest.Disk(t, dir)
	for _, key := range []string{"v/a.bin", "v/b.bin", "v/c/d.bin"} {
		put(t, s, key, "x")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var listed []string
	var ended error
	for info, err := range s.List(ctx, "v/") {
		if err != nil {
			ended = err
			break
		}
		listed = append(listed, info.Key)
		cancel()
	}
	if len(listed) != 1 || !errors.Is(ended, context.Canceled) {
		t.Errorf("listed %q, then %v", listed, ended)
	}
	if err := os.WriteFile(filepath.Join(dir, ".tmp", "DEAD"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(context.Context) (int, error){
		"delete":  func(ctx context.Context) (int, error) { return s.DeletePrefix(ctx, "v/") },
		"reclaim": func(ctx context.Context) (int, error) { return s.Reclaim(ctx, 0) },
	} {
		if n, err := call(ctx); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if n, err := s.Reclaim(context.Background(), 0); n != 1 || err != nil {
		t.Errorf("reclaim: %d, %v", n, err)
	}
	if n, err := s.DeletePrefix(context.Background(), "v/"); n != 3 || err != nil {
		t.Errorf("delete: %d, %v", n, err)
	}
}

// TestClosedStore checks that no call on a closed store succeeds, or takes an object for missing.
func TestClosedStore(t *testing.T) {
	s, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "v/a.bin", "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"put": func() error {
			_, err := s.Put(ctx, "v/b.bin", strings.NewReader("b"), storage.PutOptions{})
			return err
		},
		"get":     func() error { _, _, err := s.Get(ctx, "v/a.bin", storage.Range{}); return err },
		"delete":  func() error { return s.Delete(ctx, "v/a.bin") },
		"prefix":  func() error { _, err := s.DeletePrefix(ctx, "v/"); return err },
		"reclaim": func() error { _, err := s.Reclaim(ctx, 0); return err },
		"list": func() (err error) {
			for _, err = range s.List(ctx, "") {
			}
			return err
		},
	} {
		if err := call(); err == nil || errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if path, ok := s.LocalPath("v/a.bin"); ok {
		t.Errorf("local path %s", path)
	}
}
