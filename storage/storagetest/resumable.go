package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/storage"
)

// ResumableStore is what RunResumable asks of a store: it reads objects back, too.
type ResumableStore interface {
	storage.Store
	storage.Resumable
}

// RunResumable runs the suite of storage.Resumable. It calls place for each test. place makes an empty place
// that nobody else uses, and returns a function that opens the store there. The function is called again to
// test what another process would find; the stores that it opened before stay open. It registers each Close
// with t.Cleanup. part is how many bytes the store sends, or writes, at a time: sizes around it are tested.
// It is at most 5 MiB.
func RunResumable(t *testing.T, part int, place func(t *testing.T) func() ResumableStore) {
	questions := []struct {
		name string
		ask  func(r resuming, t *testing.T)
	}{
		{"in one piece", resuming.whole},
		{"cut anywhere", resuming.cut},
		{"many pieces", resuming.pieces},
		{"opened again between any two calls", resuming.reopened},
		{"empty object", resuming.empty},
		{"stream in little memory", resuming.stream},
		{"begin again", resuming.beginAgain},
		{"not begun", resuming.notBegun},
		{"no object before its end", resuming.unseen},
		{"a key that is taken", resuming.taken},
		{"wrong offset", resuming.wrongOffset},
		{"readers of all kinds", resuming.readers},
		{"reader fails", resuming.readerFails},
		{"context ends during an append", resuming.cancel},
		{"context has ended", resuming.ended},
		{"checksum", resuming.checksum},
		{"checksum of a broken body", resuming.checksumBroken},
		{"finish repeated", resuming.finishAgain},
		{"finish with another size", resuming.sizeDiffers},
		{"abandon", resuming.abandon},
		{"two writers of a key", resuming.busy},
		{"keys beside each other", resuming.parallel},
		{"hostile keys", resuming.hostile},
		{"model", resuming.model},
	}
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) { q.ask(resuming{place(t), part}, t) })
	}
}

// resuming is an empty place, and the size of a part in it.
type resuming struct {
	open func() ResumableStore
	part int
}

// sizes are numbers of bytes around the limits of parts.
func (r resuming) sizes() []int {
	p := r.part
	return []int{1, p - 1, p, p + 1, 2*p - 1, 2 * p, 2*p + 1, 3*p + p/2}
}

func (r resuming) whole(t *testing.T) {
	s := r.open()
	for _, n := range r.sizes() {
		body := contentBytes(t, n, n)
		mustBegin(t, s, "v/whole.bin", len(body))
		mustKeep(t, s, "v/whole.bin", 0)
		mustAppend(t, s, "v/whole.bin", 0, body, nil)
		mustKeep(t, s, "v/whole.bin", n)
		mustFinish(t, s, "v/whole.bin", body)
	}
}

// cut appends an object in two pieces, the first of each size.
func (r resuming) cut(t *testing.T) {
	s := r.open()
	body := contentBytes(t, 1, 2*r.part+100)
	for _, n := range append(r.sizes(), 0, len(body)-1, len(body)) {
		if n > len(body) {
			continue
		}
		mustBegin(t, s, "v/cut.bin", 0)
		mustAppend(t, s, "v/cut.bin", 0, body[:n], nil)
		mustKeep(t, s, "v/cut.bin", n)
		mustAppend(t, s, "v/cut.bin", n, body[n:], nil)
		mustFinish(t, s, "v/cut.bin", body)
	}
}

func (r resuming) pieces(t *testing.T) {
	s := r.open()
	random := rand.New(rand.NewPCG(1, 2))
	body := contentBytes(t, 2, 3*r.part)
	mustBegin(t, s, "v/pieces.bin", len(body))
	for at := 0; at < len(body); {
		n := min(len(body)-at, random.IntN(r.part/4)+1)
		if random.IntN(3) == 0 {
			n = min(n, 3)
		}
		mustAppend(t, s, "v/pieces.bin", at, body[at:at+n], nil)
		at += n
	}
	mustFinish(t, s, "v/pieces.bin", body)
}

