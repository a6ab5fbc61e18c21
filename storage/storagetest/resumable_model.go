package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/storage"
)

// model runs the same operations on the store and on slices of bytes, and compares the results.
func (r resuming) model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &resumer{r: r, s: r.open(), begun: map[string]*begun{}, objects: map[string][]byte{}}
		defer m.clear(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"begin":   m.begin,
			"append":  m.append,
			"finish":  m.finish,
			"abandon": m.abandon,
			"put":     m.put,
			"":        m.check,
		})
	})
}

// resumer is one run of the model.
type resumer struct {
	r       resuming
	s       ResumableStore
	begun   map[string]*begun
	objects map[string][]byte
	last    string // the last key used
}

// begun is an unfinished object.
type begun struct {
	size int
	body []byte
}

var (
	errModel  = errors.New("the reader fails")
	modelKeys = []string{"a/x.bin", "a/y.bin", "b.bin"}
)

func (m *resumer) key(t *rapid.T) string {
	m.last = rapid.SampledFrom(modelKeys).Draw(t, "key")
	return m.last
}

func (m *resumer) begin(t *rapid.T) {
	key := m.key(t)
	size := rapid.IntRange(0, 3).Draw(t, "size")
	if err := m.s.Begin(context.Background(), key, int64(size)); err != nil {
		t.Fatal(err)
	}
	if m.begun[key] == nil {
		m.begun[key] = &begun{size: size}
	}
}

// length draws how many bytes to append: few, and at times more than a part.
func (m *resumer) length(t *rapid.T) int {
	few := rapid.IntRange(0, 64)
	if rapid.IntRange(0, 11).Draw(t, "large") < 11 {
		return few.Draw(t, "length")
	}
	return m.r.part + few.Draw(t, "more than a part")
}

func (m *resumer) append(t *rapid.T) {
	key := m.key(t)
	b := m.begun[key]
	offset := rapid.SampledFrom([]int{0, 0, 0, 0, 1, -1}).Draw(t, "offset is wrong by")
	if b != nil {
		offset += len(b.body)
	}
	body := contentBytes(discard{}, rapid.IntRange(0, 1000).Draw(t, "content"), m.length(t))
	var src io.Reader = bytes.NewReader(body)
	fails := rapid.IntRange(0, 4).Draw(t, "reader fails") == 0
	if fails {
		src = io.MultiReader(src, iotest.ErrReader(errModel))
	}
	sum := rapid.SampledFrom([]string{"none", "none", "right", "wrong"}).Draw(t, "checksum")
	var checksum *storage.Checksum
	if sum != "none" {
		checksum = checksumOf("crc32", body, sum == "right")
	}
	kept, err := m.s.Append(context.Background(), key, int64(offset), src, checksum)
	switch {
	case b == nil:
		wantError(t, err, storage.ErrNotFound)
		return
	case offset != len(b.body):
		wantError(t, err, storage.ErrOffset)
		return
	case fails:
		wantError(t, err, errModel)
	case sum == "wrong":
		wantError(t, err, storage.ErrChecksum)
	default:
		wantError(t, err, nil)
	}
	if sum == "none" || sum == "right" && !fails {
		b.body = append(b.body, body...)
	}
	if kept != int64(len(b.body)) {
		t.Fatalf("append says %d, want %d", kept, len(b.body))
	}
}

func (m *resumer) finish(t *rapid.T) {
	key := m.key(t)
	info, err := m.s.Finish(context.Background(), key)
	b := m.begun[key]
	object, taken := m.objects[key]
	switch {
	case b == nil && !taken:
		wantError(t, err, storage.ErrNotFound)
		return
	case b != nil && b.size > 0 && len(b.body) != b.size:
		wantError(t, err, storage.ErrSize)
		return
	case b != nil:
		object = slices.Clone(b.body)
		delete(m.begun, key)
	}
	wantError(t, err, nil)
	m.objects[key] = object
	if info.Size != int64(len(object)) || info.SHA256 != hexSum(object) || info.Key != key {
		t.Fatalf("finish says %+v, want %d bytes with the sum %s", info, len(object), hexSum(object))
	}
}

func (m *resumer) abandon(t *rapid.T) {
	key := m.key(t)
	wantError(t, m.s.Abandon(context.Background(), key), nil)
	delete(m.begun, key)
}

func (m *resumer) put(t *rapid.T) {
	key := m.key(t)
	_, err := m.s.Put(context.Background(), key, bytes.NewReader([]byte("put")), storage.PutOptions{})
	wantError(t, err, nil)
	m.objects[key] = []byte("put")
}

// check compares the last key, at times with a store opened anew.
func (m *resumer) check(t *rapid.T) {
	if m.last == "" {
		return
	}
	if rapid.IntRange(0, 19).Draw(t, "open again") == 0 {
		m.s = m.r.open()
	}
	kept, err := m.s.Kept(context.Background(), m.last)
	if b := m.begun[m.last]; b == nil {
		wantError(t, err, storage.ErrNotFound)
	} else if err != nil || kept != int64(len(b.body)) {
		t.Fatalf("kept of %s: %d, %v; want %d", m.last, kept, err, len(b.body))
	}
	r, _, err := m.s.Get(context.Background(), m.last, storage.Range{})
	want, taken := m.objects[m.last]
	if !taken {
		wantError(t, err, storage.ErrNotFound)
		return
	}
	wantError(t, err, nil)
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s holds %d bytes, %v; want %d", m.last, len(got), err, len(want))
	}
}

func (m *resumer) clear(t *rapid.T) {
	for _, key := range modelKeys {
		err := errors.Join(m.s.Abandon(context.Background(), key), m.s.Delete(context.Background(), key))
		wantError(t, err, nil)
	}
}

func wantError(t *rapid.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// discard is a testing.TB for what cannot fail.
type discard struct{ testing.TB }

// Helper implements testing.TB.
func (discard) Helper() {}
