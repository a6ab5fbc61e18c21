package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/storage"
)

// awkward are keys in the order in which a store must list them. Sorting folders first, files first, or by
// segment gets them wrong: in bytes, '-' and '.' come before '/', which comes before '0'.
var awkward = []string{
	"A/z", "a-b", "a.b/c", "a.c", "a/b-c", "a/b.c", "a/b/c", "a/b0", "a0", "a_", "b/c/d/e/f",
}

func listOrder(t *testing.T, s storage.Store) {
	for i := range awkward {
		key := awkward[i*7%len(awkward)] // 7 and 11 have no common factor: each key once, shuffled
		mustPut(t, s, key, []byte(key))
	}
	if diff := cmp.Diff(awkward, list(t, s, "")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for info, err := range s.List(context.Background(), "a/b/") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != "a/b/c" || info.Size != 5 || info.Modified.IsZero() ||
			info.ContentType != storage.ContentType("a/b/c") {
			t.Errorf("list says %+v", info)
		}
	}
	for range s.List(context.Background(), "") {
		break // leaving an iterator early must not panic or leak
	}
}

func listPrefix(t *testing.T, s storage.Store) {
	for _, key := range awkward {
		mustPut(t, s, key, []byte(key))
	}
	for _, prefix := range []string{
		"a", "a/", "a/b", "a/b/", "a/b/c", "a/b/c/", "a.", "a.b", "b/c/d/e/f", "c", "c/d/", "A", "-",
	} {
		var want []string
		for _, key := range awkward {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		if diff := cmp.Diff(want, list(t, s, prefix)); diff != "" {
			t.Errorf("keys below %q (-want +got):\n%s", prefix, diff)
		}
	}
}

// listMany lists more keys than a page of S3 holds.
func listMany(t *testing.T, s storage.Store) {
	const many = 1100
	var want []string
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(8)
	for i := range many {
		key := fmt.Sprintf("videos/v%02d/job/1/%04d.m4s", i%7, i)
		want = append(want, key)
		g.Go(func() error {
			_, err := s.Put(ctx, key, strings.NewReader(key), storage.PutOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, list(t, s, "videos/")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	n, err := storage.DeletePrefix(context.Background(), s, "videos/")
	if n != many || err != nil {
		t.Errorf("delete prefix: %d, %v; want %d", n, err, many)
	}
	mustBeEmpty(t, s)
}

func deleteIdempotent(t *testing.T, s storage.Store) {
	ctx := context.Background()
	mustPut(t, s, "v/a/1.bin", []byte("x"))
	mustPut(t, s, "v/a/2.bin", []byte("y"))
	for _, key := range []string{"v/a/1.bin", "v/a/1.bin", "v/a", "v", "w/a/1.bin", "v/a/2.bin/below"} {
		if err := s.Delete(ctx, key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	_, err := s.Stat(ctx, "v/a/1.bin")
	mustFail(t, "stat", err, storage.ErrNotFound)
	mustHold(t, s, "v/a/2.bin", []byte("y"))
}

func deletePrefix(t *testing.T, s storage.Store) {
	ctx := context.Background()
	for _, key := range awkward {
		mustPut(t, s, key, []byte(key))
	}
	for _, prefix := range []string{"", "a", "a/b", "/", "../"} {
		n, err := storage.DeletePrefix(ctx, s, prefix)
		mustFail(t, fmt.Sprintf("delete prefix %q", prefix), err, storage.ErrKey)
		if n != 0 {
			t.Errorf("delete prefix %q deleted %d", prefix, n)
		}
	}
	for range 2 {
		if _, err := storage.DeletePrefix(ctx, s, "a/"); err != nil {
			t.Error(err)
		}
	}
	want := slices.DeleteFunc(slices.Clone(awkward), func(k string) bool { return strings.HasPrefix(k, "a/") })
	if diff := cmp.Diff(want, list(t, s, "")); diff != "" {
		t.Errorf("keys that stay (-want +got):\n%s", diff)
	}
}

// neighbours puts and deletes in the same folders from several goroutines. One object stays, so that a
// server with folders keeps them: versitygw 1.8.0 sometimes acknowledges a Put and loses it when a Delete
// of the last sibling removes the folder meanwhile. (storage/disk has its own test of that case.)
func neighbours(t *testing.T, s storage.Store) {
	mustPut(t, s, "v/job/1/stays.bin", []byte("here"))
	g, ctx := errgroup.WithContext(context.Background())
	for w := range 4 {
		g.Go(func() error {
			key := fmt.Sprintf("v/job/1/%d.bin", w)
			for range 50 {
				_, err := s.Put(ctx, key, strings.NewReader(key), storage.PutOptions{})
				if err == nil {
					_, err = s.Stat(ctx, key)
				}
				if err := errors.Join(err, s.Delete(ctx, key)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v/job/1/stays.bin"}, list(t, s, "")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