func (r resuming) reopened(t *testing.T) {
	body := contentBytes(t, 3, r.part+r.part/2)
	mustBegin(t, r.open(), "v/r.bin", len(body))
	at := 0
	for _, n := range []int{1, 1000, r.part - 1, r.part/2 - 1000} {
		mustKeep(t, r.open(), "v/r.bin", at)
		mustAppend(t, r.open(), "v/r.bin", at, body[at:at+n], nil)
		at += n
	}
	mustKeep(t, r.open(), "v/r.bin", len(body))
	mustFinish(t, r.open(), "v/r.bin", body)
	mustFinish(t, r.open(), "v/r.bin", body)
	_, err := r.open().Kept(context.Background(), "v/r.bin")
	mustFail(t, "kept of a finished key", err, storage.ErrNotFound)
	mustBegin(t, r.open(), "v/r.bin", 0)
	mustAppend(t, r.open(), "v/r.bin", 0, body[:10], nil)
	mustAbandon(t, r.open(), "v/r.bin")
	mustHold(t, r.open(), "v/r.bin", body)
	if err := r.open().Delete(context.Background(), "v/r.bin"); err != nil {
		t.Error(err)
	}
	mustBeEmpty(t, r.open())
}

func (r resuming) empty(t *testing.T) {
	s := r.open()
	mustBegin(t, s, "v/never.bin", 0)
	mustFinish(t, s, "v/never.bin", nil) // without an Append
	mustBegin(t, s, "v/e.bin", 0)
	mustAppend(t, s, "v/e.bin", 0, nil, nil)
	mustKeep(t, s, "v/e.bin", 0)
	mustFinish(t, s, "v/e.bin", nil)
	mustFinish(t, s, "v/e.bin", nil)
	mustBegin(t, s, "v/five.bin", 5)
	_, err := s.Finish(context.Background(), "v/five.bin")
	mustFail(t, "finish five bytes that never came", err, storage.ErrSize)
}

// stream appends more than a store may collect in memory.
func (r resuming) stream(t *testing.T) {
	s := r.open()
	size := max(16<<20, 8*r.part)
	mustBegin(t, s, "v/stream.bin", size)
	var kept int64
	var err error
	grown := allocated(func() {
		kept, err = s.Append(context.Background(), "v/stream.bin", 0, content(1, size), nil)
	})
	if err != nil || kept != int64(size) {
		t.Fatalf("append: %d, %v", kept, err)
	}
	if grown >= uint64(size) {
		t.Errorf("append allocated %d bytes for %d", grown, size)
	}
	var info storage.Info
	grown = allocated(func() { info, err = s.Finish(context.Background(), "v/stream.bin") })
	if want := hexSum(contentBytes(t, 1, size)); err != nil || info.SHA256 != want || info.Size != int64(size) {
		t.Errorf("finish: %+v, %v; want %s", info, err, want)
	}
	if grown >= uint64(size) {
		t.Errorf("finish allocated %d bytes for %d", grown, size)
	}
}

// beginAgain begins an object that is begun: it stays as it is, with its size.
func (r resuming) beginAgain(t *testing.T) {
	s := r.open()
	mustBegin(t, s, "v/b.bin", 6)
	mustBegin(t, s, "v/b.bin", 7)
	mustAppend(t, s, "v/b.bin", 0, []byte("abc"), nil)
	mustBegin(t, s, "v/b.bin", 3)
	mustKeep(t, s, "v/b.bin", 3)
	_, err := s.Finish(context.Background(), "v/b.bin")
	mustFail(t, "finish half of it", err, storage.ErrSize)
	mustAppend(t, s, "v/b.bin", 3, []byte("def"), nil)
	mustFinish(t, s, "v/b.bin", []byte("abcdef"))
	mustBegin(t, s, "v/b.bin", 2) // a finished key begins anew
	mustKeep(t, s, "v/b.bin", 0)
	mustAppend(t, s, "v/b.bin", 0, []byte("xy"), nil)
	mustFinish(t, s, "v/b.bin", []byte("xy"))
}

