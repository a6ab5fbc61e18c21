package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/reelmill/reelmill/pipeline"
)

// sourceCheck compares a source that an attempt uses in place with the SHA-256 of its upload: once in each
// process, beside the work of the first attempt that reads it. The result of that attempt counts only if the
// source is as it was uploaded. Damage that comes later is not noticed.
type sourceCheck struct {
	ctx     context.Context // of the attempt
	scratch *scratch
	source  pipeline.Object
	start   sync.Once
	result  chan error // nil: there is nothing to compare
}

func newSourceCheck(ctx context.Context, s *scratch, source pipeline.Object) *sourceCheck {
	return &sourceCheck{ctx: ctx, scratch: s, source: source}
}

// begin starts the comparison of the file at path, unless it was started or is not needed.
func (c *sourceCheck) begin(path string) {
	c.start.Do(func() {
		if c.source.SHA256 == "" || c.scratch.isIntact(c.source.Key) {
			return
		}
		c.result = make(chan error, 1)
		go func() { c.result <- c.compare(path) }()
	})
}

// end waits for the comparison, and returns its error, or that of the work.
func (c *sourceCheck) end(err error) error {
	c.start.Do(func() {}) // nothing can begin any more
	if c.result == nil {
		return err
	}
	if damage := <-c.result; damage != nil {
		return made{damage}
	}
	return err
}

// compare returns nil, too, when the attempt ends first.
func (c *sourceCheck) compare(path string) error {
	sum := sha256.New()
	err := readAll(c.ctx, path, sum)
	if err != nil {
		err = pipeline.Fail(pipeline.CodeFetchFailed, "read source: %w", err)
	} else if err = differs(c.source, sum); err == nil {
		c.scratch.setIntact(c.source.Key)
	}
	if c.ctx.Err() != nil {
		err = nil
	}
	return err
}

// readAll writes the file at path to w, until ctx ends.
func readAll(ctx context.Context, path string, w io.Writer) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for ctx.Err() == nil {
		if _, err := io.CopyN(w, f, 4<<20); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return ctx.Err()
}

// differs returns CodeSourceDamaged if the sum of an object's bytes is not that of its upload.
func differs(o pipeline.Object, sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); o.SHA256 != "" && got != o.SHA256 {
		return pipeline.Fail(pipeline.CodeSourceDamaged, "%s has the SHA-256 %s, but %s was uploaded",
			o.Key, got, o.SHA256)
	}
	return nil
}

// maxIntact bounds how many sources a process remembers as intact.
const maxIntact = 4096

func (s *scratch) isIntact(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.intact[key]
}

func (s *scratch) setIntact(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.intact) >= maxIntact {
		clear(s.intact)
	}
	s.intact[key] = true
}
