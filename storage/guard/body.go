package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/reelmill/reelmill/storage"
)

// body is an open object that resumes where it stopped when its reader breaks or ends early. One goroutine
// at a time may use it.
type body struct {
	s       *guarded
	ctx     context.Context // of the Get
	key     string
	info    storage.Info // of the first Get: a later one must be of the same version
	r       io.ReadCloser
	at, end int64 // offsets in the object: of the next byte, and of the end
	resumes int
	broken  error // the fault for which the next read replaces r
	err     error // what every further read returns
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for b.err == nil {
		if b.at == b.end {
			return 0, io.EOF
		}
		if b.broken != nil {
			b.err = b.resume()
			continue
		}
		n, err := b.r.Read(p[:min(int64(len(p)), b.end-b.at)])
		b.at += int64(n)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // unless this is the end, checked first
		}
		b.broken = err
		if n > 0 || err == nil {
			return n, nil
		}
	}
	return 0, b.err
}

// resume opens a reader for the rest in place of the broken one, or returns why it cannot.
func (b *body) resume() error {
	g, broken := b.s.g, b.broken
	if judge(b.ctx, broken) == callers {
		if ended := b.ctx.Err(); !errors.Is(broken, ended) {
			return fmt.Errorf("read %s: %w, after: %w", b.key, ended, broken)
		}
		return broken
	}
	_ = g.execute(b.ctx, func() error { return broken }) // count it; if the breaker is open, Get fails
	if b.resumes++; b.resumes > g.config.Resumes {
		return fmt.Errorf("read %s: broken at byte %d, after %d resumptions: %w", b.key, b.at, b.resumes-1, broken)
	}
	_ = b.r.Close() // its error is known already
	g.retries.Add(1)
	r, info, err := b.s.open(b.ctx, b.key, storage.Range{Offset: b.at, Length: b.end - b.at})
	if err != nil {
		b.r = nothing{}
		return fmt.Errorf("read %s: broken at byte %d: %w; resume: %w", b.key, b.at, broken, err)
	}
	b.r, b.broken = r, nil
	if info.Size != b.info.Size || !info.Modified.Equal(b.info.Modified) {
		return fmt.Errorf("read %s: broken at byte %d, and the object has changed since: %w", b.key, b.at, broken)
	}
	return nil
}

// nothing replaces a reader that is closed already.
type nothing struct{ io.Reader }

// Close implements io.Closer.
func (nothing) Close() error { return nil }

// Close implements io.Closer.
func (b *body) Close() error {
	if errors.Is(b.err, fs.ErrClosed) {
		return nil
	}
	b.err = fmt.Errorf("read %s: %w", b.key, fs.ErrClosed)
	return b.r.Close()
}
