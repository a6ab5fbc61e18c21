package storagetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/storage"
)

// model runs the same operations on the store and on a map, and compares the results.
func model(t *testing.T, s storage.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{s: s, want: map[string][]byte{}}
		defer m.clear(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"put":    m.put,
			"delete": m.delete,
			"list":   m.list,
			"":       m.check,
		})
	})
}

// machine is one run of the model.
type machine struct {
	s    storage.Store
	want map[string][]byte
	last string // the last key put or deleted
}

// key draws a key of one to three segments. Only the last one has an extension, so that no key is the
// folder of another.
func (m *machine) key(t *rapid.T) string {
	folder := rapid.SampledFrom([]string{"a", "a-b", "a0", "b"})
	folders := rapid.SliceOfN(folder, 0, 2).Draw(t, "folders")
	leaf := rapid.SampledFrom([]string{"a.x", "a-b.x", "b.x"}).Draw(t, "leaf")
	m.last = strings.Join(append(folders, leaf), "/")
	return m.last
}

func (m *machine) put(t *rapid.T) {
	key := m.key(t)
	body := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "body")
	o := storage.PutOptions{IfAbsent: rapid.Bool().Draw(t, "if absent")}
	_, err := m.s.Put(context.Background(), key, bytes.NewReader(body), o)
	if _, taken := m.want[key]; taken && o.IfAbsent {
		if !errors.Is(err, storage.ErrExists) {
			t.Fatalf("put %s again: %v", key, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.want[key] = body
}

func (m *machine) delete(t *rapid.T) {
	key := m.key(t)
	if err := m.s.Delete(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	delete(m.want, key)
}

func (m *machine) list(t *rapid.T) {
	prefix := rapid.SampledFrom([]string{"", "a", "a/", "a-", "a/a", "a/a/", "b/a0/a"}).Draw(t, "prefix")
	var want []string
	for _, key := range slices.Sorted(maps.Keys(m.want)) {
		if strings.HasPrefix(key, prefix) {
			want = append(want, key)
		}
	}
	var got []string
	for info, err := range m.s.List(context.Background(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("keys below %q (-want +got):\n%s", prefix, diff)
	}
}

// check compares the last key.
func (m *machine) check(t *rapid.T) {
	if m.last == "" {
		return
	}
	info, err := m.s.Stat(context.Background(), m.last)
	body, taken := m.want[m.last]
	if !taken {
		if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("stat %s, which is deleted: %v", m.last, err)
		}
		return
	}
	if err != nil || info.Size != int64(len(body)) {
		t.Fatalf("stat %s: %d bytes, %v; want %d", m.last, info.Size, err, len(body))
	}
}

func (m *machine) clear(t *rapid.T) {
	for key := range m.want {
		if err := m.s.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
}
