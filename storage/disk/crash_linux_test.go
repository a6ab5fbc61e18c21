package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/storagetest"
)

// TestKill kills a process at random moments of its puts. Everything that it reported as stored is there in
// full, everything else that is there is complete too, and no other files remain.
func TestKill(t *testing.T) {
	for puts := range 8 {
		dir := t.TempDir()
		stored := killAfter(t, dir, puts)
		s := storagetest.Disk(t, dir)
		for info, err := range s.List(context.Background(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != childSize {
				t.Errorf("after %d puts %s has %d bytes, want %d", puts, info.Key, info.Size, childSize)
			}
		}
		for _, key := range stored {
			r, _, err := s.Get(context.Background(), key, storage.Range{})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(body, bytes.Repeat([]byte{'x'}, childSize)) {
				t.Errorf("%s holds something else", key)
			}
		}
		wantNoFiles(t, filepath.Join(dir, ".tmp"))
	}
}

// killAfter runs childPut, kills it somewhere after as many puts, and returns the keys that it reported.
func killAfter(t *testing.T, dir string, puts int) (stored []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), childEnv+"=put")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for len(stored) < puts && lines.Scan() {
		stored = append(stored, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what it reported before it died
		stored = append(stored, lines.Text())
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("child was not killed: %v", err)
	}
	if len(stored) < puts {
		t.Fatalf("child stored %d objects, want %d", len(stored), puts)
	}
	return stored
}

const childSize = 3 << 20

// childPut puts objects and reports each one, until it is killed.
func childPut() int {
	s, err := disk.Open(os.Args[1])
	for i := 0; err == nil; i++ {
		key := fmt.Sprintf("v/%d/x.bin", i)
		r := bytes.NewReader(bytes.Repeat([]byte{'x'}, childSize))
		if _, err = s.Put(context.Background(), key, r, storage.PutOptions{IfAbsent: i%2 == 0}); err == nil {
			_, err = fmt.Println(key)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestFull fills a file system of 1 MiB. The mount is in a mount namespace of the child process, and
// disappears with it. Where the kernel does not allow such a namespace, only TestFullDevice gets ENOSPC from
// the kernel.
func TestFull(t *testing.T) {
	user := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	for _, attr := range []*syscall.SysProcAttr{user, {Cloneflags: syscall.CLONE_NEWNS}} {
		cmd := exec.Command(os.Args[0], t.TempDir())
		cmd.Env = append(os.Environ(), childEnv+"=full")
		cmd.SysProcAttr = attr
		out, err := cmd.CombinedOutput()
		switch {
		case cmd.ProcessState == nil, cmd.ProcessState.ExitCode() == childNoMount:
			t.Logf("no file system of our own here (%v): %s", err, out)
		case err != nil:
			t.Fatalf("%v\n%s", err, out)
		default:
			return
		}
	}
}

const childNoMount = 77

// childFull mounts a small file system, fills it, and makes room again.
func childFull() int {
	dir := os.Args[1]
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fmt.Println("keep mounts private:", err)
		return childNoMount
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("mount:", err)
		return childNoMount
	}
	if err := fillAndRecover(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func fillAndRecover(dir string) error {
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	body := strings.Repeat("x", 600<<10)
	if _, err := s.Put(ctx, "v/1.bin", strings.NewReader(body), storage.PutOptions{}); err != nil {
		return err
	}
	for range 3 { // each leaves nothing behind, or the next would find less room
		_, err = s.Put(ctx, "v/2.bin", strings.NewReader(body), storage.PutOptions{})
		if !errors.Is(err, storage.ErrFull) {
			return fmt.Errorf("put on a full disk: %v, want ErrFull", err)
		}
	}
	if _, err := s.Stat(ctx, "v/2.bin"); !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("stat of an object that did not fit: %v", err)
	}
	if err := s.Delete(ctx, "v/1.bin"); err != nil {
		return fmt.Errorf("delete on a full disk: %w", err)
	}
	if _, err := s.Put(ctx, "v/2.bin", strings.NewReader(body), storage.PutOptions{}); err != nil {
		return fmt.Errorf("put when there is room again: %w", err)
	}
	if err := fillByPieces(dir, s); err != nil {
		return fmt.Errorf("in pieces: %w", err)
	}
	return s.Close()
}

// fillByPieces fills the rest of a file system with an object in pieces, and goes on when there is room again.
func fillByPieces(dir string, s *disk.Store) error {
	const key = "v/3.bin"
	ctx, body := context.Background(), bytes.Repeat([]byte("0123456789abcdef"), 700<<6)
	if err := s.Begin(ctx, key, int64(len(body))); err != nil {
		return err
	}
	last := int64(0)
	for range 3 {
		kept, err := s.Append(ctx, key, last, bytes.NewReader(body[last:]), nil)
		if !errors.Is(err, storage.ErrFull) || kept < last || kept >= int64(len(body)) || kept == 0 {
			return fmt.Errorf("append on a full disk: %d bytes are kept after %d, %v; want ErrFull", kept, last, err)
		}
		if told, err := s.Kept(ctx, key); told != kept || err != nil {
			return fmt.Errorf("%d bytes are kept, %v; the append said %d", told, err, kept)
		}
		last = kept
	}
	sum := &storage.Checksum{Hash: sha256.New(), Want: make([]byte, sha256.Size)}
	if kept, err := s.Append(ctx, key, last, bytes.NewReader(body[last:]), sum); !errors.Is(err, storage.ErrFull) || kept != last {
		return fmt.Errorf("append with a checksum: %d, %v", kept, err)
	}
	filler := filepath.Join(dir, ".filler") // takes what the object has no use for
	if err := os.WriteFile(filler, body, 0o600); err == nil {
		return errors.New("the disk is not full")
	}
	if err := s.Begin(ctx, "v/4.bin", 1); !errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("begin on a full disk: %v", err)
	}
	if _, err := s.Kept(ctx, "v/4.bin"); !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("something is left of it: %v", err)
	}
	if _, err := s.Finish(ctx, key); !errors.Is(err, storage.ErrSize) {
		return fmt.Errorf("finish of a part: %v", err)
	}
	if err := errors.Join(s.Delete(ctx, "v/2.bin"), os.Remove(filler)); err != nil {
		return err
	}
	if kept, err := s.Append(ctx, key, last, bytes.NewReader(body[last:]), nil); err != nil || kept != int64(len(body)) {
		return fmt.Errorf("append when there is room again: %d, %v", kept, err)
	}
	info, err := s.Finish(ctx, key)
	want := sha256.Sum256(body)
	if err != nil || info.SHA256 != hex.EncodeToString(want[:]) {
		return fmt.Errorf("finish: %+v, %v", info, err)
	}
	return s.Begin(ctx, "v/4.bin", 1)
}
