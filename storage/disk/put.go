package disk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/reelmill/reelmill/storage"
)

// copyBuffer is how many bytes Put reads, hashes and writes at a time.
const copyBuffer = 256 << 10

// Put implements storage.Store. The package comment lists its steps.
func (s *Store) Put(
	ctx context.Context, key string, r io.Reader, o storage.PutOptions,
) (storage.Info, error) {
	if err := check(ctx, key); err != nil {
		return storage.Info{}, fmt.Errorf("put: %w", err)
	}
	info, err := s.put(ctx, key, r, o)
	if err != nil {
		return storage.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	return info, nil
}

func (s *Store) put(
	ctx context.Context, key string, r io.Reader, o storage.PutOptions,
) (info storage.Info, err error) {
	if o.IfAbsent {
		// This saves writing gigabytes in vain; the link below decides.
		if _, err := s.stat(key); err == nil {
			return info, storage.ErrExists
		}
	}
	tmp, f, err := s.createTemp()
	if err != nil {
		return info, err
	}
	moved := false
	defer func() {
		// Keep the lock, and with it the file, until the temporary name is gone: Open in another process
		// must not remove the file as a leftover while we publish it.
		if !moved {
			err = errors.Join(err, ignoreMissing(s.root.Remove(tmp)))
		}
		err = errors.Join(err, mapError(f.Close()))
	}()
	sum, err := fill(ctx, f, r, o.Size)
	if err != nil {
		return info, err
	}
	fi, err := f.Stat()
	if err != nil {
		return info, err
	}
	info = infoOf(key, fi)
	info.SHA256 = sum
	if moved, err = s.publish(ctx, tmp, key, o.IfAbsent); err != nil {
		return info, err
	}
	return info, s.syncUp(path.Dir(key))
}

// tempTries is how often createTemp makes a file.
const tempTries = 100

// createTemp makes a temporary file and locks it. A Reclaim may remove the file in between; then the name
// leads elsewhere or nowhere, and createTemp makes another one. If somebody removed .tmp, it makes that too.
func (s *Store) createTemp() (name string, f *os.File, err error) {
	for range tempTries {
		name = path.Join(tmpDir, rand.Text())
		f, err = s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			if err = s.root.Mkdir(tmpDir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
				continue
			}
			return "", nil, errors.New("make folder " + tmpDir + ": " + err.Error()) // not ErrNotFound
		}
		if err != nil {
			return "", nil, fmt.Errorf("create temporary file: %w", mapError(err))
		}
		if err = lock(f); err != nil {
			return "", nil, errors.Join(fmt.Errorf("lock temporary file: %w", err), s.root.Remove(name), f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return "", nil, errors.Join(err, f.Close())
		}
		named, err := s.root.Stat(name)
		if err == nil && os.SameFile(mine, named) {
			return name, f, nil
		}
		if err = errors.Join(ignoreMissing(err), f.Close()); err != nil {
			return "", nil, err
		}
	}
	return "", nil, fmt.Errorf("create temporary file: %s is no folder, or its files vanish", tmpDir)
}

// fill copies r to f, syncs f, and returns the hash. want is PutOptions.Size.
func fill(ctx context.Context, f *os.File, r io.Reader, want int64) (string, error) {
	src := io.Reader(&reader{ctx: ctx, Reader: r})
	if want > 0 {
		src = io.LimitReader(src, want+1) // one byte too many is enough to know
	}
	hash := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(fileWriter{f}, hash), src, make([]byte, copyBuffer))
	if err != nil {
		return "", err
	}
	if want > 0 && n != want {
		return "", fmt.Errorf("read %d of %d bytes: %w", n, want, storage.ErrSize)
	}
	if err := f.Sync(); err != nil {
		return "", mapError(err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// fileWriter maps the errors of writing only: an error of the caller's reader passes unchanged.
type fileWriter struct{ f *os.File }

// Write implements io.Writer.
func (w fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = mapError(err)
	}
	return n, err
}

// publish renames or links the temporary file to the key. If a Delete prunes the key's folder meanwhile,
// publish makes it again; each such round takes a whole Delete of a sibling, so the loop ends. moved is
// false while the temporary name still exists: after an error, and after a link.
func (s *Store) publish(ctx context.Context, tmp, key string, ifAbsent bool) (moved bool, err error) {
	name := s.root.Rename
	if ifAbsent {
		name = s.root.Link
	}
	for {
		if err := s.makeFolder(ctx, path.Dir(key)); err != nil {
			return false, err
		}
		err := name(tmp, key)
		switch {
		case err == nil:
			return !ifAbsent, nil
		case errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist) && s.isFolder(key):
			return false, fmt.Errorf("%w: there are objects below it: %w", storage.ErrKey, err)
		case !errors.Is(err, fs.ErrNotExist):
			return false, mapError(err)
		}
		if _, gone := s.root.Lstat(tmp); gone != nil {
			return false, fmt.Errorf("find temporary file: %w", gone)
		}
	}
}

// makeFolder makes dir and the folders above it. os.Root reports "exists" when a file is in the way and,
// rarely, when another process made or pruned the folder meanwhile; makeFolder tries again in the second
// case.
func (s *Store) makeFolder(ctx context.Context, dir string) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.root.MkdirAll(dir, 0o700)
		if err == nil {
			return nil
		}
		for up := dir; up != "."; up = path.Dir(up) {
			if fi, statErr := s.root.Lstat(up); statErr == nil && !fi.IsDir() {
				return fmt.Errorf("%w: %s is no folder: %w", storage.ErrKey, up, err)
			}
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return mapError(err)
		}
	}
}

func (s *Store) isFolder(key string) bool {
	fi, err := s.root.Lstat(key)
	return err == nil && fi.IsDir()
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
