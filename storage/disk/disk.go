// Package disk is a storage.Store in a folder. It owns that folder: an object is a file whose path below
// the folder is its key, .tmp holds unfinished writes, and .partial unfinished objects (storage.Resumable).
// There is no index, and objects have no side files, so a copy of the folder is a backup. Leave .partial
// out of a copy that is made while the store is in use.
//
// A Put, step by step, and what a power cut after the step leaves:
//
//  1. write .tmp/<random>, under an advisory lock        a leftover, removed by the next Open or Reclaim
//  2. compare the size, fsync the file, close it         the same
//  3. make the folders of the key                        the same, and empty folders
//  4. rename to the key (IfAbsent: link, then unlink)    the old object, or the new one whole
//  5. fsync the key's folder and all above it            the new object
//
// An unfinished object has two files in .partial: its bytes, and a note of how many of them are synced,
// with the state of their SHA-256. A lock on the note makes a second writer fail with storage.ErrBusy. An
// Append:
//
//  1. write the bytes                                    the bytes of the last note; others are cut off
//  2. fsync the bytes, during a long Append, too         the same
//  3. write a note over the older of two, and sync it    the bytes of the new note
//
// After the death of the process alone, all written bytes count, since the page cache outlives it: the note
// holds the boot id of the kernel. Bytes with a checksum count when it is known to be right. Finish
// compares the size, moves the file of the bytes to the key, as in steps 3 to 5 of a Put, and removes the
// note. A note without its bytes, or with fewer than it says, is damaged, and counts as no unfinished
// object.
//
// Every access goes through os.Root, so neither a key nor a symbolic link leads out of the folder. Files
// have mode 0600 and folders 0700, because uploads are private: another server of these files runs as the
// same user or goes through the API.
//
// Several processes may share the folder if its file system gives all of them hard links, flock and an
// atomic rename. Local file systems do; so does NFS from version 4.
//
// Not guaranteed: durability on a file system that lies about fsync. A name is either a file or a folder,
// so "a" and "a/b" cannot both be keys: the second one fails with storage.ErrKey.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/reelmill/reelmill/storage"
)

// tmpDir holds unfinished files. No key begins with a dot, so no object is in it.
const tmpDir = ".tmp"

// Store is a storage.Store, LocalPather, PrefixDeleter, Reclaimer and Resumable in a folder. Open makes one.
type Store struct {
	root *os.Root
	dir  string               // absolute
	boot string               // bootID
	sync func(*os.File) error // syncData; a test makes it fail
}

// Open opens the folder dir as a store, creates it with mode 0700 if it is missing, and removes what killed
// writers left in it. The caller closes the store.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	if err := makeRoot(abs); err != nil {
		return nil, fmt.Errorf("open store %s: %w", abs, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", abs, err)
	}
	s := &Store{root: root, dir: abs, boot: bootID(), sync: syncData}
	if _, err := s.Reclaim(context.Background(), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", abs, err), root.Close())
	}
	return s, nil
}

// makeRoot makes the store's folder and its .tmp, and syncs both to disk.
func makeRoot(abs string) error {
	if err := os.MkdirAll(filepath.Join(abs, tmpDir), 0o700); err != nil {
		return err
	}
	// The folders above abs are the administrator's, but we may have made abs itself: sync its parent.
	for _, dir := range []string{abs, filepath.Dir(abs)} {
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrPermission) {
			continue // we cannot read this parent, so we did not make abs
		}
		if err != nil {
			return err
		}
		if err := syncClose(f); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the folder. Open readers stay usable; every other call fails from now on.
func (s *Store) Close() error {
	return s.root.Close()
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := check(ctx, key); err != nil {
		return nil, storage.Info{}, fmt.Errorf("get: %w", err)
	}
	f, info, err := s.open(key)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %s: %w", key, err)
	}
	offset, length, err := rng.Resolve(info.Size)
	if err != nil {
		return nil, storage.Info{}, errors.Join(fmt.Errorf("get %s: %w", key, err), f.Close())
	}
	return &reader{ctx, io.NewSectionReader(f, offset, length), f}, info, nil
}

// open opens the object. Anything but a regular file, such as a folder or a socket, is not an object.
func (s *Store) open(key string) (*os.File, storage.Info, error) {
	f, err := s.root.Open(key)
	if err != nil {
		return nil, storage.Info{}, mapError(err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = storage.ErrNotFound
	}
	if err != nil {
		return nil, storage.Info{}, errors.Join(err, f.Close())
	}
	return f, infoOf(key, fi), nil
}

// reader reads an open object, or a part of it, until its context ends.
type reader struct {
	ctx context.Context
	io.Reader
	io.Closer
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := check(ctx, key); err != nil {
		return storage.Info{}, fmt.Errorf("stat: %w", err)
	}
	info, err := s.stat(key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return info, nil
}

func (s *Store) stat(key string) (storage.Info, error) {
	fi, err := s.root.Stat(key)
	if err != nil {
		return storage.Info{}, mapError(err)
	}
	if !fi.Mode().IsRegular() {
		return storage.Info{}, storage.ErrNotFound
	}
	return infoOf(key, fi), nil
}

// LocalPath implements storage.LocalPather. A symbolic link that leads out of the store has no path.
func (s *Store) LocalPath(key string) (string, bool) {
	if storage.ValidKey(key) != nil {
		return "", false
	}
	if _, err := s.stat(key); err != nil {
		return "", false
	}
	return filepath.Join(s.dir, filepath.FromSlash(key)), true
}

func infoOf(key string, fi fs.FileInfo) storage.Info {
	return storage.Info{
		Key:         key,
		Size:        fi.Size(),
		ContentType: storage.ContentType(key),
		Modified:    fi.ModTime(),
	}
}

// check refuses an ended context and an invalid key. Every method calls it first.
func check(ctx context.Context, key string) error {
	if err := storage.ValidKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// mapError adds the contract's error to an error of the file system.
func mapError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: %w", storage.ErrExists, err)
	}
	return err
}

// syncUp syncs dir and all folders above it, so that the names in them survive a power cut. It syncs
// folders that existed before too, since another Put may have made one a moment ago and not synced it yet.
// A folder that is gone was pruned after a Delete of our object: there is nothing left to save.
func (s *Store) syncUp(dir string) error {
	for ; ; dir = path.Dir(dir) {
		f, err := s.root.Open(dir)
		if err == nil {
			err = syncClose(f)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync folder %s: %w", dir, err)
		}
		if dir == "." {
			return nil
		}
	}
}

// syncClose syncs and closes f, and returns the errors of both.
func syncClose(f *os.File) error {
	return errors.Join(f.Sync(), f.Close())
}
