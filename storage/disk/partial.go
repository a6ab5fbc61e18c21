package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/reelmill/reelmill/storage"
)

// partialDir holds unfinished objects. Each has two files, named after the hash of its key: its bytes, and a
// note that says what is known of them (note.go). No key begins with a dot, so no object is in it.
const partialDir = ".partial"

// errDamaged: what is left of an unfinished object cannot be used. It counts as none: Begin makes a new one.
var errDamaged = fmt.Errorf("the unfinished object is damaged, begin it again: %w", storage.ErrNotFound)

// errLeft: there is a note without its bytes. Either they have moved to the key, and the process died, or
// they are lost.
var errLeft = fmt.Errorf("its bytes are missing: %w", errDamaged)

// partial is an unfinished object, open and locked by us.
type partial struct {
	s    *Store
	key  string
	note *os.File // carries the lock
	data *os.File
	at   place
	old  noted // the last note on disk, at any time but while keep runs
}

// partialNames returns the names of the files of an unfinished object.
func partialNames(key string) (data, note string) {
	sum := sha256.Sum256([]byte(key))
	base := path.Join(partialDir, hex.EncodeToString(sum[:]))
	return base + ".bytes", base + ".note"
}

// Begin implements storage.Resumable.
func (s *Store) Begin(ctx context.Context, key string, size int64) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if s.begun(key) {
		return nil
	}
	for range tempTries {
		p, err := s.openPartial(key)
		if err == nil {
			return p.close()
		}
		switch {
		case errors.Is(err, storage.ErrBusy): // it exists, and is being written
			return nil
		case errors.Is(err, errDamaged):
			err = s.discard(key)
		case errors.Is(err, storage.ErrNotFound):
			err = s.makePartial(key, size)
		}
		if errors.Is(err, storage.ErrBusy) {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrExist) { // which says that another Begin was faster
			return fmt.Errorf("begin %s: %w", key, err)
		}
	}
	return fmt.Errorf("begin %s: the files in %s vanish", key, partialDir)
}

// begun reports whether there is an unfinished object that is whole. It looks without the lock, so that it is
// in no writer's way.
func (s *Store) begun(key string) bool {
	dataName, noteName := partialNames(key)
	f, err := s.root.Open(noteName)
	if err != nil {
		return false
	}
	defer f.Close()
	last, _, err := readNote(f)
	if err != nil || last.Key != key {
		return false
	}
	fi, err := s.root.Lstat(dataName)
	return err == nil && fi.Size() >= last.Offset
}

// makePartial makes the two files. The note comes first, complete and locked, so that nobody uses the object
// before its bytes are there; a note without bytes is damaged.
func (s *Store) makePartial(key string, size int64) (err error) {
	tmp, f, err := s.createTemp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreMissing(s.root.Remove(tmp)), f.Close()) }()
	first := noted{Key: key, Size: max(size, 0), Boot: s.boot}
	if first.Hash, err = storage.HashState(sha256.New()); err != nil {
		return err
	}
	at := place{}
	for range slots { // both, so that later ones find their space
		if err := at.write(f, first, s.sync); err != nil {
			return mapError(err)
		}
	}
	dataName, noteName := partialNames(key)
	if err := s.root.Mkdir(partialDir, 0o700); err == nil {
		err = s.syncUp(".")
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return errors.New("make folder " + partialDir + ": " + err.Error()) // not ErrNotFound
	}
	if err := s.root.Link(tmp, noteName); err != nil {
		return err
	}
	if err := ignoreMissing(s.root.Remove(dataName)); err != nil {
		return err
	}
	data, err := s.root.OpenFile(dataName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errors.Join(mapError(err), s.root.Remove(noteName))
	}
	return errors.Join(data.Close(), s.syncPartials())
}

// syncPartials makes the names of unfinished objects survive a power cut.
func (s *Store) syncPartials() error {
	f, err := s.root.Open(partialDir)
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", partialDir, err)
	}
	return syncClose(f)
}

