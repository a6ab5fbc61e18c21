package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

func TestValidKey(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "A-Z_0.9", "-", "_", "a.", "a/-/_", strings.Repeat("a", 255),
		strings.Repeat("a/", 255) + "aa",
	} {
		if err := storage.ValidKey(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"", "/", "a//b", "..", ".a", "a/..", "a..b", "a b", "é", strings.Repeat("a", 513)} {
		if err := storage.ValidKey(key); !errors.Is(err, storage.ErrKey) {
			t.Errorf("%q: %v, want ErrKey", key, err)
		}
	}
}

// plain is the rule for keys as a regular expression.
var plain = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*$`)

func FuzzValidKey(f *testing.F) {
	for _, seed := range []string{"videos/v/source/a.mp4", "a/../b", ".tmp/x", "a//b", "a\x00", "a\n", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		valid := storage.ValidKey(key) == nil
		if want := plain.MatchString(key) && !strings.Contains(key, "..") && len(key) <= 512; valid != want {
			t.Errorf("%q: valid is %v, want %v", key, valid, want)
		}
		if !valid {
			return
		}
		if !fs.ValidPath(key) {
			t.Errorf("%q is no path", key)
		}
		for i := range key { // every prefix of a valid key is valid
			if err := storage.ValidPrefix(key[:i]); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestContentType(t *testing.T) {
	for key, want := range map[string]string{
		"v/master.m3u8": "application/vnd.apple.mpegurl",
		"v/x.mpd":       "application/dash+xml",
		"v/0001.m4s":    "video/iso.segment",
		"v/x.MP4":       "video/mp4",
		"v/x.m4a":       "audio/mp4",
		"v/x.vtt":       "text/vtt; charset=utf-8",
		"v/x.svg":       storage.Unknown,
		"v/x.html":      storage.Unknown,
		"v.mp4/x":       storage.Unknown,
		"mp4":           storage.Unknown,
		"":              storage.Unknown,
	} {
		if got := storage.ContentType(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func ExampleRange_Resolve() {
	offset, length, err := storage.Range{Offset: 10, Length: 100}.Resolve(50)
	fmt.Println(offset, length, err)
	_, _, err = storage.Range{Offset: 50}.Resolve(50)
	fmt.Println(err)
	// Output:
	// 10 40 <nil>
	// bytes 50+0 of 50: range not satisfiable
}

// keys is a store with only the methods that DeletePrefix calls.
type keys struct {
	storage.Store
	have []string
	fail string // the key that cannot be deleted
}

func (k *keys) List(_ context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for _, key := range slices.Clone(k.have) {
			if strings.HasPrefix(key, prefix) && !yield(storage.Info{Key: key}, nil) {
				return
			}
		}
	}
}

func (k *keys) Delete(_ context.Context, key string) error {
	if key == k.fail {
		return storage.ErrFull
	}
	k.have = slices.DeleteFunc(k.have, func(have string) bool { return have == key })
	return nil
}

// TestDeletePrefix uses a store without a faster way.
func TestDeletePrefix(t *testing.T) {
	s := &keys{have: []string{"a/1", "a/2", "a/3", "ab/1"}, fail: "a/3"}
	n, err := storage.DeletePrefix(context.Background(), s, "a/")
	if n != 2 || !errors.Is(err, storage.ErrFull) {
		t.Errorf("deleted %d, %v; want 2 and the error", n, err)
	}
	s.fail = ""
	n, err = storage.DeletePrefix(context.Background(), s, "a/")
	if n != 1 || err != nil || !slices.Equal(s.have, []string{"ab/1"}) {
		t.Errorf("deleted %d, %v, and %q is left", n, err, s.have)
	}
	if _, err = storage.DeletePrefix(context.Background(), s, "a"); !errors.Is(err, storage.ErrKey) {
		t.Errorf("prefix without a slash: %v", err)
	}
}
