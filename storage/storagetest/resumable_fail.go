package storagetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/storage"
)

func (r resuming) wrongOffset(t *testing.T) {
	s := r.open()
	body := contentBytes(t, 1, r.part+2)
	mustBegin(t, s, "v/o.bin", 0)
	kept := 0
	for _, n := range []int{0, 10, r.part + 1} {
		mustAppend(t, s, "v/o.bin", kept, body[kept:n], nil)
		kept = n
		at := int64(n)
		for _, offset := range []int64{at - 1, at + 1, -1, math.MinInt64, math.MaxInt64, at + 1<<32} {
			_, err := s.Append(context.Background(), "v/o.bin", offset, unread{t}, nil)
			mustFail(t, fmt.Sprintf("append at %d of %d", offset, n), err, storage.ErrOffset)
		}
		mustKeep(t, s, "v/o.bin", n)
	}
	mustAppend(t, s, "v/o.bin", kept, body[kept:], nil)
	mustFinish(t, s, "v/o.bin", body)
}

// readerFails fails the reader at its beginning, within a part and at its limits. Some of the errors are
// those that a careless store takes for its own, or for the end.
func (r resuming) readerFails(t *testing.T) {
	s := r.open()
	faults := []error{errors.New("boom"), io.ErrUnexpectedEOF, storage.ErrNotFound, storage.ErrBusy}
	for i, n := range []int{0, 1, 1000, r.part - 1, r.part, r.part + 1, 2*r.part + 1} {
		fault := faults[i%len(faults)]
		body := contentBytes(t, n, n+r.part+10)
		mustBegin(t, s, "v/f.bin", len(body))
		mustAppend(t, s, "v/f.bin", 0, body[:5], nil)
		broken := io.MultiReader(bytes.NewReader(body[5:5+n]), iotest.ErrReader(fault))
		kept, err := s.Append(context.Background(), "v/f.bin", 5, broken, nil)
		mustFail(t, fmt.Sprintf("reader fails after %d bytes", n), err, fault)
		if kept != int64(5+n) {
			t.Errorf("reader fails after %d bytes: append says %d, want %d", n, kept, 5+n)
		}
		mustKeep(t, r.open(), "v/f.bin", 5+n)
		mustAppend(t, s, "v/f.bin", 5+n, body[5+n:], nil)
		mustFinish(t, s, "v/f.bin", body)
	}
}

// cancel ends the context from within the reader, which goes on yielding bytes.
func (r resuming) cancel(t *testing.T) {
	s := r.open()
	for _, n := range []int{0, 1000, r.part + 1} {
		body := contentBytes(t, n, n)
		mustBegin(t, s, "v/c.bin", 0)
		ctx, cancel := context.WithCancel(context.Background())
		var more atMost
		endless := readerFunc(func(p []byte) (int, error) {
			cancel()
			clear(p)
			return more.add(len(p)), nil
		})
		kept, err := s.Append(ctx, "v/c.bin", 0, io.MultiReader(bytes.NewReader(body), endless), nil)
		cancel()
		mustFail(t, fmt.Sprintf("cancel after %d bytes", n), err, context.Canceled)
		if kept < int64(n) || kept > int64(n+int(more)) {
			t.Fatalf("cancel after %d bytes: append says %d", n, kept)
		}
		mustKeep(t, r.open(), "v/c.bin", int(kept))
		mustAppend(t, s, "v/c.bin", int(kept), []byte("the end"), nil)
		body = append(append(body, make([]byte, int(kept)-n)...), "the end"...)
		mustFinish(t, s, "v/c.bin", body)
	}
}

// atMost counts bytes.
type atMost int

func (a *atMost) add(n int) int { *a += atMost(n); return n }

// ended calls every method with an ended context.
func (r resuming) ended(t *testing.T) {
	s := r.open()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	mustFail(t, "begin", s.Begin(ctx, "v/x.bin", 0), context.Canceled)
	mustAbsent(t, s, "v/x.bin")
	mustBegin(t, s, "v/y.bin", 0)
	mustAppend(t, s, "v/y.bin", 0, []byte("yes"), nil)
	_, err := s.Kept(ctx, "v/y.bin")
	mustFail(t, "kept", err, context.Canceled)
	_, err = s.Append(ctx, "v/y.bin", 3, unread{t}, nil)
	mustFail(t, "append", err, context.Canceled)
	_, err = s.Finish(ctx, "v/y.bin")
	mustFail(t, "finish", err, context.Canceled)
	mustFail(t, "abandon", s.Abandon(ctx, "v/y.bin"), context.Canceled)
	mustKeep(t, s, "v/y.bin", 3)
	mustFinish(t, s, "v/y.bin", []byte("yes"))
}

// hashes are those of the tus protocol, and another.
var hashes = map[string]func() hash.Hash{
	"sha1": sha1.New, "md5": md5.New, "sha256": sha256.New,
	"crc32": func() hash.Hash { return crc32.NewIEEE() },
}