// lockNote opens the note of a key, and locks it. ErrNotFound, ErrBusy.
func (s *Store) lockNote(key string) (*os.File, error) {
	_, name := partialNames(key)
	f, err := s.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, mapError(err)
	}
	free, err := tryLock(f)
	if err == nil && !free {
		err = storage.ErrBusy
	}
	if err == nil && !s.names(name, f) { // finished or abandoned, a moment ago
		err = storage.ErrNotFound
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// names reports whether a name leads to the open file.
func (s *Store) names(name string, f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := s.root.Lstat(name)
	return err == nil && os.SameFile(mine, named)
}

// openPartial opens and locks an unfinished object. The caller closes it.
func (s *Store) openPartial(key string) (*partial, error) {
	f, err := s.lockNote(key)
	if err != nil {
		return nil, err
	}
	p := &partial{s: s, key: key, note: f}
	if p.old, p.at, err = readNote(f); err == nil && p.old.Key != key {
		err = fmt.Errorf("its note is of another key: %w", errDamaged)
	}
	if err == nil {
		dataName, _ := partialNames(key)
		p.data, err = s.root.OpenFile(dataName, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			err = errLeft
		}
	}
	if err == nil {
		if err = p.complete(); err == nil {
			return p, nil
		}
		err = errors.Join(err, p.data.Close())
	}
	return nil, errors.Join(err, f.Close())
}

// complete returns an error if there are fewer bytes than the note says.
func (p *partial) complete() error {
	fi, err := p.data.Stat()
	if err == nil && fi.Size() < p.old.Offset {
		err = fmt.Errorf("it has %d of %d bytes: %w", fi.Size(), p.old.Offset, errDamaged)
	}
	return err
}

func (p *partial) close() error { return errors.Join(mapError(p.data.Close()), p.note.Close()) }

// discard removes what is left of a damaged unfinished object.
func (s *Store) discard(key string) error {
	f, err := s.lockNote(key)
	if err != nil {
		return ignoreNotFound(err)
	}
	return errors.Join(s.removePartial(key), f.Close())
}

// removePartial removes both files of an object that the caller has locked: the note last, so that no bytes
// stay that nothing leads to.
func (s *Store) removePartial(key string) error {
	dataName, noteName := partialNames(key)
	err := ignoreMissing(s.root.Remove(dataName))
	if err == nil {
		err = s.syncPartials()
	}
	if err == nil {
		err = ignoreMissing(s.root.Remove(noteName))
	}
	return err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// Kept implements storage.Resumable. What it returns survives a power cut, too.
func (s *Store) Kept(ctx context.Context, key string) (int64, error) {
	if err := check(ctx, key); err != nil {
		return 0, fmt.Errorf("kept: %w", err)
	}
	kept, err := s.kept(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("kept %s: %w", key, err)
	}
	return kept, nil
}

// kept looks without the lock first, so that it is in no writer's way. Only if there are more bytes than the
// note says, and nobody is writing, were they left by a process that died.
func (s *Store) kept(ctx context.Context, key string) (int64, error) {
	dataName, noteName := partialNames(key)
	f, err := s.root.Open(noteName)
	if err != nil {
		return 0, mapError(err)
	}
	defer f.Close()
	fi, dataErr := s.root.Lstat(dataName) // before the note: an Append that ends now looks settled
	last, _, err := readNote(f)
	if err == nil && dataErr == nil && last.Key == key && fi.Size() == last.Offset {
		return last.Offset, nil
	}
	p, lockErr := s.openPartial(key)
	if errors.Is(lockErr, storage.ErrBusy) && err == nil {
		return last.Offset, nil
	}
	if lockErr != nil {
		return 0, lockErr
	}
	_, err = p.settle(ctx)
	return p.old.Offset, errors.Join(err, p.close())
}

// settle decides which bytes count, and notes it: those that were synced, and after the death of a process
// also those that only reached the page cache, which outlives it. Other bytes it cuts off. It returns the
// hash of those that count.
func (p *partial) settle(ctx context.Context) (hash.Hash, error) {
	fi, err := p.data.Stat()
	if err != nil {
		return nil, err
	}
	n := p.old
	h, err := storage.ResumeHash(n.Hash)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errDamaged)
	}
	survives := p.s.boot != "" && n.Boot == p.s.boot && !n.Checking
	if !survives && fi.Size() > n.Offset {
		if err := p.data.Truncate(n.Offset); err != nil {
			return nil, mapError(err)
		}
	}
	if survives && fi.Size() > n.Offset {
		rest := io.NewSectionReader(p.data, n.Offset, fi.Size()-n.Offset)
		m, err := io.CopyBuffer(struct{ io.Writer }{h}, &reader{ctx: ctx, Reader: rest}, make([]byte, copyBuffer))
		if err != nil {
			return nil, err
		}
		n.Offset += m
	}
	n.Boot, n.Checking = p.s.boot, false
	if n.Offset == p.old.Offset && n.Boot == p.old.Boot && n.Checking == p.old.Checking {
		return h, nil
	}
	return h, p.keep(n, h)
}

