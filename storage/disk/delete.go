package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/storage"
)

// Delete implements storage.Store. It also removes the folders that become empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := s.remove(key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// DeletePrefix implements storage.PrefixDeleter.
func (s *Store) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	n := 0
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			return n, fmt.Errorf("delete prefix: %w", err)
		}
		removed, err := s.remove(info.Key)
		if err != nil {
			return n, fmt.Errorf("delete prefix: %s: %w", info.Key, err)
		}
		if removed {
			n++
		}
	}
	return n, nil
}

// remove unlinks the object and prunes the empty folders above it. It only unlinks files: Remove would also
// delete an empty folder that a Put is about to use. That would be harmless, but a folder is not an object.
func (s *Store) remove(key string) (removed bool, err error) {
	fi, err := s.root.Lstat(key)
	if err == nil && fi.IsDir() {
		return false, nil
	}
	if err == nil {
		err = s.root.Remove(key)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.prune(path.Dir(key))
}

// prune removes dir and the folders above it while they are empty. The kernel decides whether one is empty:
// rmdir fails for a folder in which a Put has just created something.
func (s *Store) prune(dir string) error {
	for ; dir != "."; dir = path.Dir(dir) {
		err := s.root.Remove(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist): // or another process pruned it
		case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, fs.ErrExist): // not empty: systems differ
			return nil
		default:
			return fmt.Errorf("remove empty folder: %w", err)
		}
	}
	return nil
}

// Reclaim implements storage.Reclaimer. It removes temporary files that nobody has locked: their processes
// are dead. It keeps those of live processes, however old.
func (s *Store) Reclaim(ctx context.Context, olderThan time.Duration) (int, error) {
	entries, err := s.readDir(tmpDir)
	if err != nil {
		return 0, fmt.Errorf("reclaim: %w", err)
	}
	n := 0
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		removed, err := s.reclaimFile(path.Join(tmpDir, e.Name()), olderThan)
		if err != nil {
			return n, fmt.Errorf("reclaim: %w", err)
		}
		if removed {
			n++
		}
	}
	return n, nil
}

func (s *Store) reclaimFile(name string, olderThan time.Duration) (removed bool, err error) {
	fi, err := s.root.Lstat(name)
	if err != nil || !fi.Mode().IsRegular() || time.Since(fi.ModTime()) < olderThan {
		return false, ignoreMissing(err)
	}
	f, err := s.root.Open(name)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if free, err := tryLock(f); err != nil || !free {
		return false, err
	}
	err = s.root.Remove(name)
	return err == nil, ignoreMissing(err)
}

var (
	_ storage.Store         = (*Store)(nil)
	_ storage.LocalPather   = (*Store)(nil)
	_ storage.PrefixDeleter = (*Store)(nil)
	_ storage.Reclaimer     = (*Store)(nil)
)
