package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/reelmill/reelmill/storage"
)

const (
	buffers  = 4        // of copyBuffer bytes, in one Append
	syncStep = 64 << 20 // bytes between two notes during a long Append
)

// Append implements storage.Resumable. The caller's goroutine reads, another one hashes and writes, and a
// third one syncs every 64 MiB and notes it, so that the end of a long Append has little left to sync.
func (s *Store) Append(
	ctx context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum,
) (kept int64, err error) {
	if err := check(ctx, key); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	p, err := s.openPartial(key)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", key, err)
	}
	err = p.append(ctx, offset, r, sum)
	if err = errors.Join(err, p.close()); err != nil {
		return p.old.Offset, fmt.Errorf("append to %s: %w", key, err)
	}
	return p.old.Offset, nil
}

func (p *partial) append(ctx context.Context, offset int64, r io.Reader, sum *storage.Checksum) error {
	h, err := p.settle(ctx)
	if err != nil {
		return err
	}
	if offset != p.old.Offset {
		return fmt.Errorf("offset %d, but %d bytes are kept: %w", offset, p.old.Offset, storage.ErrOffset)
	}
	before := p.old
	if sum != nil {
		n := before
		n.Checking = true // if the process dies now, what it wrote does not count
		if err := p.keepState(n); err != nil {
			return err
		}
	}
	w := newWriter(p, h, sum)
	readErr := w.readFrom(&reader{ctx: ctx, Reader: r})
	writeErr := w.end()
	if sum != nil {
		if err := errors.Join(writeErr, readErr, w.compare(sum)); err != nil {
			return errors.Join(err, p.back(before))
		}
	}
	n := p.old
	n.Offset, n.Checking = w.offset, false
	err = w.syncErr
	if err == nil && writeErr != nil { // os.File does not say how much of the last piece it has written
		err = mapError(p.data.Truncate(n.Offset))
	}
	if err == nil {
		err = p.keep(n, h)
	}
	if err != nil {
		// Nobody knows which bytes reached the disk: only those of the last note count.
		return errors.Join(readErr, writeErr, err, p.data.Truncate(p.old.Offset))
	}
	if dataName, noteName := partialNames(p.key); !p.s.names(dataName, p.data) || !p.s.names(noteName, p.note) {
		return errors.Join(readErr, writeErr, fmt.Errorf("its files vanished from %s", partialDir))
	}
	return errors.Join(readErr, writeErr)
}

// back cuts off the bytes of an Append that does not count.
func (p *partial) back(before noted) error {
	if err := p.data.Truncate(before.Offset); err != nil {
		return fmt.Errorf("cut off the bytes that do not count: %w", mapError(err))
	}
	return p.keepState(before)
}

// writer writes and hashes what readFrom reads.
type writer struct {
	p      *partial
	hash   hash.Hash
	sum    *storage.Checksum
	offset int64 // of the next byte
	err    error // of writing; read it after done is closed
	// syncErr is that of a note during the Append: which bytes reached the disk, nobody knows.
	syncErr error

	work chan []byte
	free chan []byte
	done chan struct{}
	made int // buffers
}

func newWriter(p *partial, h hash.Hash, sum *storage.Checksum) *writer {
	w := &writer{
		p: p, hash: h, sum: sum, offset: p.old.Offset,
		work: make(chan []byte), free: make(chan []byte, buffers), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// readFrom reads r to its end. It hands on what it has as soon as the writer is idle, so that little is lost
// when the process dies. It returns the error of r, and nil if the writer stopped.
func (w *writer) readFrom(r io.Reader) error {
	for {
		b, ok := w.buffer()
		if !ok {
			return nil
		}
		full, handed := b[:0], false
		for !handed {
			n, err := r.Read(b[len(full):cap(b)])
			full = b[:len(full)+n]
			if err != nil {
				if len(full) > 0 {
					w.hand(full)
				}
				if err == io.EOF { // a wrapped io.EOF is a fault of the reader
					return nil
				}
				return err
			}
			switch {
			case len(full) == cap(b):
				w.hand(full)
				handed = true
			case len(full) > 0:
				select {
				case w.work <- full:
					handed = true
				case <-w.done:
					return nil
				default:
				}
			}
		}
	}
}

// buffer returns an empty buffer, or false if the writer stopped.
func (w *writer) buffer() ([]byte, bool) {
	select {
	case b := <-w.free:
		return b[:cap(b)], true
	default:
	}
	if w.made < buffers {
		w.made++
		return make([]byte, copyBuffer), true
	}
	select {
	case b := <-w.free:
		return b[:cap(b)], true
	case <-w.done:
		return nil, false
	}
}

func (w *writer) hand(b []byte) {
	select {
	case w.work <- b:
	case <-w.done:
	}
}

// end waits until all is written, and returns the error of the medium.
func (w *writer) end() error {
	close(w.work)
	<-w.done
	return w.err
}

// run writes until readFrom has ended or the medium fails.
func (w *writer) run() {
	defer close(w.done)
	notes, failed := make(chan noted, 1), make(chan error, 1)
	base, last := w.p.old, w.offset
	go w.keepNotes(notes, failed)
	for b := range w.work {
		n, err := w.p.data.WriteAt(b, w.offset)
		w.offset += int64(n)
		_, _ = w.hash.Write(b[:n])
		if w.sum != nil {
			_, _ = w.sum.Hash.Write(b[:n])
		}
		if err != nil {
			w.err = mapError(err)
			break
		}
		w.free <- b
		if w.offset-last >= syncStep && w.sum == nil && len(notes) == 0 {
			last = w.offset
			state, err := storage.HashState(w.hash)
			if err != nil {
				w.err = err
				break
			}
			next := base
			next.Offset, next.Hash = w.offset, state
			notes <- next
		}
	}
	close(notes)
	w.syncErr = <-failed
}

// keepNotes syncs and notes, until notes is closed. It sends its first error, or nil.
func (w *writer) keepNotes(notes <-chan noted, failed chan<- error) {
	var first error
	for n := range notes {
		if first == nil {
			first = w.p.keepState(n)
		}
	}
	failed <- first
}

// compare returns ErrChecksum unless the bytes have the sum.
func (w *writer) compare(sum *storage.Checksum) error {
	if got := sum.Hash.Sum(nil); !bytes.Equal(got, sum.Want) {
		return fmt.Errorf("it is %x, want %x: %w", got, sum.Want, storage.ErrChecksum)
	}
	return nil
}
