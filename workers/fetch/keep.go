package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Keep is a folder of this process in which unfinished downloads survive its end, also a sudden one. A
// download has two files there: its bytes, and a note of how many of them are on disk and of which version of
// the file. The next attempt of its video in this folder goes on from there.
//
//  1. The bytes are synced, and then the note is replaced. So a note never promises bytes that are not there.
//  2. Before other bytes take their place, the note is removed.
//  3. Without a strong validator nothing is noted: nobody could tell whether the file is still the same.
//
// Files that no attempt has touched for a day are removed when another download begins.
type Keep struct {
	dir   string
	mu    sync.Mutex
	taken map[string]bool // videos whose files an attempt uses
}

// NewKeep returns a Keep of a folder, which need not exist. No other process may use the folder.
func NewKeep(dir string) *Keep { return &Keep{dir: dir, taken: map[string]bool{}} }

const (
	keepFor   = 24 * time.Hour // after the last byte
	bytesFile = ".bytes"
	noteFile  = ".note"
)

// take returns the files of a video, or nil if another attempt uses them. The caller releases them.
func (k *Keep) take(video string) (*kept, error) {
	if k == nil {
		return nil, nil
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of unfinished downloads: %w", err)
	}
	k.removeOlder(time.Now().Add(-keepFor))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken[video] {
		return nil, nil
	}
	k.taken[video] = true
	return &kept{of: k, video: video}, nil
}

// Drop removes all files that no attempt uses, to make room. Their downloads begin anew.
func (k *Keep) Drop() { k.removeOlder(time.Now().Add(time.Hour)) }

// removeOlder removes the files that were last written before a time. One that cannot be removed stays for
// the next call.
func (k *Keep) removeOlder(than time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		video, _, _ := strings.Cut(e.Name(), ".")
		if err == nil && info.ModTime().Before(than) && !k.taken[video] {
			_ = os.Remove(filepath.Join(k.dir, e.Name()))
		}
	}
}

// kept is the files of one video, which one attempt uses.
type kept struct {
	of    *Keep
	video string
	note  noted         // the last one written
	at    time.Time     // when it was written
	cost  time.Duration // of writing it
}

// noted is what a note says.
type noted struct {
	Size        int64  `json:"size"`  // so many bytes are on disk
	Total       int64  `json:"total"` // bytes of the whole file; -1: unknown
	Validator   string `json:"validator"`
	MediaType   string `json:"media_type,omitempty"`
	Disposition string `json:"disposition,omitempty"`
}

// release lets other attempts use the files.
func (k *kept) release() {
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	delete(k.of.taken, k.video)
}

func (k *kept) path(ending string) string { return filepath.Join(k.of.dir, k.video+ending) }

// read returns the note; ok is false without one that can be read.
func (k *kept) read() (n noted, ok bool) {
	raw, err := os.ReadFile(k.path(noteFile))
	if err != nil || json.Unmarshal(raw, &n) != nil || n.Validator == "" || n.Size <= 0 || n.Total < -1 {
		return noted{}, false
	}
	k.note = n
	return n, true
}

const (
	// noteStep is how many bytes must have come since the last note.
	noteStep = 1 << 20
	// noteShare is which part of the time goes into notes at most.
	noteShare = 20
)

// due reports whether a note of n is worth its cost.
func (k *kept) due(n noted) bool {
	return n.Size-k.note.Size >= noteStep && time.Since(k.at) >= noteShare*k.cost
}

// write syncs the bytes in f, and notes n.
func (k *kept) write(f *os.File, n noted) error {
	if n == k.note {
		return nil
	}
	began := time.Now()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the download: %w", err)
	}
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := replace(k.path(noteFile), raw); err != nil {
		return fmt.Errorf("note the download: %w", err)
	}
	k.note, k.at = n, time.Now()
	k.cost = k.at.Sub(began)
	return nil
}

// replace writes a small file, which has the old or the new bytes at any time.
func replace(path string, raw []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// forget removes the note for good, before the bytes change.
func (k *kept) forget() error {
	k.note = noted{}
	err := os.Remove(k.path(noteFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forget the note of the download: %w", err)
	}
	dir, err := os.Open(k.of.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// remove removes the files: they are not needed any more.
func (k *kept) remove() error {
	err := k.forget()
	if gone := os.Remove(k.path(bytesFile)); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
