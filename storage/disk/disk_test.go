package disk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		dir := t.TempDir()
		t.Cleanup(func() { wantNoFiles(t, filepath.Join(dir, ".tmp")) }) // whatever the suite did
		return storagetest.Disk(t, dir)
	})
}

func TestResumable(t *testing.T) {
	storagetest.RunResumable(t, 256<<10, func(t *testing.T) func() storagetest.ResumableStore {
		dir := t.TempDir()
		return func() storagetest.ResumableStore { return storagetest.Disk(t, dir) }
	})
}

func put(t *testing.T, s storage.Store, key, body string) {
	t.Helper()
	if _, err := s.Put(context.Background(), key, strings.NewReader(body), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func wantNoFiles(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if len(entries) != 0 || err != nil {
		t.Errorf("%s holds %v (%v), want nothing", dir, entries, err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	s := storagetest.Disk(t, filepath.Join(dir, "new", "store"))
	put(t, s, "a/b.bin", "x")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := disk.Open(file); err == nil {
		t.Errorf("opened a file: %v", s)
	} else if !strings.Contains(err.Error(), file) {
		t.Errorf("error %q does not name the file", err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	put(t, storagetest.Disk(t, dir), "a/b.bin", "x")
	for name, want := range map[string]fs.FileMode{
		".": 0o700, ".tmp": 0o700, "a": 0o700, "a/b.bin": 0o600,
	} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", name, fi.Mode().Perm(), err, want)
		}
	}
}

func TestLocalPath(t *testing.T) {
	t.Chdir(t.TempDir())
	s := storagetest.Disk(t, "store") // relative, but the path is still absolute
	put(t, s, "a/b.bin", "hello")
	path, ok := s.LocalPath("a/b.bin")
	body, err := os.ReadFile(path)
	if !ok || !filepath.IsAbs(path) || string(body) != "hello" {
		t.Errorf("local path %q, %v holds %q (%v)", path, ok, body, err)
	}
}

// TestLeftovers opens a folder in which one writer was killed and another is at work.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := storagetest.Disk(t, dir)
	r, w := io.Pipe()
	var g errgroup.Group
	g.Go(func() error {
		_, err := s.Put(context.Background(), "v/live.bin", r, storage.PutOptions{})
		return err
	})
	if _, err := w.Write([]byte("live ")); err != nil { // returns when the Put has read it
		t.Fatal(err)
	}
	dead := filepath.Join(dir, ".tmp", "DEAD")
	if err := os.WriteFile(dead, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Reclaim(context.Background(), time.Hour); n != 0 || err != nil {
		t.Errorf("reclaim of files an hour old: %d, %v", n, err)
	}
	other := storagetest.Disk(t, dir)
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("leftover of a dead writer: %v", err)
	}
	if _, err := w.Write([]byte("and well")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), g.Wait()); err != nil {
		t.Fatal(err)
	}
	path, ok := other.LocalPath("v/live.bin")
	if body, err := os.ReadFile(path); !ok || string(body) != "live and well" {
		t.Errorf("live writer stored %q (%v)", body, err)
	}
}

// TestForeignFiles puts entries into the folder that no Put makes.
func TestForeignFiles(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := storagetest.Disk(t, dir)
	secret := filepath.Join(outside, "secret.txt")
	errs := errors.Join(
		os.WriteFile(secret, []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(dir, ".hidden"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "with space"), nil, 0o600),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
		os.Symlink(secret, filepath.Join(dir, "file.txt")),
		os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink("../../"+filepath.Base(outside), filepath.Join(dir, "up")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
	)
	if errs != nil {
		t.Fatal(errs)
	}
	ctx := context.Background()
	for info, err := range s.List(ctx, "") {
		t.Errorf("list shows %+v, %v", info, err)
	}
	for _, key := range []string{"file.txt", "out/secret.txt", "up/secret.txt", "out", "folder", "dangling"} {
		if r, _, err := s.Get(ctx, key, storage.Range{}); err == nil {
			t.Errorf("get %s: no error, and a reader %v", key, r)
		}
		if info, err := s.Stat(ctx, key); err == nil {
			t.Errorf("stat %s: %+v", key, info)
		}
		if path, ok := s.LocalPath(key); ok {
			t.Errorf("local path of %s: %s", key, path)
		}
	}
	for _, key := range []string{"out/new.txt", "out/secret.txt", "up/new.txt", "dangling/new.txt"} {
		if _, err := s.Put(ctx, key, strings.NewReader("x"), storage.PutOptions{}); err == nil {
			t.Errorf("put %s followed the link", key)
		}
		if err := s.Delete(ctx, key); err == nil && !strings.HasPrefix(key, "dangling") {
			t.Errorf("delete %s followed the link", key)
		}
	}
	entries, err := os.ReadDir(outside)
	body, readErr := os.ReadFile(secret)
	if len(entries) != 1 || string(body) != "secret" {
		t.Errorf("outside: %v, %q (%v, %v)", entries, body, err, readErr)
	}
	wantNoFiles(t, filepath.Join(dir, ".tmp"))
}

// TestKeyAndFolder gives one name to an object and to a folder of objects.
func TestKeyAndFolder(t *testing.T) {
	dir := t.TempDir()
	s := storagetest.Disk(t, dir)
	put(t, s, "a/b", "x")
	for _, key := range []string{"a", "a/b/c"} {
		for _, ifAbsent := range []bool{false, true} {
			o := storage.PutOptions{IfAbsent: ifAbsent}
			_, err := s.Put(context.Background(), key, strings.NewReader("y"), o)
			if !errors.Is(err, storage.ErrKey) || errors.Is(err, storage.ErrExists) {
				t.Errorf("put %s, if absent %v: %v, want ErrKey", key, ifAbsent, err)
			}
		}
	}
	wantNoFiles(t, filepath.Join(dir, ".tmp"))
}

// TestPrune checks that deleting leaves no folder, and that two stores on one folder, like those of two
// processes, never remove a folder during the other's Put.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	stores := []*disk.Store{storagetest.Disk(t, dir), storagetest.Disk(t, dir)}
	g, ctx := errgroup.WithContext(context.Background())
	for w := range 4 {
		s := stores[w%2]
		g.Go(func() error {
			key := fmt.Sprintf("a/b/c/%d/x.bin", w/2*w) // workers 0 and 1 share one; all share a/b/c
			for i := range 100 {
				o := storage.PutOptions{IfAbsent: i%2 == 0}
				_, err := s.Put(ctx, key, strings.NewReader("x"), o)
				if errors.Is(err, storage.ErrExists) && o.IfAbsent {
					err = nil
				}
				if w == 3 && err == nil { // the only key that no other worker uses
					_, err = s.Stat(ctx, key)
				}
				if err := errors.Join(err, s.Delete(ctx, key)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if len(entries) != 1 || err != nil {
		t.Errorf("folder holds %v (%v), want .tmp alone", entries, err)
	}
}

func TestClosed(t *testing.T) {
	s, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a.bin", "hello")
	r, _, err := s.Get(context.Background(), "a.bin", storage.Range{})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r); string(body) != "hello" || err != nil {
		t.Errorf("reader that was open reads %q, %v", body, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(context.Background(), "a.bin"); err == nil || errors.Is(err, storage.ErrNotFound) {
		t.Errorf("stat in a closed store: %v", err)
	}
}
