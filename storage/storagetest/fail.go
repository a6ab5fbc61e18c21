package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/reelmill/reelmill/storage"
)

// readerFails fails the reader at its beginning, within a part and after a part. One of the errors is that
// of a broken connection, which a careless copy takes for the end.
func readerFails(t *testing.T, s storage.Store) {
	faults := []error{errors.New("boom"), io.ErrUnexpectedEOF, storage.ErrNotFound}
	for _, fault := range faults {
		for _, n := range []int{0, 1000, 5 << 20, large} {
			for _, size := range []int64{0, 2 * large} {
				r := io.MultiReader(content(1, n), iotest.ErrReader(fault))
				_, err := s.Put(context.Background(), "v/f.bin", r, storage.PutOptions{Size: size})
				mustFail(t, fmt.Sprintf("reader fails after %d bytes", n), err, fault)
				_, err = s.Stat(context.Background(), "v/f.bin")
				mustFail(t, "stat", err, storage.ErrNotFound)
			}
		}
	}
	mustBeEmpty(t, s)
	old := []byte("old")
	mustPut(t, s, "v/f.bin", old)
	r := io.MultiReader(content(1, large), iotest.ErrReader(faults[0]))
	_, err := s.Put(context.Background(), "v/f.bin", r, storage.PutOptions{})
	mustFail(t, "reader fails over an object", err, faults[0])
	mustHold(t, s, "v/f.bin", old)
}

// cancelPut ends the context from within the reader, which goes on yielding bytes.
func cancelPut(t *testing.T, s storage.Store) {
	for _, n := range []int{0, 1000, large} {
		ctx, cancel := context.WithCancel(context.Background())
		endless := readerFunc(func(p []byte) (int, error) {
			cancel()
			return len(p), nil
		})
		_, err := s.Put(ctx, "v/c.bin", io.MultiReader(content(1, n), endless), storage.PutOptions{})
		mustFail(t, fmt.Sprintf("cancel after %d bytes", n), err, context.Canceled)
		cancel()
	}
	mustBeEmpty(t, s)
}

type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func sizeDiffers(t *testing.T, s storage.Store) {
	for _, c := range []struct {
		have int
		want int64
	}{
		{0, 1}, {999, 1000}, {1001, 1000}, {1000, large}, {large, 1000}, {large - 1, large}, {large + 1, large},
		{large, 2 * large}, {(5 << 20) + 1, 5 << 20}, {5 << 20, (5 << 20) + 1},
	} {
		_, err := s.Put(context.Background(), "v/s.bin", content(1, c.have), storage.PutOptions{Size: c.want})
		mustFail(t, fmt.Sprintf("%d bytes for %d", c.have, c.want), err, storage.ErrSize)
	}
	mustBeEmpty(t, s)
}

// contextEnded calls every method with an ended context.
func contextEnded(t *testing.T, s storage.Store) {
	mustPut(t, s, "v/x.bin", []byte("x"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Put(ctx, "v/y.bin", strings.NewReader("y"), storage.PutOptions{})
	mustFail(t, "put", err, context.Canceled)
	_, _, err = s.Get(ctx, "v/x.bin", storage.Range{})
	mustFail(t, "get", err, context.Canceled)
	_, err = s.Stat(ctx, "v/x.bin")
	mustFail(t, "stat", err, context.Canceled)
	mustFail(t, "list", firstError(s.List(ctx, "")), context.Canceled)
	mustFail(t, "delete", s.Delete(ctx, "v/x.bin"), context.Canceled)
	_, err = storage.DeletePrefix(ctx, s, "v/")
	mustFail(t, "delete prefix", err, context.Canceled)
	mustHold(t, s, "v/x.bin", []byte("x"))
}

// firstError runs a listing until its error.
func firstError(seq func(func(storage.Info, error) bool)) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// HostileKeys are keys that every store refuses.
var HostileKeys = []string{
	"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", ".tmp/a", "a/.hidden",
	"a..b", "a b", "a\\b", "a\x00b", "a\nb", "a%2fb", "a:b", "a?b", "a#b", "a*b", "~", "é", "a/\xff", "-\u202e",
	strings.Repeat("a", 256), strings.Repeat("a/", 256) + "a",
}

func hostileKeys(t *testing.T, s storage.Store) {
	ctx := context.Background()
	for _, key := range HostileKeys {
		_, err := s.Put(ctx, key, bytes.NewReader([]byte("x")), storage.PutOptions{})
		mustFail(t, fmt.Sprintf("put %.20q", key), err, storage.ErrKey)
		_, _, err = s.Get(ctx, key, storage.Range{})
		mustFail(t, fmt.Sprintf("get %.20q", key), err, storage.ErrKey)
		_, err = s.Stat(ctx, key)
		mustFail(t, fmt.Sprintf("stat %.20q", key), err, storage.ErrKey)
		mustFail(t, fmt.Sprintf("delete %.20q", key), s.Delete(ctx, key), storage.ErrKey)
		if l, ok := storage.As[storage.LocalPather](s); ok {
			if path, ok := l.LocalPath(key); ok {
				t.Errorf("local path of %.20q is %s", key, path)
			}
		}
		if p, ok := storage.As[storage.Presigner](s); ok {
			_, err = p.PresignGet(ctx, key, 1e9)
			mustFail(t, fmt.Sprintf("presign get %.20q", key), err, storage.ErrKey)
			_, err = p.PresignPut(ctx, key, 1e9)
			mustFail(t, fmt.Sprintf("presign put %.20q", key), err, storage.ErrKey)
		}
	}
	for _, prefix := range []string{"/", "..", "../", ".tmp/", "a//", "a b", "a\x00"} {
		mustFail(t, fmt.Sprintf("list %q", prefix), firstError(s.List(ctx, prefix)), storage.ErrKey)
	}
	mustBeEmpty(t, s)
}
