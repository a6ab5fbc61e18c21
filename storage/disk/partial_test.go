package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

const partialKey = "v/p.bin"

// left makes an unfinished object with 10 bytes that are synced and 5 that are not, as a killed Append leaves
// them, and returns the paths of its files.
func left(t *testing.T, s *Store) (data, note string) {
	t.Helper()
	ctx := context.Background()
	if err := s.Begin(ctx, partialKey, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, partialKey, 0, bytes.NewReader([]byte("0123456789")), nil); err != nil {
		t.Fatal(err)
	}
	data, note = partialNames(partialKey)
	data, note = filepath.Join(s.dir, data), filepath.Join(s.dir, note)
	f, err := os.OpenFile(data, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("abcde"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return data, note
}

func openTest(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestReboot checks that after a reboot only synced bytes count, and after the death of a process all.
func TestReboot(t *testing.T) {
	for boot, want := range map[string]string{
		"": "0123456789", "another": "0123456789", bootID(): "0123456789abcde",
	} {
		for _, ask := range []bool{true, false} { // Kept first, or not
			s := openTest(t, t.TempDir())
			left(t, s)
			s.boot = boot
			ctx := context.Background()
			if kept, err := s.Kept(ctx, partialKey); ask && (err != nil || kept != int64(len(want))) {
				t.Fatalf("boot %q: kept %d, %v; want %d", boot, kept, err, len(want))
			}
			if _, err := s.Append(ctx, partialKey, int64(len(want)), bytes.NewReader([]byte("X")), nil); err != nil {
				t.Fatal(err)
			}
			wantFinish(t, s, want+"X")
		}
	}
}

// TestRebootWhileChecking checks that bytes whose checksum nobody has compared never count.
func TestRebootWhileChecking(t *testing.T) {
	s := openTest(t, t.TempDir())
	left(t, s)
	p, err := s.openPartial(partialKey)
	if err != nil {
		t.Fatal(err)
	}
	n := p.old
	n.Checking = true
	if err := errors.Join(p.keepState(n), p.close()); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.Kept(context.Background(), partialKey); kept != 10 || err != nil {
		t.Fatalf("kept %d, %v; want 10", kept, err)
	}
	wantFinish(t, s, "0123456789")
}

func wantFinish(t *testing.T, s *Store, want string) {
	t.Helper()
	info, err := s.Finish(context.Background(), partialKey)
	sum := sha256.Sum256([]byte(want))
	body, readErr := os.ReadFile(filepath.Join(s.dir, partialKey))
	if err != nil || readErr != nil || string(body) != want || info.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("finished %q, %+v, %v, %v; want %q", body, info, err, readErr, want)
	}
	if entries, err := os.ReadDir(filepath.Join(s.dir, partialDir)); len(entries) != 0 || err != nil {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestDamagedNote damages a note in each slot, in both, and the bytes: the object is as after an earlier note, or
// there is none, and it can begin again. It never has other bytes.
func TestDamagedNote(t *testing.T) {
	flip := func(at ...int64) func(data, note string) error {
		return func(_, note string) error {
			b, err := os.ReadFile(note)
			for _, i := range at {
				b[i] ^= 1
			}
			return errors.Join(err, os.WriteFile(note, b, 0o600))
		}
	}
	for name, c := range map[string]struct {
		damage func(data, note string) error
		kept   int64 // -1: none
	}{
		"first slot":  {flip(200), 15},
		"second slot": {flip(slotSize + 200), 15},
		"both slots":  {flip(200, slotSize+200), -1},
		"empty note":  {func(_, note string) error { return os.Truncate(note, 0) }, -1},
		"no bytes":    {func(data, _ string) error { return os.Remove(data) }, -1},
		"fewer bytes": {func(data, _ string) error { return os.Truncate(data, 9) }, -1},
	} {
		s := openTest(t, t.TempDir())
		ctx := context.Background()
		if err := c.damage(left(t, s)); err != nil {
			t.Fatal(err)
		}
		kept, err := s.Kept(ctx, partialKey)
		if c.kept >= 0 {
			if err != nil || kept != c.kept {
				t.Errorf("%s: kept %d, %v; want %d", name, kept, err, c.kept)
			}
			wantFinish(t, s, "0123456789abcde")
			continue
		}
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: kept %d, %v", name, kept, err)
		}
		if _, err := s.Finish(ctx, partialKey); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: finish: %v", name, err)
		}
		if err := s.Begin(ctx, partialKey, 0); err != nil {
			t.Errorf("%s: begin: %v", name, err)
		}
		if kept, err := s.Kept(ctx, partialKey); kept != 0 || err != nil {
			t.Errorf("%s: kept after begin: %d, %v", name, kept, err)
		}
		if err := s.Abandon(ctx, partialKey); err != nil {
			t.Errorf("%s: abandon: %v", name, err)
		}
	}
}

// TestBusyAcrossStores checks that two stores on one folder, like two processes, exclude each other.
func TestBusyAcrossStores(t *testing.T) {
	dir := t.TempDir()
	s, other := openTest(t, dir), openTest(t, dir)
	left(t, s)
	p, err := s.openPartial(partialKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Append(context.Background(), partialKey, 10, nil, nil); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("append: %v", err)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	wantFinish(t, other, "0123456789abcde")
}

// BenchmarkAppend compares Append and Finish of 256 MiB with a copy that is synced.
func BenchmarkAppend(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body := bytes.Repeat([]byte("0123456789abcdef"), 16<<20)
	b.SetBytes(int64(len(body)))
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for i := range b.N {
			key, ctx := fmt.Sprintf("a/%d.bin", i), context.Background()
			err := s.Begin(ctx, key, int64(len(body)))
			if err == nil {
				_, err = s.Append(ctx, key, 0, bytes.NewReader(body), nil)
			}
			if err == nil {
				_, err = s.Finish(ctx, key)
			}
			if err := errors.Join(err, s.Delete(ctx, key)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for range b.N {
			f, err := os.CreateTemp(s.dir, "copy")
			if err != nil {
				b.Fatal(err)
			}
			_, err = f.Write(body)
			if err := errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