func (r resuming) notBegun(t *testing.T) {
	s := r.open()
	mustBegin(t, s, "v/other.bin", 0)
	mustAbsent(t, s, "v/not.bin")
	_, err := s.Finish(context.Background(), "v/not.bin")
	mustFail(t, "finish", err, storage.ErrNotFound)
	mustAbandon(t, s, "v/not.bin")
}

// unseen looks for an unfinished object among the objects, and deletes what is around it.
func (r resuming) unseen(t *testing.T) {
	s := r.open()
	ctx := context.Background()
	body := contentBytes(t, 4, 2*r.part+1)
	mustBegin(t, s, "v/u.bin", 0)
	mustAppend(t, s, "v/u.bin", 0, body[:r.part+1], nil)
	_, _, err := s.Get(ctx, "v/u.bin", storage.Range{})
	mustFail(t, "get", err, storage.ErrNotFound)
	_, err = s.Stat(ctx, "v/u.bin")
	mustFail(t, "stat", err, storage.ErrNotFound)
	if local, ok := storage.As[storage.LocalPather](s); ok {
		if path, ok := local.LocalPath("v/u.bin"); ok {
			t.Errorf("local path %s", path)
		}
	}
	mustBeEmpty(t, s) // reclaims too, like the next process and the janitor
	mustBeEmpty(t, r.open())
	n, err := storage.DeletePrefix(ctx, s, "v/")
	if err := errors.Join(err, s.Delete(ctx, "v/u.bin")); n != 0 || err != nil {
		t.Errorf("delete: %d, %v", n, err)
	}
	mustKeep(t, s, "v/u.bin", r.part+1)
	mustAppend(t, s, "v/u.bin", r.part+1, body[r.part+1:], nil)
	mustFinish(t, s, "v/u.bin", body)
}

func (r resuming) taken(t *testing.T) {
	s := r.open()
	old, body := []byte("old"), contentBytes(t, 5, r.part+1)
	mustPut(t, s, "v/t.bin", old)
	mustBegin(t, s, "v/t.bin", len(body))
	mustAppend(t, s, "v/t.bin", 0, body, nil)
	mustHold(t, s, "v/t.bin", old)
	mustFinish(t, s, "v/t.bin", body)
	mustBegin(t, s, "v/t.bin", 0)
	mustAppend(t, s, "v/t.bin", 0, []byte("never"), nil)
	mustAbandon(t, s, "v/t.bin")
	mustHold(t, s, "v/t.bin", body)
	mustBegin(t, s, "v/t.bin", 0)
	mustPut(t, s, "v/t.bin", old) // beside the unfinished one
	mustKeep(t, s, "v/t.bin", 0)
	mustFinish(t, s, "v/t.bin", nil)
}

// readers appends from readers that give little at a time, or their last bytes with their end.
func (r resuming) readers(t *testing.T) {
	s := r.open()
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data with the end": iotest.DataErrReader,
		"no bytes at times": func(r io.Reader) io.Reader { return &hesitant{Reader: r} },
	} {
		n := r.part + 1
		if name == "one byte" {
			n = 5000
		}
		body := contentBytes(t, 6, n)
		mustBegin(t, s, "v/readers.bin", n)
		kept, err := s.Append(context.Background(), "v/readers.bin", 0, wrap(bytes.NewReader(body)), nil)
		if kept != int64(n) || err != nil {
			t.Fatalf("%s: append: %d, %v", name, kept, err)
		}
		mustFinish(t, s, "v/readers.bin", body)
	}
}

// hesitant is a reader that gives nothing at every other read.
type hesitant struct {
	io.Reader
	pause bool
}

// Read implements io.Reader.
func (h *hesitant) Read(p []byte) (int, error) {
	if h.pause = !h.pause; h.pause {
		return 0, nil
	}
	return h.Reader.Read(p)
}

