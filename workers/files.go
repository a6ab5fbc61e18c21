package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/storage"
)

// storeFiles is Files on an object store.
type storeFiles struct {
	store storage.Store
}

// scratchReserve is the free space that a copy leaves on the scratch disk.
const scratchReserve = 256 << 20

// Local returns the object's own path where the store has one, else a copy below dir: made once per attempt,
// no larger than the object is said to be, and only when the disk has room.
func (f storeFiles) Local(ctx context.Context, key, dir string) (string, error) {
	if p, ok := f.inPlace(key); ok {
		return p, nil
	}
	sum := sha256.Sum256([]byte(key))
	name := filepath.Join(dir, "in-"+hex.EncodeToString(sum[:8])+filepath.Ext(key))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	return name, f.copy(ctx, key, name)
}

// inPlace returns where the store itself has the object as a file.
func (f storeFiles) inPlace(key string) (string, bool) {
	local, ok := f.store.(storage.LocalPather)
	if !ok {
		return "", false
	}
	return local.LocalPath(key)
}

func (f storeFiles) copy(ctx context.Context, key, name string) (err error) {
	r, info, err := f.store.Get(ctx, key, storage.Range{})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := room(filepath.Dir(name), info.Size); err != nil {
		return err
	}
	part := name + ".part"
	w, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, info.Size+1))
	if err == nil && n != info.Size {
		err = fmt.Errorf("copy %s: %d bytes of %d", key, n, info.Size)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, name)
}

// room says storage.ErrFull when dir's disk has not size bytes and the reserve to spare.
func room(dir string, size int64) error {
	free, _, err := diskSpace(dir)
	if err != nil {
		return err
	}
	if free < size+scratchReserve {
		return fmt.Errorf("copy of %d bytes with %d free: %w", size, free, storage.ErrFull)
	}
	return nil
}

// diskSpace returns the bytes of dir's disk that are free for us, and all that it has.
func diskSpace(dir string) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}

// Upload stores the file at path under key.
func (f storeFiles) Upload(ctx context.Context, key, path string) (int64, string, error) {
	r, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer r.Close()
	info, err := f.store.Put(ctx, key, r, storage.PutOptions{})
	return info.Size, info.SHA256, err
}
