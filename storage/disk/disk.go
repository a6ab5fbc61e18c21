// Package disk is a storage.Store in a folder. It owns that folder: an object is a file whose path below
// the folder is its key, and .tmp holds what is being written. Nothing else is kept, no index and no side
// file, so a copy of the folder is a backup.
//
// A Put, step by step, and what a power cut after the step leaves:
//
//  1. write .tmp/<random>, under an advisory lock        a leftover, removed by the next Open or Reclaim
//  2. compare the size, fsync the file, close it         the same
//  3. make the folders of the key                        the same, and empty folders
//  4. rename to the key (IfAbsent: link, then unlink)    the old object, or the new one whole
//  5. fsync the key's folder and all above it            the new object
//
// Every access goes through os.Root, so neither a key nor a symbolic link leads out of the folder. Files
// are 0600 and folders 0700: uploads are private, and whoever serves them otherwise runs as the same user
// or goes through the API.
//
// Several processes may share the folder, if its file system has hard links, flock and an atomic rename
// among all of them (local ones do; so does NFS from version 4).
//
// Not given: on a file system that lies about fsync, durability. Between a key and the keys below it
// ("a" and "a/b") there is a choice, as one name is a file or a folder: the second one gets storage.ErrKey.
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

// tmpDir holds unfinished files. No key begins with a dot, so it is no object's folder.
const tmpDir = ".tmp"

// Store is a storage.Store, LocalPather, PrefixDeleter and Reclaimer in a folder. Open makes one.
type Store struct {
	root *os.Root
	dir  string // absolute
}

// Open takes dir, made with mode 0700 when missing, as a store, and removes what killed writers left in
// it. The caller closes the store.
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
	s := &Store{root: root, dir: abs}
	if _, err := s.Reclaim(context.Background(), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", abs, err), root.Close())
	}
	return s, nil
}

// makeRoot makes the store's folder and its .tmp, and lets both survive a power cut.
func makeRoot(abs string) error {
	if err := os.MkdirAll(filepath.Join(abs, tmpDir), 0o700); err != nil {
		return err
	}
	// The folders above abs are the administrator's, but the last may be ours, so its parent is synced.
	for _, dir := range []string{abs, filepath.Dir(abs)} {
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrPermission) {
			continue // a parent we may not read is no parent we made
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

// Close gives the folder back. Readers that are open stay so; every other call fails from now on.
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

// open opens the object. A folder, a socket or what else may stand there is no object.
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

// reader is an open object, or a part of it, that ends with its context.
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

// LocalPath implements storage.LocalPather. A symbolic link that leads out of the store has no path here.
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

// check is what every method asks first.
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

// syncUp makes the names of dir's entries, and those of all folders above it, survive a power cut. All of
// them, as a folder that is there already may have been made a moment ago by a Put that has not synced
// it yet. A folder that is gone was pruned after a Delete of our object: nothing is left to be saved there.
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

// syncClose syncs and closes f, and reports both.
func syncClose(f *os.File) error {
	return errors.Join(f.Sync(), f.Close())
}