// checksumOf returns the right checksum of body, or a wrong one.
func checksumOf(algorithm string, body []byte, right bool) *storage.Checksum {
	h := hashes[algorithm]()
	_, _ = h.Write(body)
	want := h.Sum(nil)
	if !right {
		want[len(want)-1] ^= 1
	}
	return &storage.Checksum{Hash: hashes[algorithm](), Want: want}
}

func (r resuming) checksum(t *testing.T) {
	s := r.open()
	for algorithm := range hashes {
		body := contentBytes(t, 2, 2*r.part+2000)
		mustBegin(t, s, "v/s.bin", len(body))
		at := 0
		for _, n := range []int{1000, 0, r.part, r.part + 999, 1} { // within a part, and over a limit
			piece := body[at : at+n]
			kept, err := s.Append(context.Background(), "v/s.bin", int64(at), bytes.NewReader(piece),
				checksumOf(algorithm, piece, false))
			mustFail(t, fmt.Sprintf("%s: wrong sum of %d bytes", algorithm, n), err, storage.ErrChecksum)
			if kept != int64(at) {
				t.Errorf("%s: wrong sum of %d bytes: append says %d, want %d", algorithm, n, kept, at)
			}
			mustKeep(t, r.open(), "v/s.bin", at)
			mustAppend(t, s, "v/s.bin", at, piece, checksumOf(algorithm, piece, true))
			at += n
			mustKeep(t, r.open(), "v/s.bin", at)
		}
		for _, want := range [][]byte{nil, {1}, make([]byte, 100)} { // not even the right length
			sum := &storage.Checksum{Hash: hashes[algorithm](), Want: want}
			_, err := s.Append(context.Background(), "v/s.bin", int64(at), strings.NewReader("x"), sum)
			mustFail(t, algorithm+": a sum of another length", err, storage.ErrChecksum)
		}
		mustFinish(t, s, "v/s.bin", body)
	}
}

// checksumBroken appends bodies with a checksum that break or are given up: nothing of them is kept, since
// nobody knows whether it is right.
func (r resuming) checksumBroken(t *testing.T) {
	s := r.open()
	boom := errors.New("boom")
	body := contentBytes(t, 3, 2*r.part+1000)
	mustBegin(t, s, "v/b.bin", 0)
	mustAppend(t, s, "v/b.bin", 0, body[:700], nil)
	for _, n := range []int{0, 1000, r.part + 1} {
		sum := checksumOf("sha1", body[700:], true)
		broken := io.MultiReader(bytes.NewReader(body[700:700+n]), iotest.ErrReader(boom))
		kept, err := s.Append(context.Background(), "v/b.bin", 700, broken, sum)
		mustFail(t, fmt.Sprintf("reader fails after %d bytes", n), err, boom)
		if kept != 700 {
			t.Errorf("reader fails after %d bytes: append says %d, want 700", n, kept)
		}
		mustKeep(t, r.open(), "v/b.bin", 700)

		ctx, cancel := context.WithCancel(context.Background())
		endless := readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
		sum = checksumOf("sha1", body[700:], true)
		_, err = s.Append(ctx, "v/b.bin", 700, io.MultiReader(bytes.NewReader(body[700:700+n]), endless), sum)
		mustFail(t, fmt.Sprintf("cancel after %d bytes", n), err, context.Canceled)
		cancel()
		mustKeep(t, r.open(), "v/b.bin", 700)
	}
	mustAppend(t, s, "v/b.bin", 700, body[700:], checksumOf("sha1", body[700:], true))
	mustFinish(t, s, "v/b.bin", body)
}

