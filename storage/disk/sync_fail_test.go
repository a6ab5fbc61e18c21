package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

// failingSync makes the n-th sync of a file fail whose name ends so, and all others work. The bytes stay in the
// page cache, as they do in Linux after such a failure.
type failingSync struct {
	ending string
	n      int
	failed bool
}

func (f *failingSync) sync(file *os.File) error {
	if strings.HasSuffix(file.Name(), f.ending) {
		if f.n--; f.n == 0 {
			f.failed = true
			return syscall.EIO
		}
	}
	return syncData(file)
}

// TestFailingSync lets a sync fail during an upload in pieces: of the bytes, or of the note about them. The
// Append says so, nothing that was acknowledged is lost, and the upload goes on, also in another process.
func TestFailingSync(t *testing.T) {
	body := make([]byte, 300_000)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	for _, ending := range []string{".bytes", ".note"} {
		for n := 1; ; n++ {
			for _, reopened := range []bool{false, true} {
				dir := t.TempDir()
				s, err := Open(filepath.Join(dir, "objects"))
				must(t, err)
				must(t, s.Begin(t.Context(), "v/x.bin", int64(len(body))))
				kept, err := s.Append(t.Context(), "v/x.bin", 0, bytes.NewReader(body[:100_000]), nil)
				if kept != 100_000 || err != nil {
					t.Fatalf("append: %d, %v", kept, err)
				}
				fault := &failingSync{ending: ending, n: n}
				s.sync = fault.sync
				kept, err = s.Append(t.Context(), "v/x.bin", 100_000, bytes.NewReader(body[100_000:200_000]), nil)
				s.sync = syncData
				if !fault.failed {
					if err != nil || kept != 200_000 {
						t.Fatalf("without a fault: %d, %v", kept, err)
					}
					must(t, s.Close())
					break
				}
				if !errors.Is(err, syscall.EIO) || kept != 100_000 || errors.Is(err, storage.ErrNotFound) {
					t.Errorf("sync %d of %s fails: %d bytes are kept, %v", n, ending, kept, err)
				}
				if reopened {
					must(t, s.Close())
					s, err = Open(filepath.Join(dir, "objects"))
					must(t, err)
				}
				goOn(t, s, body)
				must(t, s.Close())
			}
			if n > 2 {
				break
			}
		}
	}
}

// goOn sends the rest of an object of which 100,000 bytes were acknowledged, and finishes it.
func goOn(t *testing.T, s *Store, body []byte) {
	t.Helper()
	kept, err := s.Kept(t.Context(), "v/x.bin")
	if err != nil || kept != 100_000 {
		t.Errorf("kept: %d, %v", kept, err)
		return
	}
	must(t, s.Begin(t.Context(), "v/x.bin", int64(len(body))))
	for _, end := range []int{250_000, len(body)} {
		if kept, err = s.Append(t.Context(), "v/x.bin", kept, bytes.NewReader(body[kept:end]), nil); err != nil {
			t.Errorf("append: %d, %v", kept, err)
			return
		}
	}
	info, err := s.Finish(context.Background(), "v/x.bin")
	sum := sha256.Sum256(body)
	if err != nil || info.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("finish: %+v, %v", info, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
