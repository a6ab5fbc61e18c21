// Package storagetest is the conformance suite that every storage.Store passes. Its tests are in the order of
// the contract. Each gets a fresh store, so that its result does not depend on another. Disk opens a store
// for other tests. Only tests import the package.
package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

// large is more than one part of a store that sends parts; see Run.
const large = 6 << 20

// Run runs the suite, calling open for each test. The store must be empty and used by nobody else; open
// registers its Close with t.Cleanup. A store that sends objects in parts should use parts of at most 5 MiB,
// so that the larger objects need several.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	questions := []struct {
		name string
		ask  func(t *testing.T, s storage.Store)
	}{
		{"round trip", roundTrip},
		{"empty object", emptyObject},
		{"stream of unknown size", streamUnknownSize},
		{"content types", contentTypes},
		{"overwrite is atomic", overwriteAtomic},
		{"if absent", ifAbsent},
		{"if absent has one winner", ifAbsentRace},
		{"reader fails", readerFails},
		{"context ends during a put", cancelPut},
		{"size differs", sizeDiffers},
		{"ranges", ranges},
		{"not found", notFound},
		{"context ends during a get", cancelGet},
		{"reader outlives its object", readerOutlives},
		{"context has ended", contextEnded},
		{"hostile keys", hostileKeys},
		{"list in order", listOrder},
		{"list by prefix", listPrefix},
		{"list many", listMany},
		{"delete", deleteIdempotent},
		{"delete by prefix", deletePrefix},
		{"neighbours come and go", neighbours},
		{"model", model},
	}
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) { q.ask(t, open(t)) })
	}
}

// content returns a reader of n bytes that depend only on the seed.
func content(seed, n int) io.Reader {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	return io.LimitReader(rand.NewChaCha8(key), int64(n))
}

// contentBytes returns the bytes of content.
func contentBytes(t testing.TB, seed, n int) []byte {
	t.Helper()
	b, err := io.ReadAll(content(seed, n))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// mustPut puts body and checks the Info.
func mustPut(t testing.TB, s storage.Store, key string, body []byte) {
	t.Helper()
	o := storage.PutOptions{Size: int64(len(body))}
	info, err := s.Put(context.Background(), key, bytes.NewReader(body), o)
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != key || info.Size != int64(len(body)) || info.SHA256 != hexSum(body) {
		t.Fatalf("put %s of %d bytes says %+v", key, len(body), info)
	}
}

// mustGet gets a range and returns it.
func mustGet(t testing.TB, s storage.Store, key string, rng storage.Range) ([]byte, storage.Info) {
	t.Helper()
	r, info, err := s.Get(context.Background(), key, rng)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return b, info
}

// mustHold checks that the object under key has this body.
func mustHold(t testing.TB, s storage.Store, key string, body []byte) {
	t.Helper()
	got, info := mustGet(t, s, key, storage.Range{})
	if !bytes.Equal(got, body) {
		t.Fatalf("%s holds %d bytes %.16x..., want %d bytes %.16x...", key, len(got), got, len(body), body)
	}
	if info.Key != key || info.Size != int64(len(body)) || info.Modified.IsZero() {
		t.Errorf("get %s says %+v", key, info)
	}
}

// mustBeEmpty checks that the store holds neither objects nor unfinished writes.
func mustBeEmpty(t testing.TB, s storage.Store) {
	t.Helper()
	if keys := list(t, s, ""); len(keys) != 0 {
		t.Errorf("store holds %q, want nothing", keys)
	}
	if r, ok := storage.As[storage.Reclaimer](s); ok {
		n, err := r.Reclaim(context.Background(), 0)
		if n != 0 || err != nil {
			t.Errorf("reclaim found %d unfinished objects (%v), want none", n, err)
		}
	}
}

// mustFail checks that err is the error that the contract names.
func mustFail(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// list returns the keys below prefix.
func list(t testing.TB, s storage.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(context.Background(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}
