package hls

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Join writes files, such as an init section and segments, one after the other to a new file.
func Join(name string, files ...string) (err error) {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("join segments: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, file := range files {
		if err := Append(out, file); err != nil {
			return err
		}
	}
	return nil
}

// Append writes a file to out.
func Append(out io.Writer, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("join segments: %w", err)
	}
	defer in.Close() // read only
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("join segments: %w", err)
	}
	return nil
}
