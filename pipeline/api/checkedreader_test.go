package api

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestCheckedReader: a file arrives whole unless its check refuses it, and the check ends whatever happens.
func TestCheckedReader(t *testing.T) {
	bad, broken := errors.New("bad"), errors.New("broken")
	body := strings.Repeat("0123456789", 10000)
	for name, c := range map[string]struct {
		check func(io.Reader) error
		want  string // error; empty: none
		whole bool   // the check needs the whole file to know
	}{
		"none":            {nil, "", true},
		"reads all":       {func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }, "", true},
		"reads nothing":   {func(io.Reader) error { return nil }, "", true},
		"reads a part":    {func(r io.Reader) error { _, err := r.Read(make([]byte, 3)); return err }, "", true},
		"refuses at once": {func(io.Reader) error { return bad }, "bad", false},
		"refuses at the end": {func(r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return errors.Join(err, bad)
		}, "bad", true},
		"panics": {func(r io.Reader) error { panic("boom") }, "check the file: panic: boom", false},
	} {
		var got bytes.Buffer
		r := newCheckedReader(iotest.OneByteReader(strings.NewReader(body)), c.check)
		_, err := io.Copy(&got, r)
		r.close()
		if err == nil && c.want != "" || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if n := len(body); c.whole != (got.Len() >= n-1) || !strings.HasPrefix(body, got.String()) {
			t.Errorf("%s: %d bytes of %d came", name, got.Len(), n)
		}
	}
	seen := make(chan error, 2)
	all := func(r io.Reader) error { _, err := io.Copy(io.Discard, r); seen <- err; return err }
	r := newCheckedReader(strings.NewReader(body), all)
	if _, err := r.Read(make([]byte, 7)); err != nil {
		t.Error(err)
	}
	r.close()
	r = newCheckedReader(iotest.ErrReader(broken), all)
	if _, err := r.Read(make([]byte, 7)); err != broken {
		t.Error(err)
	}
	r.close()
	for range 2 {
		if err := <-seen; err != errAbandoned {
			t.Errorf("the check of a file that was left saw %v", err)
		}
	}
}
