package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"time"
)

// SQLite notices damage to its structure, but not a changed byte of a document. So a closed catalog has sums
// of its file beside it (catalog.db.sum), as a JSON document:
//
//  1. The last one that closes the catalog writes the sums, once SQLite has written and synced the file.
//  2. Open compares them, and empties the file of sums before anything is written to the catalog.
//  3. Whoever meets damage while the catalog is open writes that down, and the next Open returns it.
//
// Steps 1 and 2 lock the file of sums, and take sumFor at most. What that leaves out is not compared. After a
// crash there are no sums, so a catalog never counts as damaged because of one; nothing is compared then, and
// SQLite notices damage to its structure when it reads it.
type sums struct {
	Damage string   `json:"damage,omitempty"` // met while the catalog was open
	Size   int64    `json:"size,omitempty"`
	Blocks []uint32 `json:"crc32c,omitempty"` // CRC-32C of each sumBlock bytes
}

const (
	sumSuffix = ".sum"
	sumBlock  = 1 << 20
	// sumFor is how long Close and Open may take to read the file: a process has little time to stop.
	sumFor = 3 * time.Second
)

// errUnsummed: the file was not read to its end in time.
var errUnsummed = errors.New("there was no time to sum the catalog")

// sumFile returns the sums of the file at path. It gives up at a time, unless that is zero, and returns what
// it has summed with errUnsummed.
func sumFile(path string, until time.Time) (s sums, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	table, block := crc32.MakeTable(crc32.Castagnoli), make([]byte, sumBlock)
	for {
		n, err := io.ReadFull(f, block)
		if n > 0 {
			s.Size += int64(n)
			s.Blocks = append(s.Blocks, crc32.Checksum(block[:n], table))
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return s, nil
		case err != nil:
			return s, err
		case !until.IsZero() && time.Now().After(until):
			return s, errUnsummed
		}
	}
}

// Verify compares the whole catalog at path with its sums, and changes nothing. It returns ErrDamaged if they
// differ, or if damage was met. summed is false if there are no sums: the catalog is open, is new, or was not
// closed.
func Verify(path string) (summed bool, err error) {
	before, err := os.ReadFile(path + sumSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("verify catalog: %w", err)
	}
	summed, err = verify(path, before, time.Time{})
	if after, _ := os.ReadFile(path + sumSuffix); !bytes.Equal(before, after) {
		return false, nil // somebody opened it meanwhile
	}
	return summed, err
}

// verify compares the catalog with sums, as far as it gets until a time, unless that is zero.
func verify(path string, raw []byte, until time.Time) (summed bool, err error) {
	var want sums
	if closed := json.Unmarshal(raw, &want) == nil; !closed { // or the writer of the sums died
		return false, nil
	}
	got, err := sumFile(path, until)
	part := errors.Is(err, errUnsummed)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && got.Size == 0:
		return false, nil // Open makes a new one
	case err != nil && !part:
		return false, fmt.Errorf("verify catalog: %w", err)
	case want.Damage != "":
		return false, fmt.Errorf("%w: %s", ErrDamaged, want.Damage)
	}
	if why := want.differ(got, part); why != "" {
		return false, fmt.Errorf("%w: %s %s; %s", ErrDamaged, path, why, remedy)
	}
	return !part, nil
}

// differ says how the file, or its first part, differs from what it was; empty if it does not.
func (s sums) differ(now sums, part bool) string {
	if s.Size != now.Size && !part {
		return fmt.Sprintf("has %d bytes, and had %d when it was closed", now.Size, s.Size)
	}
	for i, sum := range now.Blocks {
		if i >= len(s.Blocks) || sum != s.Blocks[i] {
			return fmt.Sprintf("was changed after it was closed, between the bytes %d and %d",
				i*sumBlock, min(int64(i+1)*sumBlock, now.Size))
		}
	}
	return ""
}

// write replaces the content of the file of sums.
func (s sums) write(f *os.File) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write sums of the catalog: %w", err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(raw, 0)
	}
	if err = errors.Join(err, f.Sync()); err != nil {
		return fmt.Errorf("write sums of the catalog: %w", err)
	}
	return nil
}

// clearSums empties the file of sums before the catalog changes.
func clearSums(f *os.File) error { return errors.Join(f.Truncate(0), f.Sync()) }

// seal writes the sums of a closed catalog, unless somebody else has it open or it is damaged. A catalog
// without sums is whole, so a failure is only logged.
func (c *Catalog) seal() {
	if err := c.writeSums(); err != nil {
		c.log().Warn("the read model has no sums, so the next start compares nothing", "file", c.path, "error", err)
	}
}

func (c *Catalog) writeSums() (err error) {
	f, err := lockSums(c.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if c.Damage() != nil || !claimed(c.lock) {
		return nil
	}
	if _, err := os.Stat(c.path + "-wal"); err == nil {
		return nil // the file does not have everything
	}
	s, err := sumFile(c.path, time.Now().Add(sumFor))
	if errors.Is(err, errUnsummed) {
		return nil // the next Open compares nothing
	}
	if err != nil {
		return err
	}
	return s.write(f)
}

// Damage returns the first damage that was met since Open, or nil. Remedy: restart; Open then returns
// ErrDamaged.
func (c *Catalog) Damage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.damage
}

// explain is explain, and notes damage: it logs the first one, and writes it down for the next Open.
func (c *Catalog) explain(err error) error {
	err = explain(err)
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	c.mu.Lock()
	first := c.damage == nil
	if first {
		c.damage = err
	}
	c.mu.Unlock()
	if first {
		c.log().Error("the read model is damaged", "file", c.path, "error", err, "written_down", c.writeDown(err))
	}
	return err
}

// writeDown reports whether the next Open will return the damage.
func (c *Catalog) writeDown(damage error) bool {
	f, err := lockSums(c.path)
	if err != nil {
		return false
	}
	err = sums{Damage: damage.Error()}.write(f)
	return errors.Join(err, f.Close()) == nil
}

// replaceSums gives the catalog at path the sums of the one at made, which replaces it next.
func replaceSums(path, made string) (err error) {
	raw, err := os.ReadFile(made + sumSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := lockSums(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var s sums
	if json.Unmarshal(raw, &s) != nil {
		return clearSums(f)
	}
	return s.write(f)
}
