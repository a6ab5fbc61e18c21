package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is how many bytes a file may have: no secret is longer.
const maxFile = 64 << 10

// ErrEmpty says that the file of a secret holds none.
var ErrEmpty = errors.New("the file holds no secret")

// ReadFile returns the secret in a file, which is one line; the line break at its end does not count. An
// empty or blank file is ErrEmpty. open reports whether every user of the machine may read the file: the
// caller warns of that. No error repeats what the file holds.
func ReadFile(path string) (t Text, open bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Text{}, false, unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Text{}, false, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Text{}, false, unreadable(path, err)
	}
	line := strings.TrimRight(string(raw), "\r\n")
	switch {
	case len(raw) > maxFile:
		return Text{}, false, fmt.Errorf("%s has more than %d bytes: it is not the file of a secret", path,
			maxFile)
	case strings.TrimSpace(line) == "":
		return Text{}, false, fmt.Errorf("%s: %w; write the secret into it", path, ErrEmpty)
	case strings.ContainsAny(line, "\r\n\x00"):
		return Text{}, false, fmt.Errorf("%s must hold the secret alone, on one line", path)
	}
	return New(line), Open(info), nil
}

// unreadable says of a file that cannot be read what to do. It is no fs.PathError, of which a command prints
// the file only: the caller's words, such as the setting that names the file, would be lost.
func unreadable(path string, err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return fmt.Errorf("%s: %w; name a file with the secret that this process can read", path, err)
}

// Open reports whether every user of the machine may read a file.
func Open(info fs.FileInfo) bool { return info.Mode().Perm()&0o004 != 0 }

// WriteFile writes a secret to a new file that only its owner may read, in a folder that it makes with the
// same rights if it is missing. File and name are on the disk when it returns, or there is no file. A file
// that exists is fs.ErrExist, and is left as it is. On a disk without hard links (exFAT, SMB), a loss of
// power may leave an empty file, which ReadFile refuses.
func WriteFile(path string, t Text) error { return writeFile(path, t, os.Link) }

// writeFile is WriteFile with the function that makes a hard link.
func writeFile(path string, t Text, link func(from, to string) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".secret-*") // with the mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(f.Name()); !errors.Is(gone, fs.ErrNotExist) { // a rename leaves none
			err = errors.Join(err, gone)
		}
	}()
	_, err = f.WriteString(t.Reveal() + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	err = link(f.Name(), path) // unlike a rename, it replaces nothing
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = claim(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncFolder(dir)
}

// claim makes an empty file at a path where none is, and then replaces it by another.
func claim(from, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Rename(from, path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
