package api

import (
	"errors"
	"fmt"
	"io"
)

// checkedReader passes a file on, and shows it to a check on the way. It fails with the check's error: at
// once, or at the end of the file if the check needs all of it. The check runs in a goroutine of its own,
// which close ends.
type checkedReader struct {
	r    io.Reader
	show *io.PipeWriter // to the check; nil: there is none
	done chan struct{}  // closed when the check has ended, with err
	err  error
}

func newCheckedReader(r io.Reader, check func(io.Reader) error) *checkedReader {
	c := &checkedReader{r: r}
	if check == nil {
		return c
	}
	c.done = make(chan struct{})
	seen, show := io.Pipe()
	c.show = show
	go func() {
		defer close(c.done)
		if c.err = judged(check, seen); c.err == nil {
			_, c.err = io.Copy(io.Discard, seen) // a check need not read to the end
		}
		seen.CloseWithError(c.err)
	}()
	return c
}

// judged runs a check. It returns a panic as an error, since nothing else would catch it.
func judged(check func(io.Reader) error, file io.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("check the file: panic: %v", p)
		}
	}()
	return check(file)
}

// Read implements io.Reader.
func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.show == nil {
		return n, err
	}
	if n > 0 {
		if _, refused := c.show.Write(p[:n]); refused != nil {
			return 0, refused
		}
	}
	if err == io.EOF {
		c.show.CloseWithError(io.EOF)
		<-c.done
		if c.err != nil {
			return 0, c.err
		}
	}
	return n, err
}

// errAbandoned tells a check that nobody needs its result.
var errAbandoned = errors.New("the file is not read to its end")

// close ends the check, and returns when it has ended.
func (c *checkedReader) close() {
	if c.show != nil {
		c.show.CloseWithError(errAbandoned)
		<-c.done
	}
}