func (r resuming) finishAgain(t *testing.T) {
	s := r.open()
	body := contentBytes(t, 4, r.part+1)
	mustBegin(t, s, "v/a.bin", len(body))
	mustAppend(t, s, "v/a.bin", 0, body, nil)
	for range 3 {
		mustFinish(t, s, "v/a.bin", body)
		mustFinish(t, r.open(), "v/a.bin", body)
		mustAbsent(t, s, "v/a.bin")
		mustAbandon(t, s, "v/a.bin") // of nothing: the object stays
	}
	if err := s.Delete(context.Background(), "v/a.bin"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Finish(context.Background(), "v/a.bin")
	mustFail(t, "finish what is deleted", err, storage.ErrNotFound)
	mustBeEmpty(t, s)
}

// sizeDiffers finishes objects of other sizes than Begin named. They stay unfinished.
func (r resuming) sizeDiffers(t *testing.T) {
	s := r.open()
	for _, size := range []int{1000, r.part, r.part + 1} {
		body := contentBytes(t, size, size)
		mustBegin(t, s, "v/d.bin", size)
		mustAppend(t, s, "v/d.bin", 0, body[:size-1], nil)
		for range 2 {
			_, err := s.Finish(context.Background(), "v/d.bin")
			mustFail(t, fmt.Sprintf("finish %d of %d bytes", size-1, size), err, storage.ErrSize)
			_, err = s.Stat(context.Background(), "v/d.bin")
			mustFail(t, "stat", err, storage.ErrNotFound)
			mustKeep(t, s, "v/d.bin", size-1)
		}
		mustAppend(t, s, "v/d.bin", size-1, body[size-1:], nil)
		mustFinish(t, s, "v/d.bin", body)
		if err := s.Delete(context.Background(), "v/d.bin"); err != nil {
			t.Fatal(err)
		}

		mustBegin(t, s, "v/d.bin", size-1)
		mustAppend(t, s, "v/d.bin", 0, body, nil)
		_, err := s.Finish(context.Background(), "v/d.bin")
		mustFail(t, fmt.Sprintf("finish %d of %d bytes", size, size-1), err, storage.ErrSize)
		mustAbandon(t, s, "v/d.bin")
	}
	mustBeEmpty(t, s)
}

func (r resuming) abandon(t *testing.T) {
	s := r.open()
	for _, n := range []int{0, 10, 2*r.part + 1} {
		mustBegin(t, s, "v/n.bin", n+1)
		mustAppend(t, s, "v/n.bin", 0, contentBytes(t, 1, n), nil)
		for range 2 {
			mustAbandon(t, s, "v/n.bin")
			mustAbsent(t, s, "v/n.bin")
		}
		_, err := s.Finish(context.Background(), "v/n.bin")
		mustFail(t, "finish what is abandoned", err, storage.ErrNotFound)
		mustBeEmpty(t, s)

		mustBegin(t, s, "v/n.bin", 3) // anew, with nothing of before
		mustKeep(t, s, "v/n.bin", 0)
		mustAppend(t, s, "v/n.bin", 0, []byte("new"), nil)
		mustFinish(t, s, "v/n.bin", []byte("new"))
		if err := s.Delete(context.Background(), "v/n.bin"); err != nil {
			t.Fatal(err)
		}
	}
}

// busy calls every method while an Append waits for its reader.
func (r resuming) busy(t *testing.T) {
	s := r.open()
	ctx := context.Background()
	body := contentBytes(t, 5, r.part+100)
	mustBegin(t, s, "v/b.bin", 0)
	mustAppend(t, s, "v/b.bin", 0, body[:10], nil)
	first, w := io.Pipe()
	var g errgroup.Group
	g.Go(func() error {
		_, err := s.Append(ctx, "v/b.bin", 10, first, nil)
		return err
	})
	if _, err := w.Write(body[10:50]); err != nil { // returns when the Append has read it
		t.Fatal(err)
	}
	for _, offset := range []int64{10, 50} {
		_, err := s.Append(ctx, "v/b.bin", offset, unread{t}, nil)
		mustFail(t, "second append", err, storage.ErrBusy)
	}
	_, err := s.Finish(ctx, "v/b.bin")
	mustFail(t, "finish", err, storage.ErrBusy)
	mustFail(t, "abandon", s.Abandon(ctx, "v/b.bin"), storage.ErrBusy)
	if kept, err := s.Kept(ctx, "v/b.bin"); err != nil || kept < 10 || kept > 50 {
		t.Errorf("kept during an append: %d, %v; want 10 to 50", kept, err)
	}
	_, err = w.Write(body[50:])
	if err := errors.Join(err, w.Close(), g.Wait()); err != nil {
		t.Fatal(err)
	}
	mustKeep(t, s, "v/b.bin", len(body))
	mustFinish(t, s, "v/b.bin", body)
}

func (r resuming) hostile(t *testing.T) {
	s := r.open()
	ctx := context.Background()
	for _, key := range HostileKeys {
		mustFail(t, fmt.Sprintf("begin %.20q", key), s.Begin(ctx, key, 0), storage.ErrKey)
		_, err := s.Kept(ctx, key)
		mustFail(t, fmt.Sprintf("kept of %.20q", key), err, storage.ErrKey)
		_, err = s.Append(ctx, key, 0, unread{t}, nil)
		mustFail(t, fmt.Sprintf("append to %.20q", key), err, storage.ErrKey)
		_, err = s.Finish(ctx, key)
		mustFail(t, fmt.Sprintf("finish %.20q", key), err, storage.ErrKey)
		mustFail(t, fmt.Sprintf("abandon %.20q", key), s.Abandon(ctx, key), storage.ErrKey)
	}
	long := strings.Repeat(strings.Repeat("k", 127)+"/", 4)
	long = long[:storage.MaxKey-1] + "x" // the longest valid key
	mustBegin(t, s, long, 0)
	mustAppend(t, s, long, 0, []byte("long"), nil)
	mustFinish(t, s, long, []byte("long"))
}