// keep syncs the bytes, and then notes that so many of them count, with the hash h.
func (p *partial) keep(n noted, h hash.Hash) (err error) {
	if n.Hash, err = storage.HashState(h); err != nil {
		return err
	}
	return p.keepState(n)
}

func (p *partial) keepState(n noted) error {
	if err := p.s.sync(p.data); err != nil {
		return fmt.Errorf("sync the bytes: %w", mapError(err))
	}
	if err := p.at.write(p.note, n, p.s.sync); err != nil {
		return fmt.Errorf("write the note: %w", mapError(err))
	}
	p.old = n
	return nil
}

// Finish implements storage.Resumable. It moves the file of the bytes to the key, as Put does.
func (s *Store) Finish(ctx context.Context, key string) (storage.Info, error) {
	if err := check(ctx, key); err != nil {
		return storage.Info{}, fmt.Errorf("finish: %w", err)
	}
	p, err := s.openPartial(key)
	var info storage.Info
	if err == nil {
		info, err = p.finish(ctx)
		err = errors.Join(err, p.close())
	} else if errors.Is(err, storage.ErrNotFound) && (errors.Is(err, errLeft) || !errors.Is(err, errDamaged)) {
		info, err = s.finished(ctx, key, err)
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("finish %s: %w", key, err)
	}
	return info, nil
}

func (p *partial) finish(ctx context.Context) (storage.Info, error) {
	h, err := p.settle(ctx)
	if err != nil {
		return storage.Info{}, err
	}
	if want := p.old.Size; want > 0 && p.old.Offset != want {
		return storage.Info{}, fmt.Errorf("%d of %d bytes came: %w", p.old.Offset, want, storage.ErrSize)
	}
	if err := p.data.Sync(); err != nil {
		return storage.Info{}, mapError(err)
	}
	fi, err := p.data.Stat()
	if err != nil {
		return storage.Info{}, err
	}
	info := infoOf(p.key, fi)
	info.SHA256 = hex.EncodeToString(h.Sum(nil))
	dataName, _ := partialNames(p.key)
	if _, err := p.s.publish(ctx, dataName, p.key, false); err != nil {
		return storage.Info{}, err
	}
	if err := p.s.syncUp(path.Dir(p.key)); err != nil {
		return storage.Info{}, err
	}
	return info, p.s.removePartial(p.key) // the bytes have left; the note goes
}

// finished describes the object of a key that has no unfinished one: an earlier Finish may have made it. It
// reads the object, since nothing else knows its hash. missing is the error if there is none.
func (s *Store) finished(ctx context.Context, key string, missing error) (storage.Info, error) {
	info, err := storage.Sum(ctx, s, key)
	if errors.Is(err, storage.ErrNotFound) {
		return info, missing
	}
	if errors.Is(missing, errLeft) && err == nil {
		err = s.discard(key) // the note of a Finish whose process died at the last step
	}
	return info, err
}

// Abandon implements storage.Resumable.
func (s *Store) Abandon(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("abandon: %w", err)
	}
	if err := s.discard(key); err != nil {
		return fmt.Errorf("abandon %s: %w", key, err)
	}
	return nil
}

// bootID names the run of the kernel, whose page cache holds what was written but not synced. It is "" where
// the kernel does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

var _ storage.Resumable = (*Store)(nil)
