package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// UploadMemory is what a file of Options.State holds about an upload.
type UploadMemory struct {
	Server    string    `json:"server"`
	Path      string    `json:"path"`     // of the file that is uploaded
	Size      int64     `json:"size"`     // of that file
	Modified  time.Time `json:"modified"` // of that file
	Request   string    `json:"request"`  // hash of the options that the server gets
	Key       string    `json:"key"`      // Idempotency-Key
	Upload    string    `json:"upload_id,omitempty"`
	Video     string    `json:"video_id,omitempty"`
	URL       string    `json:"url,omitempty"` // a path with a token: who has it may send the bytes
	Completed bool      `json:"completed"`     // the video exists, and is the file
}

// Of reports whether the memory is of a file as it is now.
func (m UploadMemory) Of(info os.FileInfo) bool {
	return m.Size == info.Size() && m.Modified.Equal(info.ModTime())
}

// sameUpload reports whether another call is for the same upload.
func (m UploadMemory) sameUpload(o UploadMemory) bool {
	return m.Server == o.Server && m.Path == o.Path && m.Size == o.Size && m.Modified.Equal(o.Modified) &&
		m.Request == o.Request && m.Key != ""
}

// ReadUploadMemory reads a file of Options.State. A missing one is os.ErrNotExist; one that a crash or
// somebody has damaged counts as empty, so that the upload begins anew.
func ReadUploadMemory(path string) (UploadMemory, error) {
	var m UploadMemory
	raw, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("read the state of an upload: %w", err)
	}
	if !json.Valid(raw) || json.Unmarshal(raw, &m) != nil {
		m = UploadMemory{}
	}
	return m, nil
}

// save writes the state of the upload, if it has a file: all of it or nothing, and onto the disk.
func (t *transfer) save() error {
	if t.options.State == "" {
		return nil
	}
	if err := writeMemory(t.options.State, t.memory); err != nil {
		return fmt.Errorf("remember the upload of %s: %w", t.path, err)
	}
	return nil
}

// forget removes the state: the next call begins a new upload.
func (t *transfer) forget() error {
	if t.options.State == "" {
		return nil
	}
	return os.Remove(t.options.State)
}

func writeMemory(path string, m UploadMemory) (err error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".state-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// hashOf returns a hash of a value's JSON.
func hashOf(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode upload: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
