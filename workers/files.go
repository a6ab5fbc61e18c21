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

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// storeFiles implements Files on an object store, for one attempt. What was uploaded is compared with the
// SHA-256 of the upload: a copy while it is made, and a source that is used in place beside the work (check).
type storeFiles struct {
	store   storage.Store
	scratch *scratch
	source  pipeline.Object            // which the attempt holds in scratch
	assets  map[string]pipeline.Object // of the upload
	check   *sourceCheck               // nil: a source in place is not compared
}

// Local returns the object's own path if the store has one, and otherwise the path of a copy. It only copies
// if the disk has room. Attempts share the copy of their source; other copies are below dir, one for each
// attempt.
func (f storeFiles) Local(ctx context.Context, key, dir string) (string, error) {
	if p, ok := inPlace(f.store, key); ok {
		if key == f.source.Key && f.check != nil {
			f.check.begin(p)
		}
		return p, nil
	}
	if key == f.source.Key {
		return f.scratch.open(ctx, f.source)
	}
	name := copyName(dir, key)
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	_, err := copyObject(ctx, f.store, pipeline.Object{Key: key, SHA256: f.sumOf(key)}, name, f.scratch.room)
	return name, err
}

// Room makes room on the scratch disk.
func (f storeFiles) Room(bytes int64) error { return f.scratch.room(bytes) }

// sumOf returns the SHA-256 with which an asset was uploaded; empty for other objects.
func (f storeFiles) sumOf(key string) string {
	for _, o := range f.assets {
		if o.Key == key {
			return o.SHA256
		}
	}
	return ""
}

// inPlace returns the path of the object in a store whose objects are local files.
func inPlace(s storage.Store, key string) (string, bool) {
	local, ok := storage.As[storage.LocalPather](s)
	if !ok {
		return "", false
	}
	return local.LocalPath(key)
}

// copyName returns the path below dir of an object's copy.
func copyName(dir, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(dir, "in-"+hex.EncodeToString(sum[:8])+filepath.Ext(key))
}

// copyObject copies an object to the file name, which only appears once it is complete and has the SHA-256 of
// o, if that is known, and returns its size. It calls admit with the size first, and stops if that fails.
func copyObject(ctx context.Context, s storage.Store, o pipeline.Object, name string,
	admit func(size int64) error,
) (size int64, err error) {
	r, info, err := s.Get(ctx, o.Key, storage.Range{})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if err := admit(info.Size); err != nil {
		return 0, err
	}
	part := name + ".part"
	w, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(r, info.Size+1))
	if err == nil && n != info.Size {
		err = fmt.Errorf("copy %s: got %d bytes of %d", o.Key, n, info.Size)
	}
	if err == nil {
		err = differs(o, sum)
	}
	if err == nil {
		err = w.Chmod(0o400) // attempts share it
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(part))
	}
	return n, nil
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
