package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/reelmill/reelmill/storage"
)

// List implements storage.Store. It keeps the names of one folder per level in memory.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := storage.ValidPrefix(prefix); err != nil {
			yield(storage.Info{}, fmt.Errorf("list: %w", err))
			return
		}
		w := walk{s, ctx, prefix, yield}
		dir := "." // the deepest folder that holds every match
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i]
		}
		w.folder(dir)
	}
}

// walk is the state of one List.
type walk struct {
	*Store
	ctx    context.Context
	prefix string
	yield  func(storage.Info, error) bool
}

// folder yields the objects below dir and reports whether to go on.
func (w *walk) folder(dir string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.fail(err)
	}
	entries, err := w.readDir(dir)
	if err != nil {
		return w.fail(err)
	}
	// Sort folders as their keys do, with the slash: "a-b" < "a.b" < "a/b" < "a0".
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	for _, e := range entries {
		key := path.Join(dir, e.Name())
		switch {
		case storage.ValidKey(key) != nil: // .tmp, and foreign files
		case e.IsDir() && (strings.HasPrefix(key+"/", w.prefix) || strings.HasPrefix(w.prefix, key+"/")):
			if !w.folder(key) {
				return false
			}
		case !e.IsDir() && strings.HasPrefix(key, w.prefix):
			if !w.object(key) {
				return false
			}
		}
	}
	return true
}

// object yields one object, unless it was deleted since the folder was read.
func (w *walk) object(key string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.fail(err)
	}
	fi, err := w.root.Lstat(key)
	switch {
	case err == nil && fi.Mode().IsRegular():
		return w.yield(infoOf(key, fi), nil)
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return true
	}
	return w.fail(err)
}

// fail yields the error and ends the listing.
func (w *walk) fail(err error) bool {
	w.yield(storage.Info{}, fmt.Errorf("list %q: %w", w.prefix, err))
	return false
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

// readDir reads a folder. A missing folder, or a file of that name, counts as empty.
func (s *Store) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := s.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	if errors.Is(err, syscall.ENOTDIR) { // an object of that name
		err = nil
	}
	return entries, errors.Join(err, f.Close())
}