// parallel appends to several keys in turns, while a writer of another key stands still.
func (r resuming) parallel(t *testing.T) {
	s := r.open()
	still, release := io.Pipe()
	mustBegin(t, s, "v/still.bin", 0)
	g, ctx := errgroup.WithContext(context.Background())
	g.Go(func() error {
		_, err := s.Append(ctx, "v/still.bin", 0, still, nil)
		return err
	})
	if _, err := release.Write([]byte("here")); err != nil { // returns when the Append has read it
		t.Fatal(err)
	}
	var others errgroup.Group
	keys := []string{"v/1.bin", "v/2.bin", "w/1.bin"}
	for i, key := range keys {
		body := contentBytes(t, 10+i, r.part+i)
		others.Go(func() error { return inPieces(ctx, s, key, body, r.part/3) })
	}
	err := others.Wait()
	if err := errors.Join(err, release.Close(), g.Wait()); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		mustFinish(t, s, key, contentBytes(t, 10+i, r.part+i))
	}
	mustFinish(t, s, "v/still.bin", []byte("here"))
}

// inPieces begins an object and appends body in pieces of up to n bytes.
func inPieces(ctx context.Context, s ResumableStore, key string, body []byte, n int) error {
	err := s.Begin(ctx, key, int64(len(body)))
	for at := 0; at < len(body) && err == nil; at += n {
		piece := body[at:min(at+n, len(body))]
		_, err = s.Append(ctx, key, int64(at), bytes.NewReader(piece), nil)
	}
	return err
}

func mustBegin(t testing.TB, s ResumableStore, key string, size int) {
	t.Helper()
	if err := s.Begin(context.Background(), key, int64(size)); err != nil {
		t.Fatalf("begin %s: %v", key, err)
	}
}

func mustKeep(t testing.TB, s ResumableStore, key string, want int) {
	t.Helper()
	if kept, err := s.Kept(context.Background(), key); err != nil || kept != int64(want) {
		t.Fatalf("kept of %s: %d, %v; want %d", key, kept, err, want)
	}
}

func mustAppend(t testing.TB, s ResumableStore, key string, offset int, body []byte, sum *storage.Checksum) {
	t.Helper()
	kept, err := s.Append(context.Background(), key, int64(offset), bytes.NewReader(body), sum)
	if want := int64(offset + len(body)); err != nil || kept != want {
		t.Fatalf("append %d bytes to %s at %d: %d, %v; want %d", len(body), key, offset, kept, err, want)
	}
}

// mustFinish finishes an object, and checks its Info and its bytes.
func mustFinish(t testing.TB, s ResumableStore, key string, body []byte) {
	t.Helper()
	info, err := s.Finish(context.Background(), key)
	if err != nil {
		t.Fatalf("finish %s: %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(body)) || info.SHA256 != hexSum(body) ||
		info.ContentType != storage.ContentType(key) {
		t.Fatalf("finish %s of %d bytes says %+v, want the sum %s", key, len(body), info, hexSum(body))
	}
	mustHold(t, s, key, body)
	_, err = s.Kept(context.Background(), key)
	mustFail(t, "kept of a finished key", err, storage.ErrNotFound)
}

func mustAbandon(t testing.TB, s ResumableStore, key string) {
	t.Helper()
	if err := s.Abandon(context.Background(), key); err != nil {
		t.Fatalf("abandon %s: %v", key, err)
	}
}

// mustAbsent checks that a key has no unfinished object.
func mustAbsent(t testing.TB, s ResumableStore, key string) {
	t.Helper()
	_, err := s.Kept(context.Background(), key)
	mustFail(t, "kept", err, storage.ErrNotFound)
	_, err = s.Append(context.Background(), key, 0, unread{t}, nil)
	mustFail(t, "append", err, storage.ErrNotFound)
}

// unread is a reader that must not be read.
type unread struct{ t testing.TB }

// Read implements io.Reader.
func (u unread) Read([]byte) (int, error) {
	u.t.Helper()
	u.t.Error("an append that is refused reads")
	return 0, io.EOF
}
