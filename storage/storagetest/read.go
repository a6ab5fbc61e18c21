package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

func ranges(t *testing.T, s storage.Store) {
	body := contentBytes(t, 1, 1000)
	mustPut(t, s, "v/r.bin", body)
	for _, c := range []struct {
		rng  storage.Range
		want []byte
	}{
		{storage.Range{}, body},
		{storage.Range{Length: 1}, body[:1]},
		{storage.Range{Offset: 0, Length: 1000}, body},
		{storage.Range{Offset: 1}, body[1:]},
		{storage.Range{Offset: 1, Length: 1}, body[1:2]},
		{storage.Range{Offset: 10, Length: 20}, body[10:30]},
		{storage.Range{Offset: 990, Length: 500}, body[990:]},
		{storage.Range{Offset: 999}, body[999:]},
		{storage.Range{Offset: 999, Length: math.MaxInt64}, body[999:]},
	} {
		got, info := mustGet(t, s, "v/r.bin", c.rng)
		if !bytes.Equal(got, c.want) {
			t.Errorf("%+v: got %d bytes %.8x, want %d bytes %.8x", c.rng, len(got), got, len(c.want), c.want)
		}
		if info.Size != 1000 || info.Key != "v/r.bin" || info.ContentType != storage.ContentType("v/r.bin") {
			t.Errorf("%+v: says %+v", c.rng, info)
		}
	}
	for _, rng := range []storage.Range{
		{Offset: 1000}, {Offset: 1000, Length: 1}, {Offset: math.MaxInt64}, {Offset: -1}, {Length: -1},
		{Offset: 5, Length: -1}, {Offset: -5, Length: 5}, {Offset: math.MinInt64, Length: math.MinInt64},
	} {
		_, _, err := s.Get(context.Background(), "v/r.bin", rng)
		mustFail(t, fmt.Sprintf("get %+v", rng), err, storage.ErrRange)
	}
}

func notFound(t *testing.T, s storage.Store) {
	mustPut(t, s, "v/there.bin", []byte("x"))
	for _, key := range []string{"v", "v/not", "w/there.bin", "v/there.bi"} {
		for _, rng := range []storage.Range{{}, {Offset: 1, Length: 1}} {
			_, _, err := s.Get(context.Background(), key, rng)
			mustFail(t, "get "+key, err, storage.ErrNotFound)
		}
		_, err := s.Stat(context.Background(), key)
		mustFail(t, "stat "+key, err, storage.ErrNotFound)
		if l, ok := storage.As[storage.LocalPather](s); ok {
			if path, ok := l.LocalPath(key); ok {
				t.Errorf("local path of %s is %s", key, path)
			}
		}
	}
}

func cancelGet(t *testing.T, s storage.Store) {
	mustPut(t, s, "v/g.bin", contentBytes(t, 1, large))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, _, err := s.Get(ctx, "v/g.bin", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Errorf("read: %v", err)
	}
	cancel()
	_, err = io.Copy(io.Discard, r)
	mustFail(t, "read on", err, context.Canceled)
	_ = r.Close() // it may return the context's error again
}

// readerOutlives deletes and replaces an object while it is read.
func readerOutlives(t *testing.T, s storage.Store) {
	ctx := context.Background()
	body := contentBytes(t, 1, large)
	for _, change := range []func() error{
		func() error { return s.Delete(ctx, "v/o.bin") },
		func() error { _, err := s.Put(ctx, "v/o.bin", content(2, large), storage.PutOptions{}); return err },
	} {
		mustPut(t, s, "v/o.bin", body)
		r, _, err := s.Get(ctx, "v/o.bin", storage.Range{})
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 100)
		_, headErr := io.ReadFull(r, head)
		changeErr := change()
		rest, restErr := io.ReadAll(r)
		if err := errors.Join(headErr, changeErr, restErr, r.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(head, rest...), body) {
			t.Error("an open reader saw more than one version")
		}
	}
}
